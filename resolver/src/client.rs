//! Asking: hosts file, search list, servers.

use std::net::SocketAddr;
use std::time::Duration;

use crate::runtime::RuntimeProvider;
use crate::{Answer, Failure, Families, Family};

/// Asks for names, on the runtime that it is given.
pub struct Client<P> {
    provider: P,
}

impl<P: RuntimeProvider> Client<P> {
    /// One that asks as the system does: by the text of its resolv.conf and of its hosts file.
    pub fn system(_resolv_conf: &[u8], _hosts: &[u8], _timeout: Duration, provider: P) -> Self {
        Self { provider }
    }

    /// One that asks these servers, for names as they are.
    pub fn servers(_servers: &[SocketAddr], _timeout: Duration, provider: P) -> Self {
        Self { provider }
    }

    /// Looks `host` up. `answered` gets each family's result as soon as it is known, once for each
    /// family that is asked for and before the time is over.
    pub async fn lookup(
        &self,
        _host: &str,
        families: Families,
        mut answered: impl FnMut(Family, Result<Answer, Failure>),
    ) {
        let _runtime = self.provider.create_handle();
        for family in families.iter() {
            answered(family, Err(Failure::Unavailable));
        }
    }
}
