//! A simulated machine: files that are lost, torn and full in every way a disk permits, all of it
//! drawn from one seed. Not a model of what runs on it: no line of the log or the store is
//! replaced, only the system calls below them.
//!
//! What the simulated disk is taken to honour: a sync that returned made durable what it covers (but
//! for one that was told to lie, [`Fault::Lie`]); a sector of 512 bytes is written whole or not at
//! all; names and lengths that a sync reported as failed are still pending. Everything else is up to
//! the seed.

mod file;
mod handle;
mod hands;
mod random;
mod storage;

pub(crate) use random::Random;
pub(crate) use storage::{Call, Fault, SimStorage};
