//! Ethogram among the programs it lives with: a real SDK, a real Prometheus, a real browser.
//!
//! It is not for what a socket and a few bytes can test (that is `it.rs`). `tests/run` installs
//! what it needs; nothing here is skipped where something is missing, it fails and says what.

mod harness;
#[path = "real/outage.rs"]
mod outage;
#[path = "real/page.rs"]
mod page;
#[path = "real/program.rs"]
mod program;
#[path = "real/prometheus.rs"]
mod prometheus;
#[path = "real/python.rs"]
mod python;
#[path = "real/shipped.rs"]
mod shipped;
#[path = "real/shop.rs"]
mod shop;
#[path = "real/together.rs"]
mod together;
