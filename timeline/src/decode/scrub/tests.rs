//! What remains of each attribute, for whom, at which depth.

use opentelemetry_proto::tonic::trace::v1::span::SpanKind as Kind;

use super::super::json;
use super::super::sender::attributes;
use super::*;

/// Knows one network.
fn geo(address: &str) -> Option<Place> {
    address.starts_with("203.0.113.").then(|| Place {
        country: String::from("GB"),
        subdivision: String::from("GB-ENG"),
        region: String::from("emea"),
    })
}

fn list(pairs: &[(&str, &str)]) -> String {
    let pair = |(key, value): &(&str, &str)| {
        format!(r#"{{"key":{key:?},"value":{{"stringValue":{value:?}}}}}"#)
    };
    pairs.iter().map(pair).collect::<Vec<_>>().join(",")
}

/// Scrubs a span with these attributes; what is left, in order.
fn scrubbed(pairs: &[(&str, &str)], kind: Kind, trust: Trust) -> Vec<(String, String)> {
    let body = format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"kind":{},"attributes":[{}]}}]}}]}}]}}"#,
        kind as i32,
        list(pairs)
    );
    let mut request = json::traces(body.as_bytes()).expect("legal JSON");
    traces(&mut request, trust, &mut geo);
    let once = request.clone();
    traces(&mut request, trust, &mut |_: &str| None);
    assert_eq!(request, once, "scrubbing twice is scrubbing once");
    let left = attributes(&request.resource_spans[0].scope_spans[0].spans[0].attributes);
    left.0.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

fn check(kind: Kind, trust: Trust, sent: &[(&str, &str)], left: &[(&str, &str)]) {
    let left: Vec<_> =
        left.iter().map(|(key, value)| (String::from(*key), String::from(*value))).collect();
    assert_eq!(scrubbed(sent, kind, trust), left, "{sent:?}");
}

#[test]
fn services_keep_what_is_not_personal() {
    check(
        Kind::Server,
        Trust::Service,
        &[
            ("http.request.method", "GET"),
            ("http.request.header.authorization", "Bearer x"),
            ("http.request.header.Cookie", "a=b"),
            ("http.response.header.set_cookie", "a=b"),
            ("rpc.grpc.request.metadata.authorization", "x"),
            ("http.request.header.x-forwarded-for", "203.0.113.77"),
            ("http.request.header.idempotency-key", "k"),
            ("http.request.header.baggage", "user=ann, session.id=s1;p=1,plan=gold"),
            ("http.request.header.referer", "https://a.example/b?c"),
            ("url.full", "https://u:p@a.example/b?c#d"),
            ("url.query", "c"),
            ("http.url", "https://a.example/b?c"),
            ("http.target", "/b?c"),
            ("user.email", "jane@a.example"),
            ("user.id", "7"),
            ("network.peer.address", "198.51.100.7"),
        ],
        &[
            ("http.request.method", "GET"),
            ("http.request.header.idempotency-key", "k"),
            ("http.request.header.baggage", "session.id=s1;p=1"),
            ("http.request.header.referer", "https://a.example/b"),
            ("url.full", "https://a.example/b"),
            ("http.url", "https://a.example/b"),
            ("http.target", "/b"),
            ("user.id", "7"),
            ("network.peer.address", "198.51.100.0"),
        ],
    );
    let peer = [("network.peer.address", "198.51.100.7")];
    check(Kind::Client, Trust::Service, &peer, &peer);
}

#[test]
fn the_place_is_found_before_the_address_is_cut() {
    let place = [
        ("geo.country.iso_code", "GB"),
        ("geo.region.iso_code", "GB-ENG"),
        ("behavior.region", "emea"),
    ];
    for key in ["client.address", "http.client_ip"] {
        let mut expected = vec![(key, "203.0.113.0")];
        expected.extend(place);
        let sent = [("geo.country.iso_code", "FR"), (key, "203.0.113.77:1234")];
        check(Kind::Server, Trust::Service, &sent, &expected);
    }
    let elsewhere = [("geo.country.iso_code", "FR"), ("client.address", "2001:db8:1:2::3")];
    let expected = [("geo.country.iso_code", "FR"), ("client.address", "2001:db8:1::")];
    check(Kind::Server, Trust::Service, &elsewhere, &expected);
    check(Kind::Server, Trust::Service, &[("client.address", "janes-laptop")], &[]);
}

#[test]
fn browsers_may_not_say_who_or_where_they_are() {
    let tag = free::tag("c");
    check(
        Kind::Client,
        Trust::Browser,
        &[
            ("geo.country.iso_code", "FR"),
            ("behavior.region", "emea"),
            ("client.address", "203.0.113.77"),
            ("http.client_ip", "203.0.113.77"),
            ("cloud.region", "eu-west-1"),
            ("service.name", "bank"),
            ("service.version", "1.2"),
            ("service.peer.name", "api"),
            ("session.id", "s"),
            ("url.full", "https://a.example/jane@b.example?c"),
        ],
        &[
            ("service.version", "1.2"),
            ("service.peer.name", "api"),
            ("session.id", "s"),
            ("url.full", "https://a.example/{email}"),
            ("behavior.query_tag", tag.as_str()),
        ],
    );
}

#[test]
fn of_the_query_of_a_call_a_checksum_stays() {
    let tag = |url: &str| {
        let left = scrubbed(&[("http.url", url)], Kind::Client, Trust::Service);
        assert!(left.iter().all(|(_, value)| !value.contains("jane")), "{left:?}");
        left.into_iter().find(|(key, _)| key == "behavior.query_tag").map(|(_, value)| value)
    };
    let [jane, john] = ["jane", "john"].map(|name| tag(&format!("/search?q={name}#top")));
    assert!(jane.is_some() && jane != john, "two words are two searches");
    assert_eq!(jane.as_ref().map(String::len), Some("{id3fa}".len()));
    assert_eq!(tag("/search?q=jane"), jane);
    assert_eq!((tag("/search"), tag("/search?")), (None, None));
    // Whoever serves a call is not asked twice by it.
    let served = [("http.target", "/search?q=jane")];
    check(Kind::Server, Trust::Service, &served, &[("http.target", "/search")]);
}

#[test]
fn resources_bodies_and_lists_are_scrubbed_too() {
    let inner = list(&[("url", "/a?b"), ("password", "x"), ("client.address", "203.0.113.77")]);
    let body = format!(
        r#"{{"resourceLogs":[{{"resource":{{"attributes":[{}]}},"scopeLogs":[{{"logRecords":[{{
            "eventName":"e","body":{{"arrayValue":{{"values":[{{"kvlistValue":{{"values":[{inner}]}}}}]}}}}
        }}]}}]}}]}}"#,
        list(&[("service.name", "shop"), ("user.email", "jane@a.example")])
    );
    let mut request = json::logs(body.as_bytes()).expect("legal JSON");
    logs(&mut request, Trust::Service, &mut geo);
    let resource = request.resource_logs[0].resource.as_ref().expect("it was sent");
    assert_eq!(attributes(&resource.attributes).get("user.email"), None);
    assert_eq!(attributes(&resource.attributes).get("service.name"), Some("shop"));
    let body = request.resource_logs[0].scope_logs[0].log_records[0].body.as_ref();
    let text = body.map(super::super::value::text);
    assert_eq!(text.as_deref(), Some(r#"[{"url":"/a","client.address":"203.0.113.0"}]"#));
}

#[test]
fn metrics_are_scrubbed_with_their_exemplars() {
    let inner = list(&[("client.address", "203.0.113.77"), ("url.query", "a")]);
    let body = format!(
        r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":"m","gauge":{{"dataPoints":[
            {{"asInt":1,"attributes":[{inner}],"exemplars":[{{"filteredAttributes":[{inner}]}}]}}
        ]}}}}]}}]}}]}}"#
    );
    let mut request = json::metrics(body.as_bytes()).expect("legal JSON");
    metrics(&mut request, Trust::Service);
    let metric = &request.resource_metrics[0].scope_metrics[0].metrics[0];
    let Some(Data::Gauge(gauge)) = &metric.data else { panic!("a gauge was sent") };
    let point = &gauge.data_points[0];
    for left in [&point.attributes, &point.exemplars[0].filtered_attributes] {
        let left = attributes(left);
        assert_eq!((left.get("client.address"), left.0.len()), (Some("203.0.113.0"), 1));
    }
}

#[test]
fn what_the_operator_keeps_of_a_query_stays_but_for_what_is_personal() {
    let names = ["page", "sort"].map(String::from);
    let policy = Policy { trust: Trust::Service, query_parameters: &names };
    let check = |sent: &[(&str, &str)], expected: Option<&str>| {
        let attributes = sent.iter().map(|(key, value)| KeyValue {
            key: String::from(*key),
            value: Some(AnyValue { value: Some(Value::StringValue(String::from(*value))) }),
            ..KeyValue::default()
        });
        let mut span = Span { attributes: attributes.collect(), ..Span::default() };
        for time in ["once", "twice"] {
            scrub_span(&mut span, policy, &mut |_| None);
            let known = Known::of(&span.attributes);
            assert_eq!(known.text(Name::UrlQuery).as_deref(), expected, "{sent:?} {time}");
            let url = known.text(Name::UrlFull).unwrap_or_default();
            assert!(!url.contains('?'), "{url}");
        }
    };
    let url = "https://shop.example/list?page=2&q=jane&sort=price#x";
    check(&[("url.full", url)], Some("page=2&sort=price"));
    check(&[("http.target", "/list?q=jane&page=3")], Some("page=3"));
    check(&[("url.path", "/list"), ("url.query", "sort=jane@shop.example")], Some("sort={email}"));
    check(&[("url.full", "https://shop.example/list?q=jane")], None);
    check(&[("url.full", "https://shop.example/list")], None);
}
