//! What, besides permissions, may keep nginx from connecting: SELinux, AppArmor, seccomp.

use super::{Fact, Value};
use crate::{Attempt, Errno, Evidence, Hint};

/// What could be read; `None` and empty for what could not.
#[derive(Clone, Copy, Debug, Default)]
pub struct Security<'a> {
    /// `/sys/fs/selinux/enforce`.
    pub enforce: Option<&'a [u8]>,
    /// `/sys/fs/selinux/booleans/httpd_can_network_connect`.
    pub connect: Option<&'a [u8]>,
    /// `/sys/fs/selinux/booleans/httpd_can_network_relay`.
    pub relay: Option<&'a [u8]>,
    /// `/proc/filesystems`, which names selinuxfs where the kernel runs SELinux.
    pub filesystems: Option<&'a [u8]>,
    /// `/proc/self/attr/current`: a context of SELinux or a profile of AppArmor.
    pub label: Option<&'a [u8]>,
    /// `/proc/self/status`, of which one line is read.
    pub status: Option<&'a [u8]>,
    /// Who asked.
    pub worker: &'a Worker,
}

/// The user that the worker runs as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Worker {
    /// Effective user.
    pub uid: u32,
    /// Effective group.
    pub gid: u32,
    /// The other groups.
    pub groups: Vec<u32>,
    /// The name in nginx's `user` directive; empty when nginx did not change its user.
    pub name: Vec<u8>,
}

impl Worker {
    /// Uid, gid and the configured name.
    pub fn facts(&self) -> Vec<Fact> {
        let mut facts = vec![
            ("worker_uid", u64::from(self.uid).into()),
            ("worker_gid", u64::from(self.gid).into()),
        ];
        if !self.name.is_empty() {
            facts.push(("worker_user", Value::Text(self.name.clone())));
        }
        facts
    }
}

impl Default for &Worker {
    fn default() -> Self {
        const NOBODY_KNOWN: &Worker =
            &Worker { uid: 0, gid: 0, groups: Vec::new(), name: Vec::new() };
        NOBODY_KNOWN
    }
}

/// What SELinux does with a denial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selinux {
    /// It denies.
    Enforcing,
    /// It only logs.
    Permissive,
    /// The kernel does not run it.
    Off,
    /// It runs and does not show itself here, as in a container, or nothing could be read.
    Unknown,
}

impl Selinux {
    const fn word(self) -> &'static str {
        match self {
            Self::Enforcing => "enforcing",
            Self::Permissive => "permissive",
            Self::Off => "off",
            Self::Unknown => "unknown",
        }
    }
}

impl<'a> Security<'a> {
    /// What SELinux does.
    pub fn selinux(&self) -> Selinux {
        let names_it = |text: &[u8]| text.split(u8::is_ascii_whitespace).any(|w| w == b"selinuxfs");
        match (self.enforce.map(<[u8]>::trim_ascii), self.filesystems) {
            (Some(b"1"), _) => Selinux::Enforcing,
            (Some(b"0"), _) => Selinux::Permissive,
            (None, Some(text)) if !text.is_empty() && !names_it(text) => Selinux::Off,
            _ => Selinux::Unknown,
        }
    }

    /// The switches of nginx's policy count in its own domain only; an unknown one is taken for it.
    fn is_in_httpd_domain(&self) -> bool {
        self.context()
            .is_none_or(|context| context.split(|b| *b == b':').nth(2) == Some(b"httpd_t"))
    }

    /// `user:role:type:level`.
    fn context(&self) -> Option<&'a [u8]> {
        let label = trimmed(self.label?);
        (label.iter().filter(|byte| **byte == b':').count() >= 3 && !label.contains(&b' '))
            .then_some(label)
    }

    /// `profile (enforce)`.
    fn apparmor(&self) -> Option<&'a [u8]> {
        trimmed(self.label?).strip_suffix(b" (enforce)").filter(|profile| !profile.is_empty())
    }

    fn has_seccomp(&self) -> bool {
        let mut lines = self.status.unwrap_or_default().split(|byte| *byte == b'\n');
        let mode = lines.find_map(|line| line.strip_prefix(b"Seccomp:"));
        mode.is_some_and(|mode| mode.trim_ascii() == b"2")
    }

    /// Everything that was read.
    pub fn facts(&self) -> Vec<Fact> {
        let mut facts = vec![("selinux", self.selinux().word().into())];
        let switches =
            [("httpd_can_network_connect", self.connect), ("httpd_can_network_relay", self.relay)];
        facts.extend(switches.iter().filter_map(|(key, text)| Some((*key, switch(*text)?.into()))));
        if let Some(context) = self.context() {
            facts.push(("selinux_context", Value::Text(context.to_vec())));
        }
        if let Some(profile) = self.apparmor() {
            facts.push(("apparmor_profile", Value::Text(profile.to_vec())));
        }
        if self.has_seccomp() {
            facts.push(("seccomp", true.into()));
        }
        facts.append(&mut self.worker.facts());
        facts
    }

    /// Whether nginx is known to lack the second switch.
    pub(super) fn relay_is_off(&self) -> bool {
        switch(self.relay) == Some(false) && self.is_in_httpd_domain()
    }

    /// What confines nginx, as far as it can be seen.
    pub(super) fn confinement(&self) -> String {
        match self.apparmor() {
            Some(profile) => {
                format!("at nginx's AppArmor profile {}", String::from_utf8_lossy(profile))
            }
            None if self.has_seccomp() => {
                "at the seccomp filter that nginx runs under (SystemCallFilter=, a container's \
                 profile)"
                    .to_owned()
            }
            None => "for a sandbox around nginx (systemd, Landlock, AppArmor)".to_owned(),
        }
    }
}

/// A connection over TCP was not permitted.
pub fn tcp(attempt: &Attempt, seen: &Security<'_>) -> Evidence {
    let address = String::from_utf8_lossy(attempt.address());
    // SELinux says EACCES; a firewall or a filter may say EPERM.
    let by_module = attempt.verdict.errno != Some(Errno::EPERM);
    let off = switch(seen.connect) == Some(false) && seen.is_in_httpd_domain();
    let (hint, advice) = match seen.selinux() {
        Selinux::Enforcing if by_module && off => (
            Some(Hint::SelinuxDeniesConnect),
            format!(
                "SELinux is enforcing and its httpd_can_network_connect is off, so nginx may not \
                 connect to {address}; run 'setsebool -P httpd_can_network_connect 1'"
            ),
        ),
        Selinux::Enforcing if by_module => (
            Some(Hint::SelinuxEnforcing),
            format!(
                "the system does not let nginx connect to {address} and SELinux is enforcing; see \
                 'ausearch -m AVC -ts recent' for what it denied, otherwise look {} or for a local firewall rule",
                seen.confinement()
            ),
        ),
        Selinux::Enforcing => {
            (None, elsewhere(&address, "SELinux says EACCES, this is EPERM", seen))
        }
        Selinux::Permissive => {
            (None, elsewhere(&address, "SELinux is permissive and denies nothing", seen))
        }
        Selinux::Off => (None, elsewhere(&address, "SELinux does not run here", seen)),
        Selinux::Unknown => return Evidence::new(None, seen.facts()),
    };
    Evidence::new(hint, seen.facts()).advising(advice)
}

/// It was not SELinux.
fn elsewhere(address: &str, why: &str, seen: &Security<'_>) -> String {
    format!(
        "the system does not let nginx connect to {address}; {why}, so look {} or for a local \
         firewall rule",
        seen.confinement()
    )
}

/// A switch in selinuxfs: its current value, and the one to come.
fn switch(text: Option<&[u8]>) -> Option<bool> {
    match text?.trim_ascii().first()? {
        b'0' => Some(false),
        b'1' => Some(true),
        _ => None,
    }
}

/// SELinux ends its context with a NUL, AppArmor its profile with a line feed.
fn trimmed(text: &[u8]) -> &[u8] {
    text.strip_suffix(b"\0").unwrap_or(text).trim_ascii()
}

#[cfg(test)]
mod tests;
