//! (to be written)

pub mod buckets;

pub use buckets::Buckets;
