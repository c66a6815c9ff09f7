//! Ten times the load that is sustainable, for a while: what is still accepted, how fast, and how the
//! rest is refused.
//!
//! What is sustainable is found with the same generator, over as many connections, with the same mix of
//! bodies: its rate rises until what is accepted does not. That is counted in records and not in
//! requests, since a page's small body costs nearly nothing and is hardly ever refused.
//!
//! A machine is faster in one minute than in another, and the best six seconds of a search say nothing of
//! the tenth minute. So the peak's rate is sent again before each minute of overload and after the last:
//! what is accepted then is what goodput is compared with.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::bodies::{self, BATCH_SPANS, PAGE_RECORDS};
use crate::client::{Seen, load, restlessly};
use crate::{Collector, Options, grpc, quantile};

/// Connections of the generator.
const CONNECTIONS: f64 = 1_000.0;

/// Which share of the bodies, and of the connections, goes through which door. At ten times the load
/// ten times the pages' bodies must be taken beside the batches: with many more of them the batches
/// alone would not reach their share of the peak.
const HTTP_SHARE: f64 = 0.7;
const GRPC_SHARE: f64 = 0.2;
const BEACON_SHARE: f64 = 0.1;

/// Records of a body on average.
const RECORDS: f64 =
    (HTTP_SHARE + GRPC_SHARE) * BATCH_SPANS as f64 + BEACON_SHARE * PAGE_RECORDS as f64;

/// Where the search for the peak begins, in requests a second (any core takes those), by how much it goes
/// on, and how long each step takes: some hundred requests and more tell its goodput well enough.
const FIRST_RATE: f64 = 25.0;
const RATE_STEP: f64 = 1.3;
const STEP: Duration = Duration::from_secs(6);

/// Goodput has stopped rising where two steps in a row, each of nearly a third more load, bring less
/// than this.
const RISE_MIN: f64 = 1.03;
const STEPS_WITHOUT_RISE: usize = 2;

/// How long the overload lasts between two looks at the peak.
const PIECE_S: u64 = 60;

/// How many times the peak is wanted, and at least really offered.
const LOAD: f64 = 10.0;
const OFFERED_MIN: f64 = 9.0;

/// The other goals, by what is printed.
const GOODPUT_MIN: f64 = 0.9;
const ACCEPTED_P99_MS_MAX: f64 = 250.0;
/// Bodies in flight (256 MiB), the log's queue (64 MiB), and as much as the collector has at rest.
const RESIDENT_MIB_MAX: u64 = 448;
/// Delays lie between these, and far enough from each other that who was refused together does not
/// come again together.
const DELAY_S_MIN: u64 = 1;
const DELAY_S_MAX: u64 = 30;
const DELAY_DEVIATION_S_MIN: f64 = 5.0;

/// What is sent through each door.
struct Mix {
    http: Arc<Vec<Vec<u8>>>,
    grpc: Arc<Vec<Bytes>>,
    beacon: Arc<Vec<Vec<u8>>>,
}

/// What came of a rate that was kept for some time.
#[derive(Default)]
struct Round {
    seen: Seen,
    /// Records accepted a second.
    goodput: f64,
}

impl Mix {
    fn new() -> Self {
        // Some tens of each, so that compression and caches meet more than one body.
        Self {
            http: Arc::new((0..64).map(|seed| bodies::http(BATCH_SPANS, seed)).collect()),
            grpc: Arc::new((64..128).map(|seed| bodies::grpc(BATCH_SPANS, seed)).collect()),
            beacon: Arc::new((128..192).map(bodies::beacon).collect()),
        }
    }

    /// Sends so many requests a second through all doors together.
    fn send(&self, collector: &Collector, rate: f64, time: Duration) -> Round {
        let connections = |share: f64| (CONNECTIONS * share) as usize;
        let (http, calls, pages) = restlessly(async {
            tokio::join!(
                load(
                    &collector.otlp_http,
                    &self.http,
                    connections(HTTP_SHARE),
                    Some(rate * HTTP_SHARE),
                    time
                ),
                grpc::load(
                    &collector.otlp_grpc,
                    &self.grpc,
                    connections(GRPC_SHARE),
                    rate * GRPC_SHARE,
                    time
                ),
                load(
                    &collector.beacon,
                    &self.beacon,
                    connections(BEACON_SHARE),
                    Some(rate * BEACON_SHARE),
                    time
                ),
            )
        });
        let batches = http.accepted_us.len() + calls.accepted_us.len();
        let records = batches * BATCH_SPANS + pages.accepted_us.len() * PAGE_RECORDS;
        let mut seen = http;
        seen.add(calls);
        seen.add(pages);
        Round { seen, goodput: records as f64 / time.as_secs_f64() }
    }

    /// The most records a second that are accepted, whatever is offered.
    fn peak(&self, collector: &Collector) -> f64 {
        let (mut rate, mut best, mut without_rise) = (FIRST_RATE, 0.0_f64, 0);
        while without_rise < STEPS_WITHOUT_RISE {
            let mut round = self.send(collector, rate, STEP);
            println!(
                "{rate:.0} requests/s: {:.0} records/s accepted, p99 {:.0} ms, {} refused",
                round.goodput,
                quantile(&mut round.seen.accepted_us, 0.99),
                round.seen.delays_s.len()
            );
            without_rise = if round.goodput < best * RISE_MIN { without_rise + 1 } else { 0 };
            best = best.max(round.goodput);
            rate *= RATE_STEP;
        }
        best
    }
}

/// Overload, a piece at a time, and what is accepted of the peak's rate between the pieces, each on
/// average. The worst second of each piece is told in requests.
fn overload(mix: &Mix, collector: &Collector, sustained: f64, seconds: u64) -> (Round, f64) {
    let pieces = seconds.div_ceil(PIECE_S).max(1);
    let piece_s = (seconds / pieces).max(1);
    let mut all = Round::default();
    let mut peaks = vec![mix.send(collector, sustained, STEP).goodput];
    for piece in 1..=pieces {
        let round = mix.send(collector, LOAD * sustained, Duration::from_secs(piece_s));
        peaks.push(mix.send(collector, sustained, STEP).goodput);
        let accepted_in =
            |second| round.seen.accepted_at_s.iter().filter(|at| **at == second).count();
        println!(
            "piece {piece} of {piece_s} s: {:.0} records/s, {} requests in the worst second; {:.0} at the peak's rate",
            round.goodput,
            (0..piece_s).map(accepted_in).min().unwrap_or(0),
            peaks.last().unwrap()
        );
        all.goodput += round.goodput / pieces as f64;
        all.seen.add(round.seen);
    }
    let peak = peaks.iter().sum::<f64>() / peaks.len() as f64;
    (all, peak)
}

/// The deviation of what was asked for from its mean.
fn deviation(values: &[u64]) -> f64 {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<u64>() as f64 / count;
    let squares = values.iter().map(|value| (*value as f64 - mean).powi(2));
    (squares.sum::<f64>() / count).sqrt()
}

pub(crate) fn measure(options: &Options) {
    let collector = Collector::start(options);
    let mix = Mix::new();
    let peak = mix.peak(&collector);
    let sustained = peak / RECORDS;
    println!(
        "peak: {peak:.0} records/s, as of {sustained:.0} requests/s; resident {} MiB",
        collector.status_mib("VmHWM")
    );
    let (Round { mut seen, goodput }, beside) =
        overload(&mix, &collector, sustained, options.seconds);
    let offered = seen.late_us.len() as f64 / options.seconds as f64;
    let p99_ms = quantile(&mut seen.accepted_us, 0.99);
    println!(
        "offered: {offered:.0} requests/s, {:.1}x; late by p50 {:.1} ms, p99 {:.1} ms",
        offered / sustained,
        quantile(&mut seen.late_us, 0.5),
        quantile(&mut seen.late_us, 0.99)
    );
    println!(
        "goodput: {goodput:.0} records/s, {:.0} % of what is accepted at the peak's rate, {:.0} % of the best of the search; accepted p50 {:.0} ms, p99 {p99_ms:.0} ms",
        100.0 * goodput / beside,
        100.0 * goodput / peak,
        quantile(&mut seen.accepted_us, 0.5)
    );
    let (deviation_s, resident_mib) = (deviation(&seen.delays_s), collector.status_mib("VmHWM"));
    println!(
        "refused: {} in p99 {:.0} ms, asked to wait {:?} to {:?} s, deviation {deviation_s:.1} s; {} without a delay, {} broken; resident {resident_mib} MiB at most",
        seen.delays_s.len(),
        quantile(&mut seen.refused_us, 0.99),
        seen.delays_s.iter().min(),
        seen.delays_s.iter().max(),
        seen.wrong,
        seen.broken
    );
    drop(collector);
    let delays_fit = seen.delays_s.iter().all(|s| (DELAY_S_MIN..=DELAY_S_MAX).contains(s));
    let missed: Vec<&str> = [
        ("nine times the peak are offered", offered >= OFFERED_MIN * sustained),
        ("goodput", goodput >= GOODPUT_MIN * beside),
        ("the time of an acknowledgement", p99_ms <= ACCEPTED_P99_MS_MAX),
        ("memory", resident_mib <= RESIDENT_MIB_MAX),
        ("every refusal says when to come again", seen.wrong == 0 && delays_fit),
        ("the delays differ", deviation_s >= DELAY_DEVIATION_S_MIN),
        ("nothing breaks", seen.broken == 0),
    ]
    .into_iter()
    .filter_map(|(goal, is_met)| (!is_met).then_some(goal))
    .collect();
    assert!(missed.is_empty() || !options.hold, "missed: {missed:?}");
}
