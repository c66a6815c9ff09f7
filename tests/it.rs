//! The program as its users meet it: the real binary over real sockets on ports of its own.
//!
//! What needs a browser, Python or Prometheus stands in `real.rs`.

#[path = "it/apart.rs"]
mod apart;
#[path = "it/bad_input.rs"]
mod bad_input;
#[path = "it/bombs.rs"]
mod bombs;
#[path = "it/claims.rs"]
mod claims;
#[path = "it/clocks.rs"]
mod clocks;
#[path = "it/counters.rs"]
mod counters;
#[path = "it/crash.rs"]
mod crash;
#[path = "it/demo.rs"]
mod demo;
#[path = "it/descriptors.rs"]
mod descriptors;
#[path = "it/drift.rs"]
mod drift;
#[path = "it/equality.rs"]
mod equality;
#[path = "it/erase.rs"]
mod erase;
#[path = "it/examples.rs"]
mod examples;
#[path = "it/floods.rs"]
mod floods;
#[path = "it/formats.rs"]
mod formats;
#[path = "it/frames.rs"]
mod frames;
#[path = "it/full_disk.rs"]
mod full_disk;
#[path = "it/further.rs"]
mod further;
#[path = "it/fuzz.rs"]
mod fuzz;
mod harness;
#[path = "it/hops.rs"]
mod hops;
#[path = "it/http2.rs"]
mod http2;
#[path = "it/keys.rs"]
mod keys;
#[path = "it/late.rs"]
mod late;
#[path = "it/listeners.rs"]
mod listeners;
#[path = "it/origins.rs"]
mod origins;
#[path = "it/overload.rs"]
mod overload;
#[path = "it/personal.rs"]
mod personal;
#[path = "it/poison.rs"]
mod poison;
#[path = "it/readme.rs"]
mod readme;
#[path = "it/replay.rs"]
mod replay;
#[path = "it/sampling.rs"]
mod sampling;
#[path = "it/scripts.rs"]
mod scripts;
#[path = "it/seal.rs"]
mod seal;
#[path = "it/served.rs"]
mod served;
#[path = "it/sql.rs"]
mod sql;
#[path = "it/supply.rs"]
mod supply;
#[path = "it/tails.rs"]
mod tails;
#[path = "it/telemetry.rs"]
mod telemetry;
#[path = "it/tidy.rs"]
mod tidy;
#[path = "it/tls.rs"]
mod tls;
#[path = "it/truth.rs"]
mod truth;
#[path = "it/views.rs"]
mod views;
#[path = "it/watch.rs"]
mod watch;
#[path = "it/world.rs"]
mod world;
