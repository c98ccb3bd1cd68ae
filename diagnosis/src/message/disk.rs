//! Failed work on nginx's own files: temporary files and the cache.
//!
//! The static module and others log the same words about their files; a file of the upstream's is
//! known by its name, and whether one can be in use at all is for the state to say.

use super::errno_at_end;
use crate::Errno;

/// A failed call on a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Disk {
    pub(crate) errno: Option<Errno>,
    pub(crate) call: Call,
    /// Named like a temporary file or a cache entry.
    pub(crate) own_name: bool,
}

/// What was done with the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Write,
    Open,
    MakeDirectory,
    Read,
}

pub(super) fn parse(text: &[u8]) -> Option<Disk> {
    const CALLS: &super::Beginnings<Call> = &[
        (b"pwritev() \"", Call::Write),
        (b"pwrite() \"", Call::Write),
        (b"writev() \"", Call::Write),
        (b"write() \"", Call::Write),
        (b"open() \"", Call::Open),
        (b"mkdir() \"", Call::MakeDirectory),
        (b"pread() \"", Call::Read),
        (b"read() \"", Call::Read),
    ];
    let (rest, call) = super::strip_any(text, CALLS)?;
    // The closing quote is the last one: what nginx and the system say after it has none.
    let end = rest.iter().rposition(|b| *b == b'"')?;
    let (name, after) = rest.split_at_checked(end)?;
    let failed = after.starts_with(b"\" failed (") || after.starts_with(b"\" has written only ");
    failed.then(|| Disk { errno: errno_at_end(after), call, own_name: own_name(name) })
}

/// `/var/cache/nginx/1/00/0000000001` (ngx_create_temp_file), `/cache/c/29/b7f5…` (the MD5 of a
/// key, ngx_http_file_cache_name), or the one made from the other with `use_temp_path=off`.
fn own_name(path: &[u8]) -> bool {
    const TEMPORARY: usize = 10;
    const CACHED: usize = 32;
    let file = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
    let last = file.rsplit(|b| *b == b'.').next().unwrap_or_default();
    let all =
        |name: &[u8], length, of: fn(&u8) -> bool| name.len() == length && name.iter().all(of);
    all(last, TEMPORARY, u8::is_ascii_digit) || all(file, CACHED, u8::is_ascii_hexdigit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_upstream_is_known_by_its_name() {
        for (path, own) in [
            ("/var/lib/nginx/proxy/1/00/0000000001", true),
            ("/cache/c/29/b7f54b2df7773722d382f4809d65029c", true),
            ("/cache/c/29/b7f54b2df7773722d382f4809d65029c.0000000007", true),
            ("/srv/www/index.html", false),
            ("/srv/www/0000000001.html", false),
            ("/srv/www/00000000010", false),
        ] {
            let text = format!("open() \"{path}\" failed (13: Permission denied)");
            let expected = Disk { errno: Some(Errno::EACCES), call: Call::Open, own_name: own };
            assert_eq!(parse(text.as_bytes()), Some(expected), "{path}");
        }
    }

    #[test]
    fn a_name_cannot_pose_as_the_error() {
        let text =
            b"open() \"/srv/x\" failed (28: No space left on device)\" failed (2: No such file)";
        assert_eq!(parse(text).and_then(|disk| disk.errno), Some(Errno::ENOENT));
        assert_eq!(parse(b"open() \"/srv/x\""), None);
    }
}
