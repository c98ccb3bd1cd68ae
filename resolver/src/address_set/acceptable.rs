//! Addresses that a name can mean. Whoever answers for it must not reach what only this machine can.

use std::net::{IpAddr, Ipv4Addr};

use crate::{Answer, Failure};

use super::MAX_ADDRESSES;

/// What is believed beside ordinary addresses: kinds that the configuration itself was read with.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Acceptable {
    loopback: bool,
    link_local: bool,
}

impl Acceptable {
    /// The kinds of the `configured` addresses.
    pub(super) fn beside(configured: &[IpAddr]) -> Self {
        let any = |kind: fn(IpAddr) -> bool| configured.iter().any(|a| kind(a.to_canonical()));
        Self { loopback: any(is_loopback), link_local: any(is_link_local) }
    }

    /// The answer without the addresses that cannot be meant, in order, each once, at most 64.
    pub(super) fn filter(self, answer: Answer) -> Result<Answer, Failure> {
        let Answer { addresses, ttl_s } = answer;
        // ::ffff:127.0.0.1 is 127.0.0.1 to connect(2) (RFC 4291, section 2.5.5.2).
        let mut addresses: Vec<IpAddr> = addresses
            .iter()
            .map(IpAddr::to_canonical)
            .filter(|address| self.allows(*address))
            .collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(MAX_ADDRESSES);
        addresses.shrink_to_fit();
        if addresses.is_empty() {
            return Err(Failure::Malformed);
        }
        Ok(Answer { addresses, ttl_s })
    }

    fn allows(self, address: IpAddr) -> bool {
        if is_loopback(address) {
            return self.loopback;
        }
        if is_link_local(address) {
            return self.link_local;
        }
        match address {
            // All of 0.0.0.0/8 is "this network" (RFC 1122, section 3.2.1.3).
            IpAddr::V4(v4) => {
                !(v4.octets().starts_with(&[0]) || v4.is_multicast() || v4 == Ipv4Addr::BROADCAST)
            }
            IpAddr::V6(v6) => !(v6.is_unspecified() || v6.is_multicast()),
        }
    }
}

const fn is_loopback(address: IpAddr) -> bool {
    address.is_loopback()
}

const fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "halves of a number")]
mod tests {
    use super::*;

    fn filtered(configured: &[&str], answer: &[&str]) -> Result<Vec<String>, Failure> {
        let parse = |texts: &[&str]| -> Vec<IpAddr> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let answer = Answer { addresses: parse(answer), ttl_s: 1 };
        let answer = Acceptable::beside(&parse(configured)).filter(answer)?;
        Ok(answer.addresses.iter().map(IpAddr::to_string).collect())
    }

    #[test]
    fn what_cannot_be_meant_is_left_out() {
        let ordinary = ["10.0.0.1"].as_slice();
        for refused in [
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "224.0.0.1",
            "239.255.255.255",
            "255.255.255.255",
            "ff02::1",
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "169.254.169.254",
            "fe80::1",
            "::ffff:127.0.0.1",
            "::ffff:0.0.0.0",
            "::ffff:169.254.0.1",
            "::ffff:224.0.0.1",
        ] {
            assert_eq!(filtered(ordinary, &[refused]), Err(Failure::Malformed), "{refused}");
            let left = filtered(ordinary, &[refused, "10.0.0.2"]);
            assert_eq!(left, Ok(vec!["10.0.0.2".to_owned()]), "{refused}");
        }
        for accepted in
            ["10.0.0.2", "192.168.0.1", "100.64.0.1", "240.0.0.1", "fd00::1", "2001:db8::1"]
        {
            assert_eq!(filtered(ordinary, &[accepted]), Ok(vec![accepted.to_owned()]));
        }
        assert_eq!(filtered(ordinary, &["::ffff:10.0.0.3"]), Ok(vec!["10.0.0.3".to_owned()]));
        assert_eq!(filtered(ordinary, &[]), Err(Failure::Malformed));
    }

    #[test]
    fn the_configurations_own_kinds_are_believed() {
        assert!(filtered(&["127.0.0.1"], &["127.0.0.2", "::1"]).is_ok());
        assert!(filtered(&["::1"], &["127.0.0.2"]).is_ok());
        assert!(filtered(&["127.0.0.1"], &["169.254.1.1"]).is_err());
        assert!(filtered(&["fe80::1"], &["fe80::2", "169.254.1.1"]).is_ok());
        assert!(filtered(&["127.0.0.1"], &["0.0.0.0"]).is_err());
        assert!(filtered(&[], &["127.0.0.1"]).is_err());
    }

    #[test]
    fn an_answer_is_bounded() {
        let addresses = (0..=u16::MAX).map(|n| IpAddr::from([10, 0, (n >> 8) as u8, n as u8]));
        let answer =
            Answer { addresses: addresses.chain([[10, 0, 0, 0].into()]).collect(), ttl_s: 1 };
        let kept = Acceptable::default().filter(answer).unwrap().addresses;
        assert_eq!(kept.len(), MAX_ADDRESSES);
        assert!(kept.capacity() <= MAX_ADDRESSES);
    }
}
