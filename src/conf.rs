//! The module's configuration and how it is inherited.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use diagnosis::lint::Configuration;

use crate::ffi::{LogHandler, LogHeads, UpstreamRef};
use crate::reresolve::{Servers, Settings};
use crate::trust::Trust;

/// The header's name where `upstream_diagnosis_header` does not say otherwise.
pub(crate) const DEFAULT_HEADER: &str = "X-Upstream-Diagnosis";

/// A directive that can be absent, `off`, or have a value.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub(crate) enum Setting<T> {
    /// Not in this block: inherited from the one around it.
    #[default]
    Unset,
    Off,
    On(T),
}

impl<T: Clone> Setting<T> {
    /// The value, unless it is off or nowhere set.
    pub(crate) fn on(&self) -> Option<&T> {
        match self {
            Self::On(value) => Some(value),
            Self::Unset | Self::Off => None,
        }
    }

    /// Whether the directive stands in this block.
    pub(crate) fn is_set(&self) -> bool {
        !matches!(self, Self::Unset)
    }

    fn inherit(&mut self, outer: &Self) {
        if !self.is_set() {
            *self = outer.clone();
        }
    }
}

/// What an `http`, `server` or `location` block says.
#[derive(Clone, Default)]
pub(crate) struct LocConf {
    enabled: Setting<()>,
    header: Setting<Rc<str>>,
    proxy_status: Setting<Rc<str>>,
    evidence: Setting<()>,
    lint: Setting<()>,
    trust: Setting<Rc<Trust>>,
    #[cfg(feature = "test-panic")]
    panics_at: Setting<crate::ffi::Point>,
}

impl LocConf {
    /// `upstream_diagnosis`, off by default.
    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled.on().is_some()
    }

    /// Name of the header; `None` when it is off.
    pub(crate) fn header(&self) -> Option<&str> {
        match &self.header {
            Setting::Unset => Some(DEFAULT_HEADER),
            Setting::Off => None,
            Setting::On(name) => Some(name),
        }
    }

    /// Name of the header where it is not the usual one.
    pub(crate) fn renamed_header(&self) -> Option<&str> {
        self.header.on().map(AsRef::as_ref)
    }

    /// Who this proxy is in `Proxy-Status`; `None` when it is off.
    pub(crate) fn proxy_status(&self) -> Option<&str> {
        self.proxy_status.on().map(AsRef::as_ref)
    }

    /// `upstream_diagnosis_evidence`, on by default.
    pub(crate) fn takes_evidence(&self) -> bool {
        self.evidence != Setting::Off
    }

    /// `upstream_diagnosis_lint`, on by default; the `http` block's.
    pub(crate) fn is_linted(&self) -> bool {
        self.lint != Setting::Off
    }

    /// Who sees the full header; `None` where the default applies.
    pub(crate) fn trust(&self) -> Option<&Trust> {
        self.trust.on().map(AsRef::as_ref)
    }

    /// The directive's own field; a directive that is set twice in a block is an error.
    pub(crate) fn enabled_mut(&mut self) -> &mut Setting<()> {
        &mut self.enabled
    }

    /// As [`LocConf::enabled_mut`].
    pub(crate) fn evidence_mut(&mut self) -> &mut Setting<()> {
        &mut self.evidence
    }

    /// As [`LocConf::enabled_mut`].
    pub(crate) fn lint_mut(&mut self) -> &mut Setting<()> {
        &mut self.lint
    }

    /// As [`LocConf::enabled_mut`].
    pub(crate) fn header_mut(&mut self) -> &mut Setting<Rc<str>> {
        &mut self.header
    }

    /// As [`LocConf::enabled_mut`].
    pub(crate) fn proxy_status_mut(&mut self) -> &mut Setting<Rc<str>> {
        &mut self.proxy_status
    }

    /// As [`LocConf::enabled_mut`].
    pub(crate) fn trust_mut(&mut self) -> &mut Setting<Rc<Trust>> {
        &mut self.trust
    }

    /// Where the test suite wants a panic.
    #[cfg(feature = "test-panic")]
    pub(crate) fn panics_at_mut(&mut self) -> &mut Setting<crate::ffi::Point> {
        &mut self.panics_at
    }

    /// Whether the test suite wants a panic at this point.
    #[cfg(feature = "test-panic")]
    pub(crate) fn panics_at(&self, point: crate::ffi::Point) -> bool {
        self.panics_at.on() == Some(&point)
    }

    /// Takes over what this block leaves unsaid.
    pub(crate) fn merge(&mut self, outer: &Self) {
        self.enabled.inherit(&outer.enabled);
        self.header.inherit(&outer.header);
        self.proxy_status.inherit(&outer.proxy_status);
        self.evidence.inherit(&outer.evidence);
        self.trust.inherit(&outer.trust);
        #[cfg(feature = "test-panic")]
        self.panics_at.inherit(&outer.panics_at);
    }
}

/// What an `http` or `upstream` block says of re-resolution.
#[derive(Default)]
pub(crate) struct SrvConf {
    resolve: Setting<Settings>,
    resolver: Setting<Servers>,
    /// What is kept of this very `upstream` block, when re-resolution is on in it.
    pub(crate) upstream: Cell<Option<UpstreamRef>>,
}

impl SrvConf {
    /// `upstream_diagnosis_resolve`, which an `upstream` block takes over from `http`.
    pub(crate) fn resolve(&self, http: &Self) -> Option<Settings> {
        let effective = if self.resolve.is_set() { &self.resolve } else { &http.resolve };
        effective.on().copied()
    }

    /// `upstream_diagnosis_resolver` of `http`.
    pub(crate) fn servers(&self) -> Servers {
        self.resolver.on().cloned().unwrap_or_default()
    }

    /// As [`LocConf::enabled_mut`].
    pub(crate) fn resolve_mut(&mut self) -> &mut Setting<Settings> {
        &mut self.resolve
    }

    /// As [`LocConf::enabled_mut`].
    pub(crate) fn resolver_mut(&mut self) -> &mut Setting<Servers> {
        &mut self.resolver
    }
}

/// What the module keeps for one configuration. Set up while nginx reads it; only the cells change
/// afterwards, in the one thread of a worker.
#[derive(Default)]
pub(crate) struct MainConf {
    /// Some block says `upstream_diagnosis on`.
    pub(crate) used: Cell<bool>,
    /// The directives to look through, from when nginx has read them until it is told.
    pub(crate) unread: RefCell<Option<Configuration>>,
    /// Every error log that a location may write to.
    pub(crate) log_heads: RefCell<LogHeads>,
    /// Indices of our variables that this configuration uses.
    pub(crate) variables: RefCell<Vec<usize>>,
    /// DNS has been asked, or may be, about an attempt.
    pub(crate) looks_up: Cell<bool>,
    /// `r->log_handler` as nginx sets it.
    pub(crate) log_handler: Cell<LogHandler>,
}
