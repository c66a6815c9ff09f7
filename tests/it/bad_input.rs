//! What is wrong gets the exact status of the standard, a message that says whose fault it is, and
//! takes no valid neighbour with it.

use serde_json::{Value, json};

use crate::harness::otlp::{attributes, id, now_ns, server_span};
use crate::harness::{Ethogram, Request};

struct Case {
    what: &'static str,
    request: Request,
    status: u16,
    says: &'static str,
}

fn case(what: &'static str, request: Request, status: u16, says: &'static str) -> Case {
    Case { what, request, status, says }
}

fn json_post(path: &str, body: &str) -> Request {
    Request::post(path).header("Content-Type", "application/json").body(body)
}

fn otlp_cases() -> Vec<Case> {
    let protobuf = |body: &[u8]| {
        Request::post("/v1/traces").header("Content-Type", "application/x-protobuf").body(body)
    };
    vec![
        case("not JSON", json_post("/v1/traces", "{not json"), 400, "JSON"),
        case("an enum by name", json_post("/v1/traces", &named_kind()), 200, "malformed_field 1"),
        case("not protobuf", protobuf(&[0xff; 32]), 400, "not valid protobuf"),
        case(
            "a text",
            Request::post("/v1/traces").header("Content-Type", "text/plain").body("{}"),
            415,
            "application/json",
        ),
        case("no content type", Request::post("/v1/traces").body("{}"), 415, "application/json"),
        case("an unknown path", json_post("/v2/traces", "{}"), 404, "POST /v1/traces"),
        case("GET", Request::get("/v1/traces"), 405, "POST"),
        case(
            "an unknown encoding",
            json_post("/v1/traces", "{}").header("Content-Encoding", "br"),
            415,
            "gzip",
        ),
        case(
            "broken gzip",
            json_post("/v1/traces", "{}").header("Content-Encoding", "gzip"),
            400,
            "gzip",
        ),
        case("too much", json_post("/v1/traces", &" ".repeat(3 << 20)), 413, "2097152 bytes"),
        case("nothing at all", json_post("/v1/traces", "{}"), 200, "{}"),
        case(
            "a charset",
            Request::post("/v1/traces")
                .header("Content-Type", "application/json; charset=utf-8")
                .body("{}"),
            200,
            "{}",
        ),
    ]
}

fn named_kind() -> String {
    let mut body = server_span("a", 9);
    body["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["kind"] = json!("SPAN_KIND_SERVER");
    body.to_string()
}

fn check(cases: Vec<Case>, address: &str) {
    for Case { what, request, status, says } in cases {
        let answer = request.send(address);
        let text = answer.text();
        assert!(!says.is_empty(), "{what}: every text contains the empty one");
        assert_eq!(answer.status, status, "{what}: {text}");
        assert!(text.contains(says), "{what}: {text}");
    }
}

#[test]
fn every_door_says_what_is_wrong() {
    let ethogram = Ethogram::start(&["--collector-otlp-body-bytes-max=2097152"]);
    check(otlp_cases(), &ethogram.at.otlp_http);
    let beacon = |path: &str, body: &str| {
        Request::post(path).header("Content-Type", "text/plain").body(body)
    };
    check(
        vec![
            case("no key", beacon("/v1/ethogram", "{}"), 401, "not a write key"),
            case("a wrong key", beacon("/v1/ethogram?key=nobody", "{}"), 401, "not a write key"),
            case("not JSON", beacon("/v1/ethogram?key=local", "{"), 400, "JSON"),
            case(
                "too much",
                beacon("/v1/ethogram?key=local", &" ".repeat(100_000)),
                413,
                "65536 bytes",
            ),
            case("an unknown path", beacon("/v1/nothing", "{}"), 404, "POST /v1/ethogram"),
        ],
        &ethogram.at.beacon,
    );
    // Nothing at all is nothing wrong, and a beacon that is taken is answered without a word.
    let taken = beacon("/v1/ethogram?key=local", "{}").send(&ethogram.at.beacon);
    assert_eq!((taken.status, taken.text().as_str()), (204, ""), "an empty body of a page");
    let ask = |sql: &str| json_post("/api/v1/sql", &json!({ "sql": sql }).to_string());
    check(
        vec![
            case("malformed SQL", ask("SELEKT 1"), 400, "plan"),
            case("an unknown column", ask("SELECT nothing FROM spans"), 400, "nothing"),
            case("an unknown table", ask("SELECT 1 FROM nowhere"), 400, "nowhere"),
            case("two statements", ask("SELECT 1; SELECT 2"), 400, "one statement at a time"),
            case("a change", ask("CREATE TABLE x AS SELECT 1"), 400, "only SELECT"),
            case(
                "an approximation",
                ask("SELECT approx_percentile_cont(total_us, 0.99) FROM requests"),
                400,
                "hdr_quantile",
            ),
            case("not JSON", json_post("/api/v1/sql", "SELECT 1"), 400, "sql"),
            case(
                "an unknown session",
                Request::get("/api/v1/sessions/none/timeline"),
                404,
                "no session none",
            ),
            case("an unknown path", Request::get("/api/v1/nothing"), 404, "nothing at this path"),
        ],
        &ethogram.at.query,
    );
}

/// One request with a good span between bad ones: the good one is kept, the others are counted.
#[test]
fn valid_neighbours_are_kept() {
    let ethogram = Ethogram::start(&[]);
    let mut body = server_span("kept", 77);
    let spans =
        body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array_mut().expect("an array");
    let good = spans[0].clone();
    let bad = |field: &str, value: Value| {
        let mut span = good.clone();
        span[field] = value;
        span
    };
    spans.extend([
        bad("traceId", json!("")),
        bad("traceId", json!("00000000000000000000000000000000")),
        bad("spanId", json!("abcd")),
        // Legal leniency of ProtoJSON: null is absent, numbers may be text and the other way round.
        bad("spanId", json!(id(78, 16))),
    ]);
    spans[4]["name"] = Value::Null;
    spans[4]["startTimeUnixNano"] = json!(now_ns());
    spans[4]["flags"] = json!("1");
    spans[4]["attributes"] = json!([
        { "key": "ratio", "value": { "doubleValue": "NaN" } },
        { "key": "count", "value": { "intValue": 3 } },
    ]);
    let answer = json_post("/v1/traces", &body.to_string()).send(&ethogram.at.otlp_http);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let said: Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(
        said["partialSuccess"]["rejectedSpans"].to_string().trim_matches('"'),
        "3",
        "{said}"
    );
    ethogram.wait_for_value("SELECT count(*) FROM spans WHERE service = 'kept'", 2);
    let rows = ethogram.sql("SELECT attributes['ratio'] AS ratio, attributes['count'] AS number FROM spans WHERE span_id = '000000000000004e'");
    assert_eq!(rows, [json!({ "ratio": "NaN", "number": "3" })]);
    let metrics = ethogram.get(&ethogram.at.admin, "/metrics").text();
    assert!(metrics.contains("rejected"), "{metrics}");
}

/// What a browser may not say is replaced by what the collector knows.
#[test]
fn a_browser_cannot_choose_its_service_or_its_place() {
    let ethogram = Ethogram::start(&[]);
    let mut body = crate::harness::otlp::beacon_request("s1", 5, 0);
    let resource =
        body["resourceSpans"][0]["resource"]["attributes"].as_array_mut().expect("an array");
    resource
        .extend(attributes(&json!({ "service.name": "payments", "geo.country.iso_code": "US" })));
    let request = Request::post("/v1/ethogram?key=local")
        .header("Content-Type", "text/plain")
        .header("X-Forwarded-For", "81.2.69.142")
        .body(body.to_string());
    assert_eq!(request.send(&ethogram.at.beacon).status, 204);
    ethogram.wait_for_value("SELECT count(*) FROM requests", 1);
    let row = &ethogram.sql("SELECT service, country, region, verified FROM requests")[0];
    assert_eq!(
        row,
        &json!({ "service": "web", "country": "GB", "region": "GB", "verified": false })
    );
}
