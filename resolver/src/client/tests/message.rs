//! DNS messages by hand (RFC 1035, section 4.1).

use std::net::{IpAddr, SocketAddr};

pub(super) const A: u16 = 1;
pub(super) const CNAME: u16 = 5;
const SOA: u16 = 6;
pub(super) const AAAA: u16 = 28;
const OPT: u16 = 41;

pub(super) const SERVFAIL: u16 = 2;
pub(super) const NXDOMAIN: u16 = 3;
pub(super) const NOTIMP: u16 = 4;
pub(super) const REFUSED: u16 = 5;
pub(super) const FORMERR: u16 = 1;
pub(super) const TRUNCATED: u16 = 0x0200;

/// A question as it reached a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) server: SocketAddr,
    pub(super) tcp: bool,
    pub(super) id: u16,
    pub(super) name: String,
    pub(super) kind: u16,
    /// How long an answer it may have over UDP, if it says so (RFC 6891).
    pub(super) edns: Option<u16>,
}

impl Asked {
    pub(super) fn parse(server: SocketAddr, tcp: bool, packet: &[u8]) -> Self {
        let number = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
        let (mut name, mut at) = (String::new(), 12);
        while packet[at] != 0 {
            let end = at + 1 + usize::from(packet[at]);
            name.extend(packet[at + 1..end].iter().copied().map(char::from));
            name.push('.');
            at = end;
        }
        assert_eq!(number(4), 1, "one question");
        assert_eq!(number(at + 3), 1, "class IN");
        assert_eq!(packet[2] & 1, 1, "recursion desired");
        let edns = (number(10) == 1).then(|| {
            assert_eq!(number(at + 6), OPT);
            number(at + 8)
        });
        Self { server, tcp, id: number(0), name, kind: number(at + 1), edns }
    }

    /// An answer with `records`, and a response code or other flags.
    pub(super) fn reply(&self, flags: u16, records: &[Record]) -> Vec<u8> {
        self.reply_in(flags, &[records, &[], &[]])
    }

    /// The same with records in the sections answer, authority and additional.
    pub(super) fn reply_in(&self, flags: u16, sections: &[&[Record]; 3]) -> Vec<u8> {
        let count = |section: usize| u16::try_from(sections[section].len()).unwrap();
        let mut message = Vec::new();
        for number in [self.id, 0x8180 | flags, 1, count(0), count(1), count(2)] {
            message.extend(number.to_be_bytes());
        }
        message.extend(encoded(&self.name));
        for number in [self.kind, 1] {
            message.extend(number.to_be_bytes());
        }
        for record in sections.iter().flat_map(|section| section.iter()) {
            message.extend(&record.0);
        }
        message
    }

    /// The same address for every A question, and no data for the others.
    pub(super) fn address(&self, address: &str, ttl_s: u32) -> Vec<u8> {
        let record = Record::address(&self.name, address, ttl_s);
        let fits = matches!(address.parse(), Ok(IpAddr::V4(_))) == (self.kind == A);
        self.reply(0, if fits { std::slice::from_ref(&record) } else { &[] })
    }
}

/// A resource record, encoded.
#[derive(Clone)]
pub(super) struct Record(Vec<u8>);

impl Record {
    pub(super) fn new(owner: &str, kind: u16, ttl_s: u32, data: &[u8]) -> Self {
        let mut record = encoded(owner);
        record.extend(kind.to_be_bytes());
        record.extend(1_u16.to_be_bytes());
        record.extend(ttl_s.to_be_bytes());
        record.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        record.extend(data);
        Self(record)
    }

    pub(super) fn address(owner: &str, address: &str, ttl_s: u32) -> Self {
        match address.parse().unwrap() {
            IpAddr::V4(v4) => Self::new(owner, A, ttl_s, &v4.octets()),
            IpAddr::V6(v6) => Self::new(owner, AAAA, ttl_s, &v6.octets()),
        }
    }

    pub(super) fn alias(owner: &str, target: &str, ttl_s: u32) -> Self {
        Self::new(owner, CNAME, ttl_s, &encoded(target))
    }

    pub(super) fn start_of_authority(owner: &str) -> Self {
        let mut data = [encoded("ns."), encoded("root.")].concat();
        data.extend([0; 20]);
        Self::new(owner, SOA, 60, &data)
    }
}

pub(super) fn encoded(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.bytes());
    }
    bytes.push(0);
    bytes
}
