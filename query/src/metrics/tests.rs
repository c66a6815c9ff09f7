//! Series from a rollup: which there are, and what they say.

use ethogram_timeline::rollup::{Config, Totals, WindowView};

use super::*;

fn hop(service: &str, layer: &str) -> Hop {
    Hop { service: String::from(service), route: String::from("/r"), layer: String::from(layer) }
}

fn counts(sends: i64, logical_calls: i64) -> HopCounts {
    HopCounts { sends, logical_calls, first_attempts: logical_calls, ..HopCounts::default() }
}

fn text(view: &RollupView) -> String {
    let mut text = Exposition::new(Syntax::Prometheus);
    rollup(&mut text, view);
    text.finish()
}

fn view(totals: Totals, window: BTreeMap<Hop, HopCounts>) -> RollupView {
    RollupView {
        totals: Arc::new(totals),
        window: WindowView { seconds: 300, hops: Arc::new(window) },
        hops_max: Config::default().hops_max,
    }
}

#[test]
fn says_what_was_counted() {
    let mut requests =
        RequestCounts { ok: 2, abandoned: 1, sum_us: 1_200_000, ..RequestCounts::default() };
    requests.h.record(200_000, 1);
    requests.h.record(1_000_000, 1);
    let place = Place { region: String::from("GB"), layer: String::from("browser") };
    let totals = Totals {
        hops: BTreeMap::from([(hop("cart", "service"), counts(15, 10))]),
        requests: BTreeMap::from([(place, requests)]),
        refreshes: 3,
        ..Totals::default()
    };
    let window = BTreeMap::from([
        (hop("cart", "service"), counts(3, 2)),
        (hop("gone", "service"), counts(0, 0)),
    ]);
    let text = text(&view(totals, window));
    for line in [
        "ethogram_sends_total{service=\"cart\",route=\"/r\",layer=\"service\"} 15",
        "ethogram_logical_calls_total{service=\"cart\",route=\"/r\",layer=\"service\"} 10",
        "ethogram_amplification_ratio{service=\"cart\",route=\"/r\",layer=\"service\",window=\"5m\"} 1.5",
        "ethogram_requests_total{region=\"GB\",layer=\"browser\",outcome=\"ok\"} 2",
        "ethogram_requests_total{region=\"GB\",layer=\"browser\",outcome=\"abandoned\"} 1",
        "ethogram_request_duration_seconds_bucket{region=\"GB\",layer=\"browser\",le=\"0.1\"} 0",
        "ethogram_request_duration_seconds_bucket{region=\"GB\",layer=\"browser\",le=\"0.25\"} 1",
        "ethogram_request_duration_seconds_bucket{region=\"GB\",layer=\"browser\",le=\"2.5\"} 2",
        "ethogram_request_duration_seconds_bucket{region=\"GB\",layer=\"browser\",le=\"+Inf\"} 2",
        "ethogram_request_duration_seconds_count{region=\"GB\",layer=\"browser\"} 2",
        "ethogram_request_duration_seconds_sum{region=\"GB\",layer=\"browser\"} 1.2",
        "ethogram_refreshes_total 3",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
    }
    assert!(!text.contains("gone"), "no call, no ratio");
}

#[test]
fn a_value_stands_below_its_bound() {
    for (us, bound) in [(1, 0.005), (4_900, 0.005), (5_100, 0.01), (119_000_000, 120.0)] {
        let mut counts = RequestCounts::default();
        counts.h.record(us, 1);
        let first = cumulative(&counts).into_iter().find(|(_bound, count)| *count == 1);
        assert_eq!(first.map(|(bound, _count)| bound), Some(bound), "{us}");
    }
}

#[test]
fn all_that_is_kept_is_shown() {
    let names = ["a", "m", "overflow"];
    let totals = Totals {
        hops: names.iter().map(|name| (hop(name, "service"), counts(2, 1))).collect(),
        ..Totals::default()
    };
    let text = text(&view(totals, BTreeMap::new()));
    for name in names {
        let line =
            format!("ethogram_sends_total{{service=\"{name}\",route=\"/r\",layer=\"service\"}} 2");
        assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
    }
}
