//! The servers of one upstream block, and the address that each of them has now.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use super::names::NameId;
use crate::ffi::{PeerId, PeerMark};

/// One address of a `server`, as nginx found it when it read the configuration: the balancer chooses
/// among these.
pub(crate) struct Slot {
    /// What the balancer keeps of it.
    pub(crate) peer: PeerId,
    /// The argument of `server`.
    pub(crate) server: Box<[u8]>,
    pub(crate) configured: SocketAddr,
    /// Its name; `None` for a literal address.
    pub(crate) name: Option<NameId>,
    group: Option<usize>,
    now: Cell<IpAddr>,
    /// Where the TLS session that nginx has saved for it comes from.
    session: Cell<Option<IpAddr>>,
}

impl Slot {
    /// Whether a TLS session that nginx has saved for it may be shown to `address`. One that was
    /// saved by nobody here comes from the configured address, or from another worker.
    pub(crate) fn may_resume(&self, address: IpAddr) -> bool {
        self.session.get().unwrap_or(self.configured.ip()) == address
    }

    /// nginx has saved a TLS session of `address` for it.
    pub(crate) fn note_session(&self, address: IpAddr) {
        self.session.set(Some(address));
    }
}

/// What is known of a slot before the names are.
pub(crate) struct Found {
    pub(crate) peer: PeerId,
    /// By which the balancer's choice of it is known.
    pub(crate) marks: [PeerMark; 2],
    pub(crate) server: Box<[u8]>,
    pub(crate) configured: SocketAddr,
    /// Backup servers are a group of their own.
    pub(crate) backup: bool,
    pub(crate) name: Option<NameId>,
}

/// The slots of one `server` directive, among which its name's addresses are spread.
struct Group {
    name: NameId,
    slots: Vec<usize>,
    /// All addresses, when there are more of them than slots.
    rotation: RefCell<Vec<IpAddr>>,
    turn: Cell<usize>,
}

/// All of an upstream block.
pub(crate) struct Slots {
    list: Vec<Slot>,
    groups: Vec<Group>,
    by_mark: HashMap<PeerMark, usize>,
    /// The balancer hashes: one key, one server, and so one address for a slot.
    pinned: bool,
    moved: Cell<bool>,
    ever_moved: Cell<bool>,
}

impl Slots {
    /// `pinned`: a slot has one address at a time.
    pub(crate) fn new(found: Vec<Found>, pinned: bool) -> Self {
        let mut groups: Vec<Group> = Vec::new();
        let mut keys: HashMap<(Box<[u8]>, u16, bool), usize> = HashMap::new();
        let mut list = Vec::with_capacity(found.len());
        let mut by_mark = HashMap::new();
        for (index, one) in found.into_iter().enumerate() {
            let group = one.name.map(|name| {
                let key = (one.server.clone(), one.configured.port(), one.backup);
                let at = *keys.entry(key).or_insert(groups.len());
                match groups.get_mut(at) {
                    Some(group) => group.slots.push(index),
                    None => groups.push(Group {
                        name,
                        slots: vec![index],
                        rotation: RefCell::default(),
                        turn: Cell::new(0),
                    }),
                }
                at
            });
            by_mark.extend(one.marks.map(|mark| (mark, index)));
            list.push(Slot {
                peer: one.peer,
                server: one.server,
                configured: one.configured,
                name: one.name,
                group,
                now: Cell::new(one.configured.ip()),
                session: Cell::new(None),
            });
        }
        Self {
            list,
            groups,
            by_mark,
            pinned,
            moved: Cell::new(false),
            ever_moved: Cell::new(false),
        }
    }

    /// Whether a balancer's choice may need another address than the one it has.
    pub(crate) fn have_moved(&self) -> bool {
        self.moved.get()
    }

    /// Whether that has ever been so, or a slot was ever given an address that is not its own.
    pub(crate) fn have_ever_moved(&self) -> bool {
        self.ever_moved.get()
    }

    /// A request is given an address of a slot that need not be the slot's own.
    pub(crate) fn mix(&self) {
        self.ever_moved.set(true);
    }

    /// Whether there is a name among them.
    pub(crate) fn have_names(&self) -> bool {
        !self.groups.is_empty()
    }

    /// The names, each at least once.
    pub(crate) fn names(&self) -> impl Iterator<Item = NameId> {
        self.groups.iter().map(|group| group.name)
    }

    pub(crate) fn slot(&self, index: usize) -> Option<&Slot> {
        self.list.get(index)
    }

    /// Which slot the balancer has chosen, if one of them.
    pub(crate) fn index_of(&self, mark: PeerMark) -> Option<usize> {
        self.by_mark.get(&mark).copied()
    }

    /// Gives `name`'s addresses to its slots; returns those that have another one now.
    pub(crate) fn remap(&self, name: NameId, addresses: &[IpAddr]) -> Vec<&Slot> {
        let mut changed = Vec::new();
        for group in self.groups.iter().filter(|group| group.name == name) {
            let slots: Vec<&Slot> =
                group.slots.iter().filter_map(|index| self.list.get(*index)).collect();
            let before: Vec<IpAddr> = slots.iter().map(|slot| slot.now.get()).collect();
            let after = resolver::assign(&before, addresses);
            for (slot, address) in slots.into_iter().zip(after.slots) {
                if slot.now.replace(address) != address {
                    changed.push(slot);
                }
            }
            group.rotation.replace(if self.pinned { Vec::new() } else { after.rotation });
        }
        let differs = |slot: &Slot| slot.now.get() != slot.configured.ip();
        let rotates = |group: &Group| !group.rotation.borrow().is_empty();
        let moved = self.list.iter().any(differs) || self.groups.iter().any(rotates);
        self.moved.set(moved);
        self.ever_moved.set(moved || self.ever_moved.get());
        changed
    }

    /// The address for the next request that the balancer sends to the slot.
    pub(crate) fn next_address(&self, index: usize) -> Option<SocketAddr> {
        let slot = self.list.get(index)?;
        let rotated = slot.group.and_then(|group| self.groups.get(group)?.next());
        let ip = rotated.unwrap_or_else(|| slot.now.get());
        Some(SocketAddr::new(ip, slot.configured.port()))
    }

    /// Whether requests for the slot are sent to that address now.
    pub(crate) fn has(&self, index: usize, address: IpAddr) -> bool {
        let Some(slot) = self.list.get(index) else { return false };
        let group = slot.group.and_then(|group| self.groups.get(group));
        slot.now.get() == address
            || group.is_some_and(|group| group.rotation.borrow().contains(&address))
    }

    /// The slot whose requests are sent to `address`, which is another one than it was configured
    /// with; `None` when slots of different servers are.
    pub(crate) fn only_one_moved_to(&self, address: SocketAddr) -> Option<&Slot> {
        let is_there = |(index, slot): &(usize, &Slot)| {
            slot.configured.port() == address.port() && self.has(*index, address.ip())
        };
        let mut there = self.list.iter().enumerate().filter(is_there).map(|(_, slot)| slot);
        let first = there.next().filter(|slot| slot.configured != address)?;
        there.all(|slot| slot.server == first.server).then_some(first)
    }

    /// An address of the slot's name, `current` ones, that is not among `tried`; its own first.
    pub(crate) fn untried(
        &self,
        index: usize,
        current: &[IpAddr],
        tried: &[SocketAddr],
    ) -> Option<SocketAddr> {
        let slot = self.list.get(index)?;
        let own = current.iter().filter(|ip| **ip == slot.now.get());
        let mut candidates =
            own.chain(current).map(|ip| SocketAddr::new(*ip, slot.configured.port()));
        candidates.find(|address| !tried.contains(address))
    }
}

impl Group {
    fn next(&self) -> Option<IpAddr> {
        let rotation = self.rotation.borrow();
        let turn = self.turn.get().checked_rem(rotation.len())?;
        self.turn.set(turn.wrapping_add(1));
        rotation.get(turn).copied()
    }
}
