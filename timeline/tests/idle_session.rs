//! An idle session costs at most a kibibyte: a million of them fit in a gibibyte.
//!
//! What the whole process takes is measured, so this is a program by itself: no other test allocates
//! beside it. The kernel's account is read, which only Linux keeps in this form.
#![cfg(target_os = "linux")]

#[path = "../examples/sample/mod.rs"]
mod sample;

/// In bytes. What an operator sets `sessions_max` by.
const IDLE_SESSION_BYTES_MAX: f64 = 1_024.0;

#[test]
fn an_idle_session_costs_at_most_a_kibibyte() {
    let ((_, _, sessions), bytes) = sample::idle::session_bytes(20_000, 1);
    assert_eq!(sessions, 25_000, "all are open");
    println!("an idle session: {bytes:.0} bytes");
    assert!(bytes > 0.0, "memory that was free already says nothing");
    assert!(bytes <= IDLE_SESSION_BYTES_MAX, "an idle session costs {bytes:.0} bytes");
}
