//! The domain that both roles share: what a row is, how the log keeps it, how rows become
//! timelines, and how timelines are stored.
//!
//! Flow: `record` (what one log record holds) → `log` → `decode` → `join` → `store`, with
//! `rollup` beside the store. The collector stands in front of `log`, the query role behind it.
//!
//! It is not a server: nothing here knows HTTP, gRPC or SQL.
//!
//! Invariants:
//! * Only [`decode`] knows OTLP's names; everything behind it speaks in [`schema`] rows.
//! * The core is synchronous; time comes in through [`clock::Clock`] or as log time.
//! * A record is a pure function of its bytes: replay gives equal rows.

pub mod clock;
pub mod decode;
mod disk;
pub mod join;
pub mod log;
pub mod record;
pub mod rollup;
pub mod schema;
pub mod store;
