//! What the Makefile hands to tests, demo and benchmarks.

use std::env;
use std::path::PathBuf;
use std::process::Command;

/// The nginx binary under test: `UPSTREAM_DIAGNOSIS_NGINX`, or the one of the system.
pub fn nginx() -> PathBuf {
    env::var_os("UPSTREAM_DIAGNOSIS_NGINX")
        .map_or_else(|| PathBuf::from("/usr/sbin/nginx"), PathBuf::from)
}

/// The version of that nginx, such as (1, 22, 1).
pub fn nginx_version() -> (u32, u32, u32) {
    let output = Command::new(nginx()).arg("-v").output().expect("run nginx -v");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let version = text.trim().rsplit_once('/').map_or("", |(_, version)| version);
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next())
}

/// The module under test: `UPSTREAM_DIAGNOSIS_MODULE`.
pub fn module() -> PathBuf {
    PathBuf::from(
        env::var_os("UPSTREAM_DIAGNOSIS_MODULE")
            .expect("UPSTREAM_DIAGNOSIS_MODULE must name the module's library; run `make test`"),
    )
}

/// True when every nginx of this run is watched by valgrind memcheck.
pub fn valgrind() -> bool {
    env::var_os("UPSTREAM_DIAGNOSIS_VALGRIND").is_some_and(|value| !value.is_empty())
}

/// A file of valgrind suppressions: `UPSTREAM_DIAGNOSIS_SUPPRESSIONS`.
pub fn suppressions() -> Option<PathBuf> {
    env::var_os("UPSTREAM_DIAGNOSIS_SUPPRESSIONS").filter(|v| !v.is_empty()).map(PathBuf::from)
}
