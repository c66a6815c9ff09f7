//! An idle session of ten pages, each with a request, costs at most two kibibytes and a half, and in that
//! are the prints by which second deliveries of these requests are known.
//!
//! Not what a million are promised at: that is `idle_session`, which is a program by itself for the same
//! reason as this one.
#![cfg(target_os = "linux")]

#[path = "../examples/sample/mod.rs"]
mod sample;

const PAGES: u64 = 10;

/// In bytes.
const IDLE_SESSION_BYTES_MAX: f64 = 2_560.0;

#[test]
fn an_idle_session_of_ten_pages_costs_a_few_kibibytes_at_most() {
    let ((_, _, sessions), bytes) = sample::idle::session_bytes(8_000, PAGES);
    assert_eq!(sessions, 10_000, "all are open");
    println!("an idle session of {PAGES} pages: {bytes:.0} bytes");
    assert!(bytes > 0.0, "memory that was free already says nothing");
    assert!(bytes <= IDLE_SESSION_BYTES_MAX, "an idle session costs {bytes:.0} bytes");
}
