//! Instructions per request, counted by callgrind.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use crate::Nginx;

/// Requests of the two runs: their difference leaves out start and end.
const FEW: u64 = 100;
const MANY: u64 = 900;

/// What one request costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Instructions outside the C library's allocator: what a call of malloc costs depends on how the
    /// heap has come to look, by some hundred instructions a request.
    pub instructions: i64,
    /// Calls of the allocator.
    pub allocations: i64,
}

/// What one request costs an nginx that serves them all on one connection and answers each with
/// `status`.
pub fn per_request(nginx: impl Fn() -> Nginx, status: u16) -> Cost {
    let run = |requests| count(nginx(), status, requests);
    let (few, many) = (run(FEW), run(MANY));
    let each = |count: fn(&Counts) -> u64| {
        // To the nearest: single ones are nginx's own, once in a while.
        let requests = MANY - FEW;
        let each = (count(&many) - count(&few) + requests / 2) / requests;
        i64::try_from(each).expect("fewer than 2^63")
    };
    Cost {
        instructions: each(|counts| counts.instructions),
        allocations: each(|counts| counts.allocations),
    }
}

fn count(nginx: Nginx, status: u16, requests: u64) -> Counts {
    let file = Output::new();
    let out = format!("--callgrind-out-file={}", file.0.display());
    let nginx = nginx.prefix(&["valgrind", "--tool=callgrind", "--quiet", &out]).start();
    let mut client = nginx.connect();
    for _ in 0..requests {
        assert_eq!(client.get("/").status, status);
    }
    drop(client);
    nginx.stop();
    Counts::read(&fs::read_to_string(&file.0).expect("callgrind leaves its counts"))
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    instructions: u64,
    allocations: u64,
}

impl Counts {
    /// Reads callgrind's format: `fn=(1) name` begins a function, and later is `fn=(1)`; a line of
    /// numbers is a place and what it cost; one after `calls=` is what was called, and counts there.
    fn read(text: &str) -> Self {
        let mut names: HashMap<&str, &str> = HashMap::new();
        let (mut counts, mut here, mut called) = (Self::default(), "", "");
        let mut of_call = false;
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("fn=") {
                here = known(&mut names, name);
            } else if let Some(name) = line.strip_prefix("cfn=") {
                called = known(&mut names, name);
            } else if let Some(calls) = line.strip_prefix("calls=") {
                let number = calls.split(' ').next().and_then(|number| number.parse().ok());
                if is_allocator(called) && !is_allocator(here) {
                    counts.allocations += number.unwrap_or(0);
                }
                of_call = true;
            } else if line.starts_with(|c: char| c.is_ascii_digit() || "+-*".contains(c)) {
                let cost = line.split(' ').nth(1).and_then(|cost| cost.parse().ok());
                if !of_call && !is_allocator(here) {
                    counts.instructions += cost.unwrap_or(0);
                }
                of_call = false;
            }
        }
        counts
    }
}

/// The name behind an id, which is given where it comes first.
fn known<'t>(names: &mut HashMap<&'t str, &'t str>, name: &'t str) -> &'t str {
    let (id, name) = name.split_once(' ').unwrap_or((name, ""));
    if name.is_empty() {
        names.get(id).copied().unwrap_or("")
    } else {
        names.entry(id).or_insert(name)
    }
}

/// Functions of glibc's malloc.c.
fn is_allocator(name: &str) -> bool {
    let names =
        ["malloc", "free", "calloc", "realloc", "posix_memalign", "unlink_chunk", "systrim"];
    let name = name.trim_start_matches('_').trim_start_matches("int_").trim_start_matches("sys");
    names.iter().any(|known| {
        let rest = name.strip_prefix(known);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '@', '_', '\'']))
    })
}

/// The file in which callgrind leaves its counts.
struct Output(PathBuf);

impl Output {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("ud-bench-{}.callgrind", std::process::id())))
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::{Counts, is_allocator};

    #[test]
    fn the_allocator_is_left_out() {
        let text = "events: Ir\nfl=(1) x.c\nfn=(1) main\n7 10\ncfn=(2) malloc\ncalls=3 5\n8 999\n\
                    +1 5\nfn=(2)\n1 400\ncfn=(3) _int_malloc\ncalls=2 9\n1 300\nfn=(1)\n* 2\n";
        assert_eq!(Counts::read(text), Counts { instructions: 17, allocations: 3 });
    }

    #[test]
    fn functions_are_told_by_their_names() {
        for name in [
            "malloc",
            "_int_malloc",
            "_int_free",
            "unlink_chunk.constprop.0",
            "free",
            "malloc_consolidate",
            "free@GLIBC_2.2.5",
            "sysmalloc",
            "posix_memalign",
            "__libc_free",
        ] {
            assert_eq!(is_allocator(name), name != "__libc_free", "{name}");
        }
        for name in ["main", "ngx_palloc", "ngx_http_free_request", "malloced", "freeaddrinfo"] {
            assert!(!is_allocator(name), "{name}");
        }
    }
}
