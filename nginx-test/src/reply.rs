//! An HTTP/1 response as it came over the wire.

use crate::field::{self, Member};

/// One response. Header names and values keep their bytes and their order.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status line as sent.
    pub line: String,
    /// The status code of the status line.
    pub status: u16,
    /// Header lines in order: name as sent, value without surrounding blanks.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// The body, with chunks put together.
    pub body: Vec<u8>,
    /// The body ended as its framing says; false when the connection ended first.
    pub complete: bool,
}

impl Reply {
    /// Parses a status line and header lines (without the final empty line).
    pub fn from_head(head: &[u8]) -> Self {
        let mut lines = head.split(|&b| b == b'\n').map(|line| line.trim_ascii_end());
        let status_line = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
        let status = status_line
            .strip_prefix("HTTP/")
            .and_then(|rest| rest.split(' ').nth(1)?.parse().ok())
            .unwrap_or_else(|| panic!("not a status line: {status_line:?}"));
        let headers = lines.filter(|line| !line.is_empty()).map(header_line).collect();
        Self { line: status_line, status, headers, body: Vec::new(), complete: true }
    }

    /// The values of every header line of that name.
    pub fn all(&self, name: &str) -> Vec<&[u8]> {
        let same = |n: &[u8]| n.eq_ignore_ascii_case(name.as_bytes());
        self.headers.iter().filter(|(n, _)| same(n)).map(|(_, v)| v.as_slice()).collect()
    }

    /// The first value of that name, as text.
    pub fn header(&self, name: &str) -> Option<String> {
        self.all(name).first().map(|value| String::from_utf8_lossy(value).into_owned())
    }

    /// `X-Upstream-Diagnosis`, parsed; empty when the response has none.
    pub fn members(&self) -> Vec<Member> {
        self.list(field::NAME)
    }

    /// The only member of `X-Upstream-Diagnosis`; any other number fails the test.
    pub fn member(&self) -> Member {
        let mut members = self.members();
        assert_eq!(members.len(), 1, "one member expected in {self}");
        members.remove(0)
    }

    /// The cause tokens of `X-Upstream-Diagnosis`, oldest first.
    pub fn causes(&self) -> Vec<String> {
        self.members().into_iter().map(|member| member.name).collect()
    }

    /// Any RFC 9651 List field: all its lines together, parsed and checked for size.
    pub fn list(&self, name: &str) -> Vec<Member> {
        field::parse(&self.all(name))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl std::fmt::Display for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        writeln!(f, "{}", self.status)?;
        for (name, value) in &self.headers {
            writeln!(f, "{}: {}", name.escape_ascii(), value.escape_ascii())?;
        }
        write!(f, "({} body bytes, complete: {})", self.body.len(), self.complete)
    }
}

fn header_line(line: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let colon = line.iter().position(|&b| b == b':');
    let colon = colon.unwrap_or_else(|| panic!("no header line: {}", line.escape_ascii()));
    (line[..colon].to_vec(), line[colon + 1..].trim_ascii().to_vec())
}
