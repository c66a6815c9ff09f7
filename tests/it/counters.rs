//! What pollers are told of a world against what SQL answers: the same, to the last send.
//!
//! SQL is compared with the truth of each world; so what is equal to it is as true.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::harness::{Ethogram, wait_for};
use crate::world::{number, word};

/// Samples by what stands before their value.
type Samples = BTreeMap<String, f64>;

const HOPS: &str = "SELECT layer, service, route, sum(sends) AS sends, \
    sum(first_attempts) AS first_attempts, sum(logical_calls) AS logical_calls, sum(hedges) AS hedges \
    FROM amplification GROUP BY layer, service, route";

const REQUESTS: &str = "SELECT region, layer, outcome, count(*) AS n FROM requests \
    WHERE outcome <> 'pending' GROUP BY region, layer, outcome";

const WAITED: &str = "SELECT region, layer, count(total_us) AS n, sum(total_us) AS us \
    FROM requests WHERE outcome IN ('ok', 'failed') GROUP BY region, layer";

const REFRESHES: &str = "SELECT coalesce(sum(refreshes), 0) AS n FROM sessions";

/// Counters of what is settled, which all of a world must be, that SQL does not bear out.
pub(crate) fn unlike_sql(ethogram: &Ethogram) -> Vec<String> {
    let mut expected = Samples::new();
    for row in ethogram.sql(HOPS) {
        for name in ["sends", "first_attempts", "logical_calls", "hedges"] {
            let sample = format!("ethogram_{name}_total{{{}}}", hop(&row));
            expected.insert(sample, row[name].as_f64().expect("a number"));
        }
    }
    for row in ethogram.sql(REQUESTS) {
        let sample = format!(
            "ethogram_requests_total{{{},outcome=\"{}\"}}",
            place(&row),
            word(&row, "outcome")
        );
        expected.insert(sample, number(&row, "n") as f64);
    }
    for row in ethogram.sql(WAITED) {
        let of =
            |what: &str| format!("ethogram_request_duration_seconds_{what}{{{}}}", place(&row));
        expected.insert(of("count"), number(&row, "n") as f64);
        expected.insert(of("sum"), number(&row, "us") as f64 / 1e6);
    }
    expected.insert(
        String::from("ethogram_refreshes_total"),
        number(&ethogram.sql(REFRESHES)[0], "n") as f64,
    );
    let names = ["sends", "first_attempts", "logical_calls", "hedges", "requests", "refreshes"];
    let names = names.map(|name| format!("ethogram_{name}_total"));
    let durations = ["count{", "sum{"].map(|of| format!("ethogram_request_duration_seconds_{of}"));
    differences(
        &expected,
        &told(ethogram, |sample| {
            names.iter().chain(&durations).any(|name| sample.starts_with(name))
        }),
    )
}

/// Amplification as it is now, of a world that is not older than its window.
pub(crate) fn unlike_amplification(ethogram: &Ethogram) -> Vec<String> {
    let mut expected = Samples::new();
    for row in ethogram.sql(HOPS) {
        let of = |name: &str| row[name].as_f64().expect("a number");
        if of("logical_calls") > 0.0 {
            let sample = format!("ethogram_amplification_ratio{{{}}}", hop(&row));
            expected.insert(sample, of("sends") / of("logical_calls"));
        }
    }
    let told = told(ethogram, |sample| sample.starts_with("ethogram_amplification_ratio"));
    let told = told.into_iter().map(|(sample, value)| {
        // What the window is called is not what it holds.
        let (sample, _) = sample.split_once(",window=").expect("a window");
        (format!("{sample}}}"), value)
    });
    differences(&expected, &told.collect())
}

fn hop(row: &Value) -> String {
    let (service, route, layer) = (word(row, "service"), word(row, "route"), word(row, "layer"));
    format!("service=\"{service}\",route=\"{route}\",layer=\"{layer}\"")
}

fn place(row: &Value) -> String {
    format!("region=\"{}\",layer=\"{}\"", word(row, "region"), word(row, "layer"))
}

/// What `/metrics` says, as far as it is wanted; what is 0 may as well be absent.
fn told(ethogram: &Ethogram, is_wanted: impl Fn(&str) -> bool) -> Samples {
    let text = wait_for("counters", || {
        let answer = ethogram.get(&ethogram.at.query, "/metrics");
        (answer.status == 200).then(|| answer.text())
    });
    let samples = text.lines().filter(|line| is_wanted(line)).map(|line| {
        let (sample, value) = line.rsplit_once(' ').expect("a sample and its value");
        (sample.to_owned(), value.parse().expect("a number"))
    });
    samples.collect()
}

fn differences(expected: &Samples, told: &Samples) -> Vec<String> {
    assert!(expected.len() > 10, "too little to compare: {expected:?}");
    let of = |samples: &Samples, sample: &str| samples.get(sample).copied().unwrap_or(0.0);
    let all = expected.keys().chain(told.keys().filter(|sample| !expected.contains_key(*sample)));
    let pairs = all.map(|sample| (sample, of(expected, sample), of(told, sample)));
    // Sums of durations are added in another order.
    let unlike = pairs.filter(|(_, sql, polled)| (sql - polled).abs() > 1e-9 * sql.abs());
    unlike.map(|(sample, sql, polled)| format!("{sample} is {polled}, by SQL {sql}")).collect()
}
