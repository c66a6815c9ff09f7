//! Few sessions tell everything, all pages tell their counts: the factors of browsers stay what
//! they are.

use serde_json::Value;

use crate::world::{World, number, seeds, word};

/// What a summary counts, and what the truth calls it.
const COUNTS: [(&str, &str); 4] = [
    ("requests", "requests"),
    ("attempts", "attempts"),
    ("reloads", "reloads"),
    ("abandoned", "abandoned"),
];

/// Requests and attempts of the pages that sent a summary, one row for each page.
const SUMMARIES: &str = "SELECT CAST(attributes['behavior.requests'] AS BIGINT) AS requests, \
    CAST(attributes['behavior.attempts'] AS BIGINT) AS attempts, \
    CAST(attributes['behavior.retries'] AS BIGINT) AS retries, \
    CAST(attributes['behavior.repeats_user'] AS BIGINT) AS repeats_user, \
    CAST(attributes['behavior.repeats_refresh'] AS BIGINT) AS repeats_refresh, \
    CAST(attributes['behavior.reloads'] AS BIGINT) AS reloads, \
    CAST(attributes['behavior.abandoned'] AS BIGINT) AS abandoned \
    FROM events WHERE event_name = 'behavior.summary'";

/// The same of the pages that told everything.
const PAGES: &str = "SELECT count(*) AS requests, sum(attempts) AS attempts, \
    count(*) FILTER (WHERE outcome = 'abandoned') AS abandoned, \
    count(*) FILTER (WHERE repeat_cause = 'user') AS repeats_user, \
    count(*) FILTER (WHERE repeat_cause = 'refresh') AS repeats_refresh \
    FROM requests WHERE layer = 'browser' GROUP BY session_id";

/// Browsers' sends and calls as the view has them, of both kinds of pages together.
const HOP: &str = "SELECT sum(sends) AS sends, sum(first_attempts) AS calls FROM amplification \
    WHERE layer = 'browser'";

/// Whether the view is within 1 % of the truth.
fn near(told: i64, truth: i64) -> bool {
    (told - truth).abs() * 100 <= truth
}

fn sum(rows: &[Value], count: &str) -> i64 {
    rows.iter().map(|row| number(row, count)).sum()
}

/// Attempts by requests over some rows, and its standard error as that of a ratio of sums.
fn factor(rows: &[Value]) -> (f64, f64) {
    let requests = sum(rows, "requests") as f64;
    let factor = sum(rows, "attempts") as f64 / requests;
    let square = |row: &Value| {
        let rest = number(row, "attempts") as f64 - factor * number(row, "requests") as f64;
        rest * rest
    };
    (factor, rows.iter().map(square).sum::<f64>().sqrt() / requests)
}

#[test]
fn one_session_in_a_hundred_is_enough() {
    for seed in seeds() {
        let options = ["--duration", "40s", "--rate", "2", "--sample-ratio", "0.01"];
        let world = World::new("bad-deploy", seed, &options, &[]);
        let (summaries, pages) = (world.ethogram.sql(SUMMARIES), world.ethogram.sql(PAGES));
        let sampled = world.details("session").filter(|session| session["sampled"] == true);
        let (sampled, sessions) = (sampled.count(), world.details("session").count());
        assert!(sessions > 300 && sampled * 20 < sessions, "{sampled} of {sessions}");
        assert!(summaries.len() > 500, "{}", summaries.len());
        // Together they are all: nothing was left out, nothing was taken for the same.
        for (count, truth) in COUNTS {
            let told = sum(&summaries, count)
                + match count {
                    "reloads" => reloads(&world),
                    _ => sum(&pages, count),
                };
            assert_eq!(told, world.total(truth), "{count}");
        }
        for cause in ["user", "refresh"] {
            let count = format!("repeats_{cause}");
            let told = sum(&summaries, &count) + sum(&pages, &count);
            assert_eq!(told, repeats(&world, cause), "{cause}");
        }
        let hop = &world.ethogram.sql(HOP)[0];
        let (sends, calls) = (number(hop, "sends"), number(hop, "calls"));
        let (attempts, requests) = (world.total("attempts"), world.total("requests"));
        assert!(
            near(sends, attempts) && near(calls, requests),
            "the view has {sends} sends of {calls} calls, the truth is {attempts} of {requests}"
        );
        let named = world.ethogram.sql(
            "SELECT count(*) AS n FROM events WHERE event_name = 'behavior.summary' \
             AND (session_id IS NOT NULL OR page_id IS NOT NULL OR tab_id IS NOT NULL \
                  OR user_id IS NOT NULL OR trace_id IS NOT NULL)",
        );
        assert_eq!(number(&named[0], "n"), 0, "a summary names somebody");
        let known = world
            .ethogram
            .sql("SELECT count(DISTINCT session_id) AS n FROM spans WHERE layer = 'browser'");
        assert!(number(&known[0], "n") as usize <= sampled, "{} of {sampled}", known[0]);
    }
}

fn repeats(world: &World, cause: &str) -> i64 {
    let regions = world.truth["regions"].as_array().expect("a list of regions").iter();
    regions.map(|region| number(&region["retries"], cause)).sum()
}

fn reloads(world: &World) -> i64 {
    let rows = world.ethogram.sql("SELECT coalesce(sum(refreshes), 0) AS n FROM sessions");
    number(&rows[0], "n")
}

#[test]
fn each_sample_is_within_its_sampling_error() {
    for seed in seeds() {
        let options = ["--duration", "40s", "--rate", "2", "--sample-ratio", "0.3"];
        let world = World::new("bad-deploy", seed, &options, &[]);
        let truth = world.total("attempts") as f64 / world.total("requests") as f64;
        assert!(truth > 1.05, "hardly any retries: {truth}");
        for (what, statement) in [("summaries", SUMMARIES), ("sessions", PAGES)] {
            let rows = world.ethogram.sql(statement);
            let (factor, error) = factor(&rows);
            // Pages of one session are alike, so the error of pages is a little too small.
            assert!(
                (factor - truth).abs() < 4.0 * error && error < 0.05,
                "{}: {what} say {factor} ± {error}, the truth is {truth}",
                word(&world.truth, "scenario")
            );
        }
    }
}
