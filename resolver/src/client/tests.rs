//! The client against servers that are made of one function each, on a network in memory.
#![allow(clippy::arithmetic_side_effects, reason = "small numbers")]

mod hostile;
mod message;
mod names;
mod network;
mod servers;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::Client;
use crate::{Answer, Failure, Families, Family};
use message::Asked;
use network::{Network, Reply, Runtime};

/// The directive's default.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What became of a lookup.
#[derive(Debug)]
struct Outcome {
    v4: Option<Result<Answer, Failure>>,
    v6: Option<Result<Answer, Failure>>,
    /// Every question that reached a server.
    asked: Vec<Asked>,
    /// How long it took, milliseconds of the network's clock; when each family's result came.
    took_ms: u64,
    v4_ms: u64,
    v6_ms: u64,
}

/// Looks `host` up and checks that nothing is left over.
fn look_up(client: &Client<Runtime>, host: &str, families: Families, net: &Network) -> Outcome {
    let mut outcome = Outcome { v4: None, v6: None, asked: vec![], took_ms: 0, v4_ms: 0, v6_ms: 0 };
    let start_ms = network::now_ms();
    network::run(
        net,
        client.lookup(host, families, |family, result| {
            let (slot, at) = match family {
                Family::V4 => (&mut outcome.v4, &mut outcome.v4_ms),
                Family::V6 => (&mut outcome.v6, &mut outcome.v6_ms),
            };
            assert!(slot.is_none(), "{family:?} twice");
            *slot = Some(result);
            *at = network::now_ms() - start_ms;
        }),
    );
    outcome.took_ms = network::now_ms() - start_ms;
    assert_eq!(outcome.v4.is_some(), families.v4);
    assert_eq!(outcome.v6.is_some(), families.v6);
    outcome.asked = net.take_asked();
    outcome
}

/// The server of most tests.
fn server() -> SocketAddr {
    "10.9.0.1:53".parse().unwrap()
}

/// A client of that server.
fn client() -> Client<Runtime> {
    Client::servers(&[server()], TIMEOUT, Runtime)
}

/// The A question for `app.test.` put to a server that answers so.
fn answered_so(answer: impl Fn(&Asked) -> Vec<Reply> + 'static) -> Outcome {
    look_up(&client(), "app.test", Families { v4: true, v6: false }, &Network::new(answer))
}

fn found(addresses: &[&str], ttl_s: u32) -> Option<Result<Answer, Failure>> {
    let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
    Some(Ok(Answer { addresses, ttl_s }))
}
