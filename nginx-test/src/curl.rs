//! curl(1), for what the raw client does not speak: HTTP/2 and TLS.

use std::process::Command;

use crate::reply::Reply;
use crate::wait::patience;

/// `GET url` over HTTP/2 without TLS.
pub fn http2(url: &str) -> Reply {
    get(&["--http2-prior-knowledge", url])
}

/// Runs curl with these arguments and reads the last response that it prints.
pub fn get(arguments: &[&str]) -> Reply {
    let limit = patience().as_secs().to_string();
    let output = Command::new("curl")
        // Trailers would end up in the body with --include.
        .args([
            "--silent",
            "--dump-header",
            "/dev/stderr",
            "--insecure",
            "--noproxy",
            "*",
            "--max-time",
            &limit,
        ])
        .args(arguments)
        .output()
        .expect("run curl");
    parse(&output.stderr, output.stdout, output.status.success())
}

fn parse(headers: &[u8], body: Vec<u8>, complete: bool) -> Reply {
    let text = String::from_utf8_lossy(headers).into_owned();
    let last = text.rsplit("\r\n\r\n").find(|block| block.starts_with("HTTP/"));
    let mut reply = Reply::from_head(last.expect("curl got no header").as_bytes());
    reply.body = body;
    reply.complete = complete;
    reply
}
