//! The committed position between two processes. Not the log's data: followers read that from
//! the files.
//!
//! The owner of the log runs a [`LinkServer`] on the socket `committed.sock` in the log's
//! directory: it pushes the position after each commit, takes acknowledged positions back, keeps
//! them in the file `followers`, and lets the writer remove what all of them have passed. A
//! follower uses a [`LinkClient`], which reconnects by itself and falls back to the file
//! `committed` while there is no server.
//!
//! Invariants:
//! * A segment is removed only if every follower in `followers` has passed it. A follower counts
//!   from its first connection on, and until a person removes its line from the file. Without
//!   followers nothing is removed.
//! * A position on the link is durable: it is sent after fdatasync.
//! * Nobody waits for a follower: one that does not read its messages is disconnected.

mod client;
mod followers;
mod message;
mod server;

#[cfg(test)]
mod tests;

pub use client::LinkClient;
pub use server::LinkServer;
