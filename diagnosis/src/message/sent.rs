//! "upstream …": what the peer did, in the words of ngx_http_upstream.c and the protocol modules.

use super::{Message, only_errno};

/// The rest of a text that began with "upstream ".
pub(super) fn upstream(rest: &[u8]) -> Option<Message> {
    if let Some(what) = rest.strip_prefix(b"sent ") {
        return sent(what);
    }
    if let Some(tail) = rest.strip_prefix(b"timed out") {
        return only_errno(tail).map(|_| Message::TimedOut);
    }
    match rest {
        b"prematurely closed connection" | b"prematurely closed stream" => {
            return Some(Message::Closed);
        }
        b"prematurely closed FastCGI stdout" | b"prematurely closed FastCGI request" => {
            return Some(Message::EndedShort);
        }
        b"prematurely sent response" => return Some(Message::SpokeBeforeTls),
        _ => {}
    }
    if let Some(detail) = rest.strip_prefix(b"SSL certificate verify error: (") {
        return Some(Message::Unverified(super::number(detail).map(|(number, _)| number.into())));
    }
    if rest.starts_with(b"SSL certificate does not match \"") {
        Some(Message::OtherName)
    } else if rest.starts_with(b"rejected request with error ") {
        Some(Message::StreamReset)
    } else if rest.starts_with(b"violated ") {
        Some(Message::Malformed)
    } else {
        None
    }
}

/// The rest of a text that began with "upstream sent ".
fn sent(what: &[u8]) -> Option<Message> {
    if let Some(line) = what.strip_prefix(b"duplicate header line: \"") {
        return duplicate(line);
    }
    if let Some(size) = what.strip_prefix(b"too large http2 frame: ") {
        return Some(http2_frame(size));
    }
    if what == b"too big header" || over_buffer_size(what) {
        return Some(Message::HeaderTooBig);
    }
    if what.starts_with(b"no valid HTTP/1.0 header") {
        return Some(Message::NotHttp);
    }
    if what.starts_with(b"unsupported FastCGI protocol version: ") {
        return Some(Message::Foreign);
    }
    if what.starts_with(b"goaway with error ") {
        return Some(Message::StreamReset);
    }
    malformed(what).then_some(Message::Malformed)
}

/// Only a second length is refused; any other repeated header is "…, ignored".
fn duplicate(line: &[u8]) -> Option<Message> {
    let is = |name: &[u8]| line.get(..name.len()).is_some_and(|key| key.eq_ignore_ascii_case(name));
    let refused = is(b"content-length: ") || is(b"transfer-encoding: ");
    (refused && !line.ends_with(b"\", ignored")).then_some(Message::Malformed)
}

/// The first three bytes of a frame are its length: here those of an HTTP/1 status line ("HTT")
/// or of a TLS alert record.
fn http2_frame(size: &[u8]) -> Message {
    match size {
        b"4740180" | b"1377024" | b"1377025" | b"1377026" | b"1377027" => Message::Foreign,
        _ => Message::Malformed,
    }
}

/// Since 1.31, HTTP/2 headers have to fit into the buffer, too; before, and still without a number,
/// only a limit of HPACK's own is meant.
fn over_buffer_size(what: &[u8]) -> bool {
    what == b"too large http2 header"
        || what.starts_with(b"too large http2 header name length: ")
        || what.starts_with(b"too large http2 header value length: ")
}

fn malformed(what: &[u8]) -> bool {
    const BEGINNINGS: &[&[u8]] = &[
        b"invalid header",
        b"invalid status \"",
        b"invalid chunked response",
        b"\"Content-Length\" and \"Transfer-Encoding\" headers at the same time",
        b"invalid \"Content-Length\" header",
        b"unknown \"Transfer-Encoding\": ",
        b"HTTP/1.0 response with early hints",
        b"too big trailers",
        b"invalid trailer",
        // FastCGI
        b"unexpected FastCGI ",
        b"invalid FastCGI record type: ",
        // HTTP/2: gRPC, and proxy since 1.29.4
        b"invalid :status ",
        b"unexpected :status ",
        b"no :status header",
        b"duplicate :status header",
        b"unexpected http2 frame: ",
        b"unexpected push promise frame",
        b"invalid http2 ",
        b"invalid encoded header",
        b"truncated http2 header",
        b"zero http2 header name length",
        b"too short http2 frame",
        b"too large http2 header ",
        b"http2 frame with too long padding",
        b"http2 table index with continuation flag",
        b"frame for unknown stream ",
        b"frame for closed stream ",
        b"data frame for unknown stream ",
        b"headers frame with invalid length",
        b"rst stream frame ",
        b"goaway frame ",
        b"window update frame ",
        b"too large window update",
        b"zero window update",
        b"settings frame ",
        b"too many settings frames",
        b"ping frame ",
        b"too many ping frames",
        b"response body larger than indicated content length",
        b"trailer without end stream flag",
    ];
    BEGINNINGS.iter().any(|words| what.starts_with(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nginx_ignores_is_no_failure() {
        for (text, expected) in [
            ("sent more data than specified in \"Content-Length\" header", None),
            ("sent data after final chunk", None),
            ("server temporarily disabled", None),
            ("sent duplicate header line: \"ETag: a\", previous value: \"ETag: b\"", None),
            (
                "sent duplicate header line: \"content-length: 1\", previous value: \"X: 2\"",
                Some(Message::Malformed),
            ),
            (
                "sent duplicate header line: \"Content-Length: 1\", previous value: \"X: 2\", ignored",
                None,
            ),
            ("sent too big trailers", Some(Message::Malformed)),
            ("sent too large http2 header", Some(Message::HeaderTooBig)),
            ("sent too large http2 header value length: 9000", Some(Message::HeaderTooBig)),
            ("sent too large http2 header value length", Some(Message::Malformed)),
            ("sent goaway with error 2", Some(Message::StreamReset)),
            ("sent goaway frame with non-zero stream id: 3", Some(Message::Malformed)),
            ("sent too large http2 frame: 4740180", Some(Message::Foreign)),
            ("sent too large http2 frame: 4740181", Some(Message::Malformed)),
        ] {
            assert_eq!(upstream(text.as_bytes()), expected, "{text}");
        }
    }
}
