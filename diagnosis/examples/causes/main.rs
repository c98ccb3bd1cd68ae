//! Prints docs/causes.md: `cargo run -q -p diagnosis --example causes > docs/causes.md`. With the
//! name of a file, renews the short table in that one: `… --example causes README.md`.

mod markdown;

use std::{env, fs, io};

fn main() -> io::Result<()> {
    let Some(path) = env::args_os().nth(1) else {
        print!("{}", markdown::causes());
        return Ok(());
    };
    let renewed = markdown::with_short_table(&fs::read_to_string(&path)?);
    fs::write(&path, renewed.ok_or_else(|| io::Error::other("no place for the table"))?)
}
