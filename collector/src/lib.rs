//! What comes in, and what is promised on acknowledge.
//!
//! Reading order: [`config`] (what may be set, and every limit with its reason) → `serve` (the
//! role put together) → `listen` (connections) → the doors `grpc`, `http` and `beacon` → `admit`
//! (the one path behind all doors: authenticate, read within bounds, decode, admit, scrub,
//! append, answer) → `enrich` (the place of an address) → `counters` and `admin` (what the role
//! says about itself).
//!
//! It is not a store: it holds no timeline, knows no SQL, never deduplicates and never reads what
//! it wrote. The log of `ethogram_timeline` is the only thing between it and the query role.
//!
//! Invariants:
//! * Success is answered only after the log said that the bytes are on disk.
//! * No door reads a body without a limit, and inflation stops at the limit, not after it.
//! * Every refusal is counted by reason and door, and whatever may be retried carries a jittered
//!   delay: a tool about retry storms must not start one.
//! * A panic ends the request that caused it and nothing else.

pub mod config;

mod admin;
mod admit;
mod beacon;
mod counters;
mod cross_origin;
mod doors;
mod enrich;
mod grpc;
mod http;
mod listen;
mod serve;

#[cfg(test)]
mod answers;
#[cfg(test)]
mod stand;

pub use admit::Pressure;
pub use beacon::script::script_tag;
pub use config::{Binds, Config, ConfigError, Secret, TlsConfig};
pub use doors::Doors;
pub use enrich::GeoError;
pub use listen::TlsError;
pub use serve::{CollectorError, Listeners, serve};
