//! What the Makefile hands to tests, demo and benchmarks.

use std::env;
use std::path::PathBuf;

/// The nginx binary under test: `UPSTREAM_DIAGNOSIS_NGINX`, or the one of the system.
pub fn nginx() -> PathBuf {
    env::var_os("UPSTREAM_DIAGNOSIS_NGINX")
        .map_or_else(|| PathBuf::from("/usr/sbin/nginx"), PathBuf::from)
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
