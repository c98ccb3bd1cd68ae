//! HTTP/2 frames (RFC 9113) for gRPC back ends, with header blocks that need no compression state.

use super::Step;

/// Frame types.
pub const DATA: u8 = 0;
/// HEADERS.
pub const HEADERS: u8 = 1;
/// RST_STREAM.
pub const RST_STREAM: u8 = 3;
/// SETTINGS.
pub const SETTINGS: u8 = 4;
/// GOAWAY.
pub const GOAWAY: u8 = 7;

/// The flag END_STREAM of DATA and HEADERS.
pub const END_STREAM: u8 = 1;
/// The flag END_HEADERS of HEADERS.
pub const END_HEADERS: u8 = 4;

const PREFACE: usize = 24;

/// Reads the preface and frames until one ends the stream of the request.
pub fn request() -> Step {
    Step::ReadUntil(|bytes| {
        let mut rest = bytes.get(PREFACE..).unwrap_or_default();
        while let [a, b, c, kind, flags, _, _, _, _, payload @ ..] = rest {
            let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            let Some(next) = payload.get(length..) else { return false };
            if matches!(*kind, DATA | HEADERS) && flags & END_STREAM != 0 {
                return true;
            }
            rest = next;
        }
        false
    })
}

/// Any frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// The server's SETTINGS and the acknowledgement of the client's.
pub fn settings() -> Vec<u8> {
    [frame(SETTINGS, 0, 0, b""), frame(SETTINGS, 1, 0, b"")].concat()
}

/// HEADERS of stream 1 with `:status: 200` and these fields.
pub fn headers(flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    // RFC 7541: 0x88 is `:status: 200` of the static table.
    let mut block = vec![0x88];
    block.extend(fields.iter().flat_map(|(name, value)| literal(name, value)));
    frame(HEADERS, flags | END_HEADERS, 1, &block)
}

/// Trailers of stream 1.
pub fn trailers(fields: &[(&str, &str)]) -> Vec<u8> {
    let block: Vec<u8> = fields.iter().flat_map(|(name, value)| literal(name, value)).collect();
    frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)
}

/// RST_STREAM of stream 1 with an error code.
pub fn reset(code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, 1, &code.to_be_bytes())
}

/// GOAWAY with the last stream that was served and an error code.
pub fn goaway(last: u32, code: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
}

/// A whole gRPC response with one empty message.
pub fn grpc_ok() -> Vec<u8> {
    [
        settings(),
        headers(0, &[("content-type", "application/grpc")]),
        frame(DATA, 0, 1, &[0; 5]),
        trailers(&[("grpc-status", "0")]),
    ]
    .concat()
}

/// A literal without indexing and without Huffman coding; names and values below 127 bytes.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0, u8::try_from(name.len()).unwrap()];
    bytes.extend(name.as_bytes());
    bytes.push(u8::try_from(value.len()).unwrap());
    bytes.extend(value.as_bytes());
    bytes
}
