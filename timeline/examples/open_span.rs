//! What an open span costs in memory, and a checkpoint of it.
//!
//! `cargo run --example open_span`. It asserts nothing: the figures are for people.

mod sample;

use ethogram_timeline::join::{Config, Join};
use sample::{at, span, status};

/// A hundred thousand spans in traces of five, none settled.
fn main() {
    const TRACES: u64 = 20_000;
    let mut join = Join::new(Config::default());
    let before = status("VmRSS");
    for trace in 0..TRACES {
        join.push(at(0, (0..5).map(|at| span(trace, at, None)).collect()));
        if trace % 100 == 0 {
            join.emit();
        }
    }
    join.emit();
    let open = status("VmRSS");
    let spans = (TRACES * 5) as f64;
    println!("an open span: {:.0} bytes", (open - before) / spans);
    let mut packed = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("encodes");
    join.write(&mut packed).expect("writes");
    let packed = packed.finish().expect("encodes");
    println!("its share of a checkpoint: {:.0} bytes", packed.len() as f64 / spans);
    println!("with a checkpoint: {:.0} bytes", (status("VmHWM") - before) / spans);
}
