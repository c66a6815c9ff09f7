//! What an idle session costs in memory.
//!
//! `cargo run --example idle_session`. It asserts nothing: the figures are for people.

mod sample;

fn main() {
    let (open, bytes) = sample::idle::session_bytes(20_000, 1);
    println!("{open:?} traces, spans and sessions are open");
    println!("an idle session: {bytes:.0} bytes");
}
