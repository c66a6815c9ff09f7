//! What only the program itself takes: statements, and headers that say who somebody is.

use super::words_of;
use crate::harness::mutate::Target;
use crate::harness::otlp::beacon_request;
use crate::harness::{Ethogram, Request};

const SQL_WORDS: &[&[u8]] = &[
    b"SELECT ",
    b" FROM spans",
    b" FROM requests",
    b" WHERE ",
    b" GROUP BY ",
    b" ORDER BY ",
    b" LIMIT ",
    b"count(*)",
    b"hdr(total_us)",
    b"hdr_quantile(",
    b"attributes['a']",
    b" JOIN sessions USING (session_id)",
    b" UNION ALL ",
    b"WITH a AS (",
    b"NULL",
    b"CASE WHEN ",
    b" OVER (PARTITION BY ",
    b"'",
    b"\"",
    b"(",
    b")",
    b"--",
    b"/*",
    b";",
    b"1e309",
    b"-9223372036854775808",
    b"INTERVAL '1' DAY",
    b"CAST(",
    b" AS INT)",
    b"generate_series(",
    b"regexp_match(",
    b"now()",
    b"COPY ",
    b"EXPLAIN ",
    b"\\",
    b"\xc3\xa9",
];

/// Against the program itself: whatever is asked, it says what is wrong, and goes on.
#[test]
fn statements() {
    let ethogram = Ethogram::start(&["--query-sql-wall-seconds=5"]);
    let query = ethogram.role("query");
    let seeds = [
        "SELECT count(*) AS n, hdr_quantile(hdr(total_us), 0.99) FROM requests WHERE outcome = 'ok' GROUP BY region ORDER BY 1 LIMIT 5",
        "WITH a AS (SELECT trace_id, sum(duration_us) AS us FROM spans GROUP BY 1) SELECT * FROM a JOIN spans USING (trace_id)",
        "SELECT CASE WHEN attributes['a'] IS NULL THEN 1 ELSE 2 END, row_number() OVER (PARTITION BY service) FROM spans",
        "EXPLAIN SELECT regexp_replace(service, '(a+)+', 'b') FROM events WHERE time > now() - INTERVAL '1' DAY",
    ];
    let seeds = seeds.map(|text| text.as_bytes().to_vec()).to_vec();
    Target { name: "sql", seeds, words: SQL_WORDS, inputs: 150 }.fuzz(|input| {
        let body = serde_json::json!({ "sql": String::from_utf8_lossy(input) }).to_string();
        let request =
            Request::post("/api/v1/sql").header("Content-Type", "application/json").body(body);
        let answer = request.send(&ethogram.at.query);
        assert!(answer.status < 500 || answer.status == 503, "{}", answer.text());
        let text = answer.text();
        format!(
            "{} {}",
            answer.status,
            words_of(&text.replace(['"', '{'], " ")).chars().take(60).collect::<String>()
        )
    });
    assert_eq!(ethogram.role("query"), query, "the query role has died");
    ethogram.sql("SELECT 1 AS one");
}

/// Headers that decide who somebody is and where they are.
#[test]
fn headers() {
    let ethogram = Ethogram::start(&[]);
    let collector = ethogram.role("collector");
    let seeds = [
        "203.0.113.77, 10.0.0.1",
        "for=\"[2001:db8::7]:4711\";proto=https;by=203.0.113.43",
        "Bearer abc",
        "gzip, zstd;q=0.5, identity",
        "application/json; charset=\"utf-8\"",
        "https://shop.example",
    ];
    let seeds = seeds.map(|text| text.as_bytes().to_vec()).to_vec();
    let words: &[&[u8]] =
        &[b",", b";", b"=", b"\"", b"[", b"]", b":", b"::", b"255", b"%", b"*", b"/"];
    let names = [
        "X-Forwarded-For",
        "Forwarded",
        "Authorization",
        "Content-Encoding",
        "Content-Type",
        "Origin",
        "traceparent",
        "baggage",
    ];
    let body = beacon_request("s1", 1, 2).to_string();
    Target { name: "headers", seeds, words, inputs: 150 }.fuzz(|input| {
        let value: String =
            String::from_utf8_lossy(input).chars().filter(|letter| !letter.is_control()).collect();
        let statuses = names.map(|name| {
            let request = Request::post("/v1/ethogram?key=local").header(name, &value);
            request.body(body.clone()).send(&ethogram.at.beacon).status
        });
        assert!(statuses.iter().all(|status| *status < 500), "{value}: {statuses:?}");
        format!("{statuses:?}")
    });
    assert_eq!(ethogram.role("collector"), collector, "the collector has died");
}
