//! That nothing panics, nothing is lost uncounted, and rows are a function of the bytes.

use proptest::prelude::*;

use super::*;

/// Takes the whole way of a body; what comes out must be whole and bounded.
fn walk(body: &[u8], source: Source) {
    let mut envelope = Envelope::new(source, RECEIVED);
    let mut sent = 0;
    if let Ok(mut request) = json::traces(body) {
        let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        sent += scopes.map(|scope| scope.spans.len()).sum::<usize>();
        scrub::traces(&mut request, scrub::Trust::Service, &mut |_: &str| None);
        envelope.traces = request.encode_to_vec();
    }
    if let Ok(mut request) = json::logs(body) {
        let scopes = request.resource_logs.iter().flat_map(|resource| &resource.scope_logs);
        sent += scopes.map(|scope| scope.log_records.len()).sum::<usize>();
        scrub::logs(&mut request, scrub::Trust::Browser, &mut |_: &str| None);
        envelope.logs = request.encode_to_vec();
    }
    let is_metrics = json::metrics(body).is_ok_and(|mut request| {
        scrub::metrics(&mut request, scrub::Trust::Service);
        envelope.metrics = request.encode_to_vec();
        !request.resource_metrics.is_empty()
    });
    let rows = rows(&envelope).expect("what was read from JSON is protobuf again");
    let dropped: u64 = rows.dropped.iter().map(|(_, count)| count).sum();
    if !is_metrics {
        assert_eq!(sent as u64, (rows.spans.len() + rows.events.len()) as u64 + dropped);
    }
}

const EXAMPLES: [&str; 4] = [
    include_str!("../../../../tests/data/otlp-examples/trace.json"),
    include_str!("../../../../tests/data/otlp-examples/logs.json"),
    include_str!("../../../../tests/data/otlp-examples/metrics.json"),
    include_str!("../../../../tests/data/otlp-examples/events.json"),
];

/// A JSON value of some odd kind.
fn odd() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::json;
    prop_oneof![
        Just(json!(null)),
        Just(json!(true)),
        Just(json!({})),
        Just(json!([])),
        Just(json!([null, {}, []])),
        any::<i64>().prop_map(|number| json!(number)),
        any::<u64>().prop_map(|number| json!(number.to_string())),
        any::<f64>().prop_map(|number| json!(number)),
        any::<String>().prop_map(|text| json!(text)),
        "[0-9a-f]{0,40}".prop_map(|text| json!(text)),
        "(https?://|/)[ -~]{0,40}".prop_map(|text| json!(text)),
    ]
}

/// Replaces the `at`-th value of the document, counted depth first.
fn replace(value: &mut serde_json::Value, at: &mut usize, new: &serde_json::Value) {
    if *at == 0 {
        *value = new.clone();
        *at = usize::MAX;
        return;
    }
    *at -= 1;
    match value {
        serde_json::Value::Array(values) => {
            values.iter_mut().for_each(|value| replace(value, at, new));
        }
        serde_json::Value::Object(fields) => {
            fields.values_mut().for_each(|value| replace(value, at, new));
        }
        _ => {}
    }
}

proptest! {
    #[test]
    fn odd_values_anywhere_never_panic(
        example in proptest::sample::select(EXAMPLES.to_vec()),
        places in proptest::collection::vec((0_usize..120, odd()), 1..4),
        is_beacon in any::<bool>(),
    ) {
        let mut document: serde_json::Value = serde_json::from_str(example).expect("an example");
        for (mut place, new) in places {
            replace(&mut document, &mut place, &new);
        }
        let source = if is_beacon { Source::Beacon } else { Source::Otlp };
        walk(document.to_string().as_bytes(), source);
    }

    #[test]
    fn odd_attributes_never_panic(
        name in proptest::sample::select(names::wire_names().collect::<Vec<_>>()),
        form in proptest::sample::select(vec!["stringValue", "intValue", "doubleValue", "bytesValue"]),
        value in odd(),
        kind in 0..7,
    ) {
        let body = format!(
            r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"{name}","value":{{"{form}":{value}}}}}]}},
                "scopeSpans":[{{"spans":[{{"traceId":"{TRACE}","spanId":"eee19b7ec3c1b174","kind":{kind},
                "attributes":[{{"key":"{name}","value":{{"{form}":{value}}}}}]}}]}}]}}]}}"#
        );
        walk(body.as_bytes(), Source::Beacon);
        walk(body.as_bytes(), Source::Otlp);
    }

    #[test]
    fn random_bytes_never_panic(
        traces in proptest::collection::vec(any::<u8>(), 0..100),
        logs in proptest::collection::vec(any::<u8>(), 0..100),
        metrics in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        for (traces, logs, metrics) in [(traces, vec![], vec![]), (vec![], logs, vec![]), (vec![], vec![], metrics)] {
            let envelope = Envelope { traces, logs, metrics, ..Envelope::new(Source::Otlp, i64::MAX) };
            let decoded = rows(&envelope);
            prop_assert!(decoded.is_ok() || decoded.is_err());
        }
    }

    #[test]
    fn damaged_protobuf_never_panics(
        example in 0_usize..4,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        received in any::<i64>(),
    ) {
        let body = EXAMPLES[example].as_bytes();
        let mut bytes = match example {
            0 => json::traces(body).expect("an example").encode_to_vec(),
            2 => json::metrics(body).expect("an example").encode_to_vec(),
            _ => json::logs(body).expect("an example").encode_to_vec(),
        };
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        let mut envelope = Envelope::new(Source::Otlp, received);
        match example {
            0 => envelope.traces = bytes,
            2 => envelope.metrics = bytes,
            _ => envelope.logs = bytes,
        }
        let again = (rows(&envelope), rows(&envelope));
        if let (Ok(first), Ok(second)) = again {
            // A NaN is not equal to itself, so their texts are compared.
            prop_assert_eq!(format!("{first:?}"), format!("{second:?}"));
        }
    }
}
