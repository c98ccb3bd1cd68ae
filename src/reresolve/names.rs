//! The names of one worker: what is known of each, and whom it has to be told.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use resolver::{AddressSet, Limits, Millis};

use super::settings::Settings;

/// A name of this worker, with the settings it is asked for by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct NameId(usize);

/// One of them.
pub(super) struct Name {
    pub(super) host: Rc<str>,
    pub(super) settings: Settings,
    /// As nginx found it when it read the configuration.
    pub(super) configured: Vec<IpAddr>,
    pub(super) set: AddressSet,
}

#[derive(Default)]
pub(super) struct Names {
    list: Vec<Name>,
}

/// Collects names before there are sets: a set begins with all the addresses of its name.
#[derive(Default)]
pub(crate) struct Collector {
    ids: HashMap<(Rc<str>, Settings), NameId>,
    found: Vec<(Rc<str>, Settings, Vec<IpAddr>)>,
}

impl Collector {
    /// The id of the name in the `server` argument, if it has one, which has `address`.
    pub(crate) fn add(
        &mut self,
        server: &[u8],
        settings: Settings,
        address: SocketAddr,
    ) -> Option<NameId> {
        let host: Rc<str> = host_of(server)?.to_ascii_lowercase().into();
        let next = NameId(self.found.len());
        let id = *self.ids.entry((Rc::clone(&host), settings)).or_insert(next);
        if id == next {
            self.found.push((host, settings, Vec::new()));
        }
        let (.., addresses) = self.found.get_mut(id.0)?;
        if !addresses.contains(&address.ip()) {
            addresses.push(address.ip());
        }
        Some(id)
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(super) fn finish(self, seed: u64, now: Millis) -> Names {
        let list =
            self.found.into_iter().zip(seed..).map(|((host, settings, configured), seed)| {
                let Settings { min_ms, max_ms, ipv4, ipv6, .. } = settings;
                let limits = Limits { min_ms, max_ms, ipv4, ipv6 };
                let set = AddressSet::new(limits, &configured, seed, now);
                Name { host, settings, configured, set }
            });
        Names { list: list.collect() }
    }
}

impl Names {
    pub(super) fn name(&self, id: NameId) -> Option<&Name> {
        self.list.get(id.0)
    }

    pub(super) fn name_mut(&mut self, id: NameId) -> Option<&mut Name> {
        self.list.get_mut(id.0)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (NameId, &Name)> {
        self.list.iter().enumerate().map(|(index, name)| (NameId(index), name))
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = NameId> + use<> {
        (0..self.list.len()).map(NameId)
    }
}

/// The host name in the argument of `server`; `None` for an address or a path.
fn host_of(server: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(server).ok()?;
    if text.starts_with("unix:") || text.starts_with('[') || text.starts_with('/') {
        return None;
    }
    let host = match text.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        Some(_) | None => text,
    };
    let is_name = !host.is_empty() && host.parse::<IpAddr>().is_err();
    is_name.then_some(host)
}
