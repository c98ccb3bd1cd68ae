//! HTTP/1 bytes for scripts.

use crate::client::find;

/// A 200 with Content-Length.
pub fn ok(body: &str) -> Vec<u8> {
    response(200, &[], body.as_bytes())
}

/// A response with Content-Length and these header lines (`"Name: value"`).
pub fn response(status: u16, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let reason = if status == 200 { "OK" } else { "Said" };
    let mut bytes = format!("HTTP/1.1 {status} {reason}\r\nContent-Length: {}\r\n", body.len());
    for line in headers {
        bytes = bytes + line + "\r\n";
    }
    let mut bytes = (bytes + "\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

pub(crate) fn head_is_complete(bytes: &[u8]) -> bool {
    find(bytes, b"\r\n\r\n").is_some()
}

/// A head, and as much body as its Content-Length or chunks say.
pub(crate) fn request_is_complete(bytes: &[u8]) -> bool {
    let Some(end) = find(bytes, b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let body = &bytes[end + 4..];
    if head.contains("\r\ntransfer-encoding: chunked") {
        return body.ends_with(b"0\r\n\r\n");
    }
    let length = head
        .split("\r\ncontent-length:")
        .nth(1)
        .and_then(|rest| rest.lines().next().and_then(|value| value.trim().parse::<usize>().ok()));
    body.len() >= length.unwrap_or(0)
}
