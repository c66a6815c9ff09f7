//! `/metrics`: what alerting systems poll.
//!
//! Counters take settled facts only and never fall, across restarts too; the one windowed gauge
//! takes what is known now and says its window. Everything comes from one published moment, so two
//! pollers that ask together are told the same.
//!
//! It is not where facts are counted, nor where it is decided which label sets there are: that is
//! [`ethogram_timeline::rollup`], whose choice survives restarts. [`exposition`] knows the text formats
//! and no metric.

mod exposition;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ethogram_timeline::rollup::{Hop, HopCounts, Place, RequestCounts, RollupView};
use http::HeaderMap;
use http::header::CONTENT_TYPE;

use crate::error::Kind as Fault;
use crate::http::Surface;
use crate::published::{FollowerStatus, Published};
use crate::status;
use exposition::{Exposition, Kind, Syntax};

/// Upper bounds of the duration histogram, in microseconds: from a cache hit to the minute after
/// which nobody waits, a factor of about two apart. Fixed, since a bound that moves breaks rates.
const BOUNDS_US: [u64; 14] = [
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    120_000_000,
];

/// Answers in the syntax that was asked for.
pub(crate) async fn get(State(surface): State<Arc<Surface>>, headers: HeaderMap) -> Response {
    // A counter that shows the last seal's value after a restart would look as if it had fallen.
    if let Some(reason) = surface.unready() {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response();
    }
    let syntax = Syntax::negotiate(&headers);
    let published = surface.published();
    let mut text = Exposition::new(syntax);
    rollup(&mut text, &published.rollup);
    freshness(&mut text, &published, surface.clock.now_ns());
    follower(&mut text, &published.follower, &published.rollup);
    text.gauge("ethogram_statements_running", "SQL statements running now.");
    text.sample(&[], surface.engine.running() as f64);
    text.gauge("ethogram_statements_memory_bytes", "Memory that SQL statements hold now.");
    text.sample(&[], surface.engine.memory_bytes() as f64);
    text.counter(
        "ethogram_query_refused",
        "Requests to this role refused, by whose fault it was: plan (theirs), limit or internal.",
    );
    for fault in Fault::ALL {
        text.sample(&[("kind", fault.name())], surface.refused.of(fault) as f64);
    }
    ([(CONTENT_TYPE, syntax.media_type())], text.finish()).into_response()
}

/// A counter of hops: its name, its help, and what it reads.
type HopCounter = (&'static str, &'static str, fn(&HopCounts) -> i64);

fn rollup(text: &mut Exposition, view: &RollupView) {
    let counters: [HopCounter; 4] = [
        (
            "ethogram_sends",
            "Settled sends whose place in their call is known, as received: sampling is not weighted.",
            |counts| counts.sends,
        ),
        (
            "ethogram_first_attempts",
            "Settled sends that begin a call, implied ones included.",
            |counts| counts.first_attempts,
        ),
        ("ethogram_logical_calls", "Settled logical calls, by their original send.", |counts| {
            counts.logical_calls
        }),
        ("ethogram_hedges", "Settled sends while an earlier one was awaited.", |counts| {
            counts.hedges
        }),
    ];
    for (name, help, of) in counters {
        text.counter(name, help);
        for (hop, counts) in &view.totals.hops {
            text.sample(&hop_labels(hop), of(counts).max(0) as f64);
        }
    }
    let window = format!("{}m", view.window.seconds / 60);
    text.gauge(
        "ethogram_amplification_ratio",
        "Sends per logical call within the window, provisional facts included.",
    );
    for (hop, counts) in view.window_hops() {
        // Without a call there is nothing to divide by, and no send to speak of.
        if counts.logical_calls > 0 {
            let [service, route, layer] = hop_labels(&hop);
            let ratio = counts.sends as f64 / counts.logical_calls as f64;
            text.sample(&[service, route, layer, ("window", &window)], ratio);
        }
    }
    requests(text, &view.totals.requests);
    text.counter("ethogram_refreshes", "Reloads of a page.");
    text.sample(&[], view.totals.refreshes.max(0) as f64);
}

fn hop_labels(hop: &Hop) -> [(&'static str, &str); 3] {
    [("service", &hop.service), ("route", &hop.route), ("layer", &hop.layer)]
}

fn requests(text: &mut Exposition, places: &BTreeMap<Place, RequestCounts>) {
    text.counter("ethogram_requests", "Settled logical requests by outcome.");
    for (place, counts) in places {
        for (outcome, count) in [
            ("ok", counts.ok),
            ("failed", counts.failed),
            ("abandoned", counts.abandoned),
            ("cancelled", counts.cancelled),
        ] {
            text.sample(
                &[("region", &place.region), ("layer", &place.layer), ("outcome", outcome)],
                count.max(0) as f64,
            );
        }
    }
    text.family(
        "ethogram_request_duration_seconds",
        Kind::Histogram,
        "Settled requests that finished: first send to final outcome, back-off included.",
    );
    for (place, counts) in places {
        let labels = [("region", place.region.as_str()), ("layer", place.layer.as_str())];
        text.histogram(&labels, &cumulative(counts), counts.sum_us.max(0) as f64 / 1e6);
    }
}

/// Counts up to each bound, then all of them. A bucket counts where its midpoint lies, so a value
/// within 0.4 % of a bound may count on its other side.
fn cumulative(counts: &RequestCounts) -> Vec<(f64, u64)> {
    use ethogram_timeline::rollup::buckets::midpoint_2;
    let mut buckets = counts.h.iter().peekable();
    let mut below = 0_i64;
    let mut answer: Vec<(f64, u64)> = Vec::with_capacity(BOUNDS_US.len() + 1);
    for bound_us in BOUNDS_US {
        while let Some((_bucket, count)) =
            buckets.next_if(|(bucket, _count)| midpoint_2(*bucket) <= bound_us)
        {
            below += count;
        }
        answer.push((bound_us as f64 / 1e6, u64::try_from(below).unwrap_or(0)));
    }
    below += buckets.map(|(_bucket, count)| count).sum::<i64>();
    answer.push((f64::INFINITY, u64::try_from(below).unwrap_or(0)));
    answer
}

fn freshness(text: &mut Exposition, published: &Published, now_ns: i64) {
    text.gauge(
        "ethogram_complete_until_seconds",
        "Unix time up to which every acknowledged record is visible.",
    );
    text.sample(&[], published.snapshot.complete_until_ns as f64 / 1e9);
    text.gauge("ethogram_follower_lag_seconds", "How far answers are behind now.");
    text.sample(&[], status::lag_seconds(&published.snapshot, now_ns));
}

fn follower(text: &mut Exposition, follower: &FollowerStatus, view: &RollupView) {
    text.gauge("ethogram_follower_lag_bytes", "Committed bytes not yet read, within a segment.");
    text.sample(&[], status::lag_bytes(follower).map_or(f64::NAN, |bytes| bytes as f64));
    for (name, help, count) in [
        ("ethogram_follower_records", "Records read since the process began.", follower.records),
        (
            "ethogram_follower_undecodable_records",
            "Records that could not be decoded and were passed over.",
            follower.undecodable_records,
        ),
        ("ethogram_follower_seals", "Seals completed since the process began.", follower.seals),
    ] {
        text.counter(name, help);
        text.sample(&[], count as f64);
    }
    text.gauge("ethogram_follower_head_bytes", "Rows in memory, about, in bytes.");
    text.sample(&[], follower.head_bytes as f64);
    text.counter("ethogram_follower_rows_dropped", "Rows dropped or set apart, by reason.");
    for (reason, count) in &view.totals.dropped {
        text.sample(&[("reason", reason)], *count as f64);
    }
}

#[cfg(test)]
mod tests;
