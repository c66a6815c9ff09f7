//! Any order of arrival, any batching and any number of deliveries end in the same rows.

use proptest::prelude::*;

use super::world::{Arrival, Spec, beacon_attempt, event, join, span};
use crate::schema::Label;

const SERVICES: [&str; 4] = ["web", "a", "b", "c"];

/// A random small world: parents may be missing, point forward, or form cycles.
pub(super) fn arrivals() -> impl Strategy<Value = Vec<Arrival>> {
    let span = (
        1_u8..3,
        1_u64..12,
        0_u64..12,
        0_usize..4,
        0_usize..3,
        0_i64..400,
        1_i64..300,
        prop::sample::select(vec![0, 200, 401, 503]),
    )
        .prop_map(|(trace, id, parent, service, kind, start_ms, ms, status)| {
            let kind = ["client", "server", "internal"][kind];
            let service =
                if kind == "client" { SERVICES[service] } else { SERVICES[service.max(1)] };
            let spec = Spec {
                trace,
                id,
                parent,
                kind,
                service,
                target: "http://t/x",
                start_ms,
                ms,
                status,
            };
            let span = span(spec);
            Arrival::Span(Box::new(if service == "web" {
                beacon_attempt(span, (id % 3) as i32 + 1)
            } else {
                span
            }))
        });
    let event = (0_usize..4, 0_i64..6, 1_u8..3, 1_u64..12, 0_i64..400).prop_map(
        |(name, sequence, trace, id, at)| {
            let names = [
                "behavior.abandon",
                "behavior.abandon_withdrawn",
                "behavior.pending",
                "behavior.click_burst",
            ];
            // A page uses a sequence number once: its event is a function of the number.
            let name = names[(name + sequence as usize) % 4];
            let mut event =
                event(name, &format!("p{sequence}{trace}{id}{at}"), sequence, trace, id, at);
            event.hints.waited_us = Some(at * 1_000);
            event.hints.previous_attempts = Some(0);
            event.hints.abandon_trigger = Some(Label::new("leave"));
            Arrival::Event(Box::new(event))
        },
    );
    prop::collection::vec(prop_oneof![4 => span, 1 => event], 1..24).prop_map(without_conflicts)
}

/// Two different spans under one id are a sender's error; the first delivery wins, so a world
/// without them is what the property speaks of.
fn without_conflicts(arrivals: Vec<Arrival>) -> Vec<Arrival> {
    let mut seen = std::collections::BTreeSet::new();
    arrivals
        .into_iter()
        .filter(|arrival| match arrival {
            Arrival::Span(span) => {
                seen.insert((span.row.trace_id, span.row.span_id, span.row.kind.clone()))
            }
            Arrival::Event(_) => true,
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn order_batching_and_repetition_do_not_matter(
        arrivals in arrivals(),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
        batch in 1_usize..9,
    ) {
        let expected = join(&arrivals, usize::MAX);
        let mut shuffled = arrivals.clone();
        for (at, index) in order.iter().enumerate() {
            let (a, b) = (at % arrivals.len(), index.index(arrivals.len()));
            shuffled.swap(a, b);
        }
        let twice: Vec<Arrival> = shuffled.iter().chain(&arrivals).cloned().collect();
        prop_assert!(join(&shuffled, batch) == expected, "the order of arrival mattered");
        prop_assert!(join(&twice, batch) == expected, "a second delivery mattered");
    }
}
