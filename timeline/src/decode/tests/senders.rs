//! What other browser SDKs and their servers send, in the shape that they send it.

use super::*;

/// What matters of a span, as text: layer, session, method, status, error, route, callee, target.
fn essence(Span { row, hints }: &Span) -> String {
    let or_none = |text: Option<&str>| String::from(text.unwrap_or("-"));
    let parts = [
        row.layer.to_string(),
        or_none(row.session_id.as_ref().map(|id| id.as_str())),
        row.method.to_string(),
        row.status_code.map_or(String::from("-"), |code| code.to_string()),
        or_none(row.error_type.as_ref().map(|label| label.as_str())),
        row.route.to_string(),
        or_none(hints.callee.as_ref().map(|label| label.as_str())),
        or_none(hints.target.as_deref()),
    ];
    parts.join(" ")
}

fn decoded(body: &str) -> Rows {
    let body = body.replace("TRACE", TRACE);
    let mut envelope = Envelope::new(Source::Otlp, RECEIVED);
    let is_traces = body.contains("resourceSpans");
    if is_traces {
        envelope.traces = json::traces(body.as_bytes()).expect("legal JSON").encode_to_vec();
    } else {
        envelope.logs = json::logs(body.as_bytes()).expect("legal JSON").encode_to_vec();
    }
    rows(&envelope).expect("it decodes")
}

/// OpenTelemetry's fetch instrumentation: no session, a status of 0 and an unset span status both
/// for an abort and for a dead connection.
const OTEL_WEB_OLD: &str = r#"{"resourceSpans":[{"resource":{"attributes":[
    {"key":"service.name","value":{"stringValue":"storefront"}},
    {"key":"telemetry.sdk.language","value":{"stringValue":"webjs"}},
    {"key":"telemetry.sdk.name","value":{"stringValue":"opentelemetry"}}],"droppedAttributesCount":0},
  "scopeSpans":[{"scope":{"name":"@opentelemetry/instrumentation-fetch","version":"0.52.0"},"spans":[
   {"traceId":"TRACE","spanId":"eee19b7ec3c1b174","name":"HTTP POST","kind":3,
    "startTimeUnixNano":"1699999990000000000","endTimeUnixNano":"1699999990250000000",
    "attributes":[{"key":"component","value":{"stringValue":"fetch"}},
     {"key":"http.method","value":{"stringValue":"POST"}},
     {"key":"http.url","value":{"stringValue":"https://shop.example/api/orders/42?token=x"}},
     {"key":"http.status_code","value":{"intValue":0}},
     {"key":"http.status_text","value":{"stringValue":"Failed to fetch"}},
     {"key":"http.host","value":{"stringValue":"shop.example"}},
     {"key":"http.scheme","value":{"stringValue":"https"}},
     {"key":"http.user_agent","value":{"stringValue":"Mozilla/5.0"}}],
    "droppedAttributesCount":0,"events":[],"droppedEventsCount":0,"status":{"code":0},"links":[],"droppedLinksCount":0}]}]}]}"#;

/// The same of today, in the stable names.
const OTEL_WEB_NEW: &str = r#"{"resourceSpans":[{"resource":{"attributes":[
    {"key":"service.name","value":{"stringValue":"storefront"}},
    {"key":"telemetry.sdk.language","value":{"stringValue":"webjs"}}]},
  "scopeSpans":[{"scope":{"name":"@opentelemetry/instrumentation-fetch","version":"0.223.0"},"spans":[
   {"traceId":"TRACE","spanId":"eee19b7ec3c1b174","name":"GET","kind":3,
    "startTimeUnixNano":"1699999990000000000","endTimeUnixNano":"1699999990250000000",
    "attributes":[{"key":"http.request.method","value":{"stringValue":"GET"}},
     {"key":"url.full","value":{"stringValue":"https://shop.example:8443/api/catalog?page=1"}},
     {"key":"server.address","value":{"stringValue":"shop.example"}},
     {"key":"server.port","value":{"intValue":8443}},
     {"key":"http.response.status_code","value":{"intValue":0}},
     {"key":"error.type","value":{"stringValue":"AbortError"}}],"status":{"code":2}}]}]}]}"#;

/// HyperDX: the session on the resource, old names, a status that says nothing.
const HYPERDX: &str = r#"{"resourceSpans":[{"resource":{"attributes":[
    {"key":"service.name","value":{"stringValue":"storefront"}},
    {"key":"rum.sessionId","value":{"stringValue":"a7d62c1f0b7e4a4f9d0e6f0a4f1d2c3b"}},
    {"key":"telemetry.sdk.name","value":{"stringValue":"@hyperdx/otel-web"}}]},
  "scopeSpans":[{"scope":{"name":"fetch"},"spans":[
   {"traceId":"TRACE","spanId":"eee19b7ec3c1b174","name":"HTTP GET","kind":3,
    "startTimeUnixNano":"1699999990000000000","endTimeUnixNano":"1699999990250000000",
    "attributes":[{"key":"component","value":{"stringValue":"fetch"}},
     {"key":"location.href","value":{"stringValue":"https://shop.example/"}},
     {"key":"http.method","value":{"stringValue":"GET"}},
     {"key":"http.url","value":{"stringValue":"https://shop.example/api/catalog"}},
     {"key":"http.status_code","value":{"intValue":503}}],"status":{"code":0}}]}]}]}"#;

/// Grafana Faro's OTLP transport: numbers where strings are expected, the session on the span.
const FARO_SPANS: &str = r#"{"resourceSpans":[{"resource":{"attributes":[
    {"key":"service.name","value":{"stringValue":"storefront"}},
    {"key":"browser.name","value":{"stringValue":"Chrome"}},
    {"key":"telemetry.distro.name","value":{"stringValue":"faro-web-sdk"}}]},
  "scopeSpans":[{"scope":{"name":"@opentelemetry/instrumentation-fetch"},"spans":[
   {"traceId":"TRACE","spanId":"eee19b7ec3c1b174","name":"HTTP GET","kind":3,
    "startTimeUnixNano":1699999990000000000,"endTimeUnixNano":1699999990250000000,
    "attributes":[{"key":"session.id","value":{"stringValue":"Xk3bq1"}},
     {"key":"session_id","value":{"stringValue":"old"}},
     {"key":"http.method","value":{"stringValue":"GET"}},
     {"key":"http.url","value":{"stringValue":"https://shop.example/api/catalog"}},
     {"key":"http.status_code","value":{"intValue":200}}],"status":{"code":0}}]}]}]}"#;

const FARO_LOGS: &str = r#"{"resourceLogs":[{"resource":{"attributes":[
    {"key":"service.name","value":{"stringValue":"storefront"}},
    {"key":"browser.name","value":{"stringValue":"Chrome"}}]},
  "scopeLogs":[{"scope":{"name":"@grafana/faro-web-sdk"},"logRecords":[
   {"timeUnixNano":1699999990000000000,"severityNumber":9,"eventName":"faro.session.resume",
    "attributes":[{"key":"session.id","value":{"stringValue":"Xk3bq1"}},
     {"key":"view.name","value":{"stringValue":"default"}}],
    "traceId":"TRACE","spanId":"eee19b7ec3c1b174"}]}]}]}"#;

/// A server that Datadog's browser SDK called: the session in baggage, as a tag or as the header.
const DATADOG_TAG: &str = r#"{"resourceSpans":[{"resource":{"attributes":[
    {"key":"service.name","value":{"stringValue":"shop"}},
    {"key":"telemetry.sdk.language","value":{"stringValue":"nodejs"}}]},
  "scopeSpans":[{"spans":[{"traceId":"0000000000000000d269b633813fc60c","spanId":"eee19b7ec3c1b174",
    "name":"GET","kind":2,"startTimeUnixNano":"1","endTimeUnixNano":"2",
    "attributes":[{"key":"baggage.session.id","value":{"stringValue":"0c7e-4a"}},
     {"key":"http.method","value":{"stringValue":"GET"}},
     {"key":"http.target","value":{"stringValue":"/api/catalog?page=1"}},
     {"key":"http.status_code","value":{"intValue":"200"}}]}]}]}]}"#;

#[test]
fn each_sender_in_its_own_shape() {
    let header = DATADOG_TAG
        .replace("baggage.session.id", "http.request.header.baggage")
        .replace(
            r#"{"stringValue":"0c7e-4a"}"#,
            r#"{"arrayValue":{"values":[{"stringValue":"account.id=1, session.id=0c%377e-4a;ttl=1,user.id=2"}]}}"#,
        );
    for (body, expected) in [
        (
            OTEL_WEB_OLD,
            "browser - POST - network /api/orders/{id} shop.example https://shop.example/api/orders/42",
        ),
        (
            OTEL_WEB_NEW,
            "browser - GET - abort /api/catalog shop.example:8443 https://shop.example:8443/api/catalog",
        ),
        (
            HYPERDX,
            "browser a7d62c1f0b7e4a4f9d0e6f0a4f1d2c3b GET 503 - /api/catalog shop.example \
             https://shop.example/api/catalog",
        ),
        (
            FARO_SPANS,
            "browser Xk3bq1 GET 200 - /api/catalog shop.example https://shop.example/api/catalog",
        ),
        (DATADOG_TAG, "service 0c7e-4a GET 200 - /api/catalog - /api/catalog"),
        (&header, "service 0c77e-4a GET 200 - /api/catalog - /api/catalog"),
    ] {
        let rows = decoded(body);
        assert_eq!((rows.spans.len(), rows.dropped.len()), (1, 0), "{body}");
        assert_eq!(essence(&rows.spans[0]), expected);
    }
    let faro = decoded(FARO_SPANS).spans.remove(0).row;
    assert_eq!((faro.time_client, faro.duration_us), (Time(RECEIVED - 10_000_000_000), 250_000));
    let events = decoded(FARO_LOGS).events;
    let row = &events[0].row;
    assert_eq!(row.time_client, Time(RECEIVED - 10_000_000_000));
    assert_eq!((row.layer.as_str(), row.event_name.as_str()), ("browser", "faro.session.resume"));
    assert_eq!(row.session_id.as_ref().map(|id| id.as_str()), Some("Xk3bq1"));
}

#[test]
fn the_nearest_word_for_the_session_wins() {
    let own = ("session.id", "own");
    let baggage = ("http.request.header.baggage", "session.id=baggage");
    let tag = ("baggage.session.id", "tag");
    let rum = ("rum.sessionId", "rum");
    for (resource, attributes, expected) in [
        (&[rum][..], &[own, tag, baggage][..], Some("own")),
        (&[rum], &[tag, baggage], Some("rum")),
        (&[("session.id", "resource")], &[tag], Some("resource")),
        (&[], &[tag, baggage], Some("tag")),
        (&[], &[baggage], Some("baggage")),
        (&[], &[rum], Some("rum")),
        (&[], &[("http.request.header.baggage", "a=b,session.id")], None),
        (&[], &[("http.request.header.baggage", "session.id=%ff%zz")], Some("\u{fffd}%zz")),
        (&[], &[("http.request.header.baggage", "session.id=a=b")], Some("a=b")),
    ] {
        let row = span(Source::Otlp, 2, resource, attributes).row;
        assert_eq!(row.session_id.as_ref().map(|id| id.as_str()), expected, "{attributes:?}");
    }
}

#[test]
fn a_server_says_when_its_client_hung_up() {
    let agent = ("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64)");
    // As the scrubber leaves it.
    let reduced = ("user_agent.original", "Chrome/140");
    for (kind, attributes, hung_up, browser_made) in [
        (2, &[("http.response.status_code", "499"), agent][..], true, true),
        (2, &[("http.status_code", "499"), ("http.user_agent", "curl/8")], true, false),
        (2, &[("http.response.status_code", "499"), reduced], true, true),
        (2, &[("error.type", "ECONNRESET")], true, false),
        (2, &[("error.type", "java.io.ClientAbortException")], true, false),
        (2, &[("error.type", "asyncio.exceptions.CancelledError")], true, false),
        (2, &[("error.type", "context canceled")], true, false),
        (2, &[("error.type", "ECONNRESET"), ("http.status_code", "200")], true, false),
        (2, &[("error.type", "ECONNRESET"), ("http.status_code", "502")], false, false),
        (2, &[("error.type", "TimeoutError")], false, false),
        (2, &[("http.status_code", "404"), agent], false, true),
        (3, &[("error.type", "ECONNRESET"), agent], false, false),
    ] {
        let hints = span(Source::Otlp, kind, &[], attributes).hints;
        assert_eq!((hints.hung_up, hints.browser_made), (hung_up, browser_made), "{attributes:?}");
    }
}

#[test]
fn a_summary_of_pages_that_were_not_sampled() {
    let record = r#"{"eventName":"behavior.summary","timeUnixNano":"1699999998000000000","attributes":[
        {"key":"behavior.requests","value":{"intValue":"7"}},
        {"key":"behavior.attempts","value":{"intValue":"9"}},
        {"key":"behavior.latency_buckets","value":{"arrayValue":{"values":[
            {"intValue":"130"},{"intValue":"4"},{"intValue":"900"},{"intValue":"3"}]}}}]}"#;
    let row = event(Source::Beacon, record).row;
    assert_eq!(
        (row.event_name.as_str(), row.trace_id, row.page_id),
        ("behavior.summary", None, None)
    );
    assert_eq!(row.attributes.get("behavior.requests"), Some("7"));
    assert_eq!(row.attributes.get("behavior.latency_buckets"), Some("[130,4,900,3]"));
    assert_eq!(row.value, Some(7.0), "its requests");
}

#[test]
fn a_remote_procedure_call_fails_by_its_status() {
    for (kind, attributes, expected) in [
        (3, ("rpc.grpc.status_code", "14"), Some("unavailable")),
        (3, ("rpc.response.status_code", "DEADLINE_EXCEEDED"), Some("deadline_exceeded")),
        (3, ("rpc.status_code", "NOT_FOUND"), Some("not_found")),
        (3, ("rpc.grpc.status_code", "0"), None),
        // Whoever cancelled has not waited in vain, and a server that was asked for nonsense works.
        (3, ("rpc.grpc.status_code", "1"), None),
        (3, ("rpc.connect_rpc.error_code", "canceled"), None),
        (2, ("rpc.grpc.status_code", "5"), None),
        (2, ("rpc.grpc.status_code", "13"), Some("internal")),
        (3, ("rpc.grpc.status_code", "99"), Some("99")),
    ] {
        let row = span(Source::Otlp, kind, &[], &[attributes]).row;
        let said = row.error_type.as_ref().map(|label| label.as_str());
        assert_eq!(said, expected, "{attributes:?}");
    }
}
