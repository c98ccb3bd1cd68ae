//! Prints docs/causes.md: `cargo run -q -p diagnosis --example causes > docs/causes.md`.

mod markdown;

fn main() {
    print!("{}", markdown::causes());
}
