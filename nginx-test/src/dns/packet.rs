//! DNS messages as bytes (RFC 1035 section 4, EDNS as in RFC 6891).

use std::net::IpAddr;

use super::Kind;

pub(super) const A: u16 = 1;
pub(super) const CNAME: u16 = 5;
pub(super) const SOA: u16 = 6;
pub(super) const AAAA: u16 = 28;
const OPT: u16 = 41;
const IN: [u8; 2] = [0, 1];

/// The length of a header, where the question begins.
const HEADER: usize = 12;
/// What every client takes over UDP.
const SMALLEST: usize = 512;

/// A question as it came.
#[derive(Debug, Clone)]
pub(super) struct Query {
    pub(super) id: [u8; 2],
    /// In lower case, without the last dot.
    pub(super) name: String,
    pub(super) kind: Kind,
    /// The question's bytes, whose letters keep their case.
    pub(super) question: Vec<u8>,
    /// How much the client takes over UDP, in bytes.
    pub(super) limit: usize,
    edns: bool,
}

impl Query {
    /// None when the packet is no question.
    pub(super) fn read(packet: &[u8]) -> Option<Self> {
        let mut labels = Vec::new();
        let mut at = HEADER;
        loop {
            let length = usize::from(*packet.get(at)?);
            at += 1;
            if length == 0 {
                break;
            }
            labels.push(String::from_utf8_lossy(packet.get(at..at + length)?).to_ascii_lowercase());
            at += length;
        }
        let kind = u16_at(packet, at)?;
        let question = packet.get(HEADER..at + 4)?.to_vec();
        let payload = edns_payload(packet, at + 4);
        Some(Self {
            id: [packet[0], packet[1]],
            name: labels.join("."),
            kind: Kind::of(kind),
            question,
            limit: payload.map_or(SMALLEST, |payload| payload.max(SMALLEST)),
            edns: payload.is_some(),
        })
    }
}

/// The OPT record of a question follows it at once: root, type, and the size in place of a class.
fn edns_payload(packet: &[u8], at: usize) -> Option<usize> {
    let is_opt = packet.get(at) == Some(&0) && u16_at(packet, at + 1) == Some(OPT);
    is_opt.then(|| u16_at(packet, at + 3)).flatten().map(usize::from)
}

fn u16_at(packet: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]))
}

/// An answer in the making.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) id: [u8; 2],
    /// The response code: 0 no error, 1 format error, 2 server failure, 3 NXDOMAIN, 5 refused.
    pub(super) code: u8,
    pub(super) question: Vec<u8>,
    pub(super) answers: Vec<Record>,
    pub(super) authority: Vec<Record>,
    pub(super) additional: Vec<Record>,
    edns: bool,
}

/// A resource record of class IN.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) owner: String,
    pub(super) kind: u16,
    pub(super) ttl: u32,
    pub(super) data: Vec<u8>,
}

impl Message {
    pub(super) fn to(query: &Query) -> Self {
        Self {
            id: query.id,
            code: 0,
            question: query.question.clone(),
            answers: Vec::new(),
            authority: Vec::new(),
            additional: Vec::new(),
            edns: query.edns,
        }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut packet = self.header(0, self.answers.len());
        for record in self.answers.iter().chain(&self.authority).chain(&self.additional) {
            self.put(&mut packet, record);
        }
        if self.edns {
            packet.extend([0, 0, OPT as u8]);
            packet.extend(4096_u16.to_be_bytes());
            packet.extend([0; 6]);
        }
        packet
    }

    /// Only the question, and the flag that says to ask again over TCP.
    pub(super) fn truncated(&self) -> Vec<u8> {
        const TC: u8 = 2;
        Self { edns: false, ..self.question_only() }.header(TC, 0)
    }

    /// The header promises one answer; these bytes stand in its place.
    pub(super) fn broken(&self, bytes: &[u8]) -> Vec<u8> {
        let mut packet = Self { edns: false, ..self.question_only() }.header(0, 1);
        packet.extend(bytes);
        packet
    }

    fn question_only(&self) -> Self {
        let (answers, authority, additional) = Default::default();
        Self { question: self.question.clone(), answers, authority, additional, ..*self }
    }

    /// The header and the question.
    fn header(&self, flags: u8, answers: usize) -> Vec<u8> {
        // A response, recursion desired and available.
        let mut packet = vec![self.id[0], self.id[1], 0x81 | flags, 0x80 | self.code, 0, 1];
        let additional = self.additional.len() + usize::from(self.edns);
        for count in [answers, self.authority.len(), additional] {
            packet.extend((count as u16).to_be_bytes());
        }
        packet.extend(&self.question);
        packet
    }

    fn put(&self, packet: &mut Vec<u8>, record: &Record) {
        let owner = encoded(&record.owner);
        let asked = &self.question[..self.question.len() - 4];
        // The name that was asked for is a pointer to the question, as real servers write it.
        if owner.eq_ignore_ascii_case(asked) {
            packet.extend([0xc0, HEADER as u8]);
        } else {
            packet.extend(owner);
        }
        packet.extend(record.kind.to_be_bytes());
        packet.extend(IN);
        packet.extend(record.ttl.to_be_bytes());
        packet.extend((record.data.len() as u16).to_be_bytes());
        packet.extend(&record.data);
    }
}

impl Record {
    pub(super) fn address(owner: &str, address: IpAddr, ttl: u32) -> Self {
        let (kind, data) = match address {
            IpAddr::V4(ip) => (A, ip.octets().to_vec()),
            IpAddr::V6(ip) => (AAAA, ip.octets().to_vec()),
        };
        Self { owner: owner.to_owned(), kind, ttl, data }
    }

    pub(super) fn cname(owner: &str, target: &str, ttl: u32) -> Self {
        Self { owner: owner.to_owned(), kind: CNAME, ttl, data: encoded(target) }
    }

    /// What bounds how long a negative answer holds (RFC 2308 section 3).
    pub(super) fn soa(owner: &str, ttl: u32) -> Self {
        let mut data = [encoded("ns.invalid"), encoded("nobody.invalid")].concat();
        for number in [1, 3600, 600, 86400, ttl] {
            data.extend(number.to_be_bytes());
        }
        Self { owner: owner.to_owned(), kind: SOA, ttl, data }
    }
}

/// A name as labels, each behind its length.
pub(super) fn encoded(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty());
    let mut bytes: Vec<u8> =
        labels.flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).collect();
    bytes.push(0);
    bytes
}
