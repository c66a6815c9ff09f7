//! Pages of the listed origin may send; pages of any other, however much alike, may not.

use crate::harness::otlp::beacon_request;
use crate::harness::{Answer, Ethogram, Request};

const OURS: &str = "https://shop.example";

/// Origins as another site, a browser in a special mode or a script may state them.
const HOSTILE: [&str; 24] = [
    "null",
    "",
    "*",
    "https://evil.test",
    "http://shop.example",
    "https://shop.example:8443",
    "https://shop.example:443",
    "https://shop.example/",
    "https://shop.example/path",
    "https://shop.example.",
    "https://shop.example.evil.test",
    "https://evilshop.example",
    "https://evil.test/shop.example",
    "https://evil.test?https://shop.example",
    "https://evil.test#https://shop.example",
    "https://shop.example@evil.test",
    "https://user:password@shop.example",
    "https://www.shop.example",
    "https://SHOP.example",
    "HTTPS://shop.example",
    "https://shop.example, https://evil.test",
    "https://shop.example https://evil.test",
    "https://sh\u{043e}p.example",
    "file://",
];

/// What tells a browser that a page may read, or send with credentials.
fn is_silent(answer: &Answer) -> bool {
    !answer.headers.iter().any(|(name, _)| name.to_lowercase().starts_with("access-control-"))
}

#[test]
fn the_listed_origin_and_no_other() {
    let flag = format!("--collector-beacon-origins={OURS}");
    let ethogram = Ethogram::start(&[&flag]);
    let ask = |method: &str, origins: &[&str]| {
        let mut request = Request::new(method, "/v1/ethogram?key=local");
        request = request.header("Content-Type", "text/plain");
        for origin in origins {
            request = request.header("Origin", origin);
        }
        request.body(beacon_request("s1", 5, 0).to_string()).send(&ethogram.at.beacon)
    };
    for method in ["POST", "OPTIONS"] {
        for origin in HOSTILE {
            let answer = ask(method, &[origin]);
            assert_eq!(answer.status, 403, "{method} {origin:?}: {}", answer.text());
            assert!(is_silent(&answer), "{method} {origin:?}: {answer:?}");
            let is_said = !origin.is_empty() && answer.text().contains(&format!("{origin}\n"));
            assert!(!is_said, "{method} {origin:?} is reflected: {}", answer.text());
        }
        // Two of them: whoever reads the other one would decide otherwise.
        for origins in [[OURS, "https://evil.test"], ["https://evil.test", OURS], [OURS, OURS]] {
            assert_eq!(ask(method, &origins).status, 403, "{method} {origins:?}");
        }
        let answer = ask(method, &[OURS]);
        assert_eq!(answer.status, 204, "{method}: {}", answer.text());
        assert_eq!(answer.header("access-control-allow-origin"), Some(OURS));
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        assert_eq!(answer.header("vary"), Some("Origin"));
    }
    assert_eq!(ask("POST", &[]).status, 403, "a browser states the origin of every POST");
    assert_eq!(ask("OPTIONS", &[]).status, 403);
}

/// OTLP takes what services send, whatever origin they state; what it decides is who may read.
#[test]
fn pages_may_use_otlp_where_they_are_listed() {
    let ethogram = Ethogram::start(&["--collector-otlp-cors-origins=https://*.shop.example"]);
    let ask = |origin: &str| {
        let request = Request::post("/v1/traces").header("Content-Type", "application/json");
        request.header("Origin", origin).body("{}").send(&ethogram.at.otlp_http)
    };
    for origin in HOSTILE.into_iter().filter(|origin| *origin != "https://www.shop.example") {
        let answer = ask(origin);
        assert!(is_silent(&answer), "{origin:?}: {answer:?}");
    }
    let answer = ask("https://www.shop.example");
    let allowed = answer.header("access-control-allow-origin");
    assert_eq!(allowed, Some("https://www.shop.example"));
    assert_eq!(answer.header("access-control-allow-credentials"), None);
}
