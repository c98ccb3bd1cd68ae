//! What the evidence says, in one word.

/// Something that was observed beside a failure: said as observed, never as its proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hint {
    /// No socket of this machine listens on the port.
    NoListener,
    /// A socket listens on the port, at another address.
    ListenerOtherAddress,
    /// The program that is configured beside it listens on another port.
    ListenerOtherPort,
    /// A socket listens there by now: a firewall, or a race with a start.
    ListenerPresent,
    /// The listening socket's accept queue is at its limit.
    AcceptQueueFull,
    /// The kernel has killed a process for its memory since this worker last looked.
    OomKillSeen,
    /// SELinux is enforcing and its switch for this connection is off.
    SelinuxDeniesConnect,
    /// SELinux is enforcing.
    SelinuxEnforcing,
    /// nginx runs in a container and the address is the container's own loopback.
    LoopbackInContainer,
    /// The address is no longer among those of its name.
    AddressLeftDns,
    /// The back end closed a connection that had been idle for a second or more, before nginx's own
    /// `keepalive_timeout` was over.
    KeepaliveIdleExpired,
    /// The port refused and answered in turns a short while ago.
    BackendRestarting,
    /// More header bytes had come than the buffer holds.
    HeaderBytesOverBuffer,
    /// A configured time-out ended the wait.
    TimeoutReached,
}

impl Hint {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::NoListener,
        Self::ListenerOtherAddress,
        Self::ListenerOtherPort,
        Self::ListenerPresent,
        Self::AcceptQueueFull,
        Self::OomKillSeen,
        Self::SelinuxDeniesConnect,
        Self::SelinuxEnforcing,
        Self::LoopbackInContainer,
        Self::AddressLeftDns,
        Self::KeepaliveIdleExpired,
        Self::BackendRestarting,
        Self::HeaderBytesOverBuffer,
        Self::TimeoutReached,
    ];

    /// The word in the header and in JSON.
    pub const fn token(self) -> &'static str {
        match self {
            Self::NoListener => "no_listener",
            Self::ListenerOtherAddress => "listener_other_address",
            Self::ListenerOtherPort => "listener_other_port",
            Self::ListenerPresent => "listener_present",
            Self::AcceptQueueFull => "accept_queue_full",
            Self::OomKillSeen => "oom_kill_seen",
            Self::SelinuxDeniesConnect => "selinux_denies_connect",
            Self::SelinuxEnforcing => "selinux_enforcing",
            Self::LoopbackInContainer => "loopback_in_container",
            Self::AddressLeftDns => "address_left_dns",
            Self::KeepaliveIdleExpired => "keepalive_idle_expired",
            Self::BackendRestarting => "backend_restarting",
            Self::HeaderBytesOverBuffer => "header_bytes_over_buffer",
            Self::TimeoutReached => "timeout_reached",
        }
    }
}
