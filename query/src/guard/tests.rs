//! Hostile and friendly statements. What only the plan can tell is tested in `session/tests.rs`.

use super::*;
use crate::error::Kind;

fn limits() -> SqlConfig {
    SqlConfig::default()
}

/// What is refused for what it is, and what is said of it.
const REFUSED: &[(&str, &str)] = &[
    ("", "there is no statement"),
    ("-- nothing", "there is no statement"),
    ("SELECT 1; SELECT 2", "one statement at a time"),
    ("SELECT 1; DROP TABLE spans", "one statement at a time"),
    ("CREATE TABLE t AS SELECT 1", "only SELECT"),
    ("CREATE VIEW v AS SELECT 1", "only SELECT"),
    ("CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '/etc/passwd'", "only SELECT"),
    ("create /* x */ external table t stored as csv location 's3://b/k'", "only SELECT"),
    ("CREATE FUNCTION f(INT) RETURNS INT RETURN $1 + 1", "only SELECT"),
    ("CREATE DATABASE d", "only SELECT"),
    ("DROP TABLE spans", "only SELECT"),
    ("INSERT INTO spans VALUES (1)", "only SELECT"),
    ("UPDATE spans SET app = 'x'", "only SELECT"),
    ("DELETE FROM spans", "only SELECT"),
    ("COPY spans TO '/tmp/x.parquet'", "only SELECT"),
    ("COPY (SELECT 1) TO 's3://bucket/x.csv'", "only SELECT"),
    ("EXPLAIN COPY spans TO '/tmp/x.parquet'", "EXPLAIN takes a SELECT"),
    ("EXPLAIN INSERT INTO spans VALUES (1)", "EXPLAIN takes a SELECT"),
    ("EXPLAIN EXPLAIN SELECT 1", "EXPLAIN takes a SELECT"),
    ("SET datafusion.execution.batch_size = 1", "only SELECT"),
    ("SET TIME ZONE 'Europe/London'", "only SELECT"),
    ("RESET ALL", "only SELECT"),
    ("SHOW ALL", "only SELECT"),
    ("SHOW datafusion.runtime.temp_directory", "only SELECT"),
    ("PREPARE p AS SELECT 1", "only SELECT"),
    ("EXECUTE p(1)", "only SELECT"),
    ("BEGIN", "only SELECT"),
    ("TRUNCATE TABLE spans", "only SELECT"),
    ("USE other", "only SELECT"),
    ("SELECT * INTO t FROM spans", "SELECT INTO is refused"),
    ("SELECT 1 UNION ALL SELECT * INTO t FROM spans", "SELECT INTO is refused"),
    (
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT * FROM r",
        "WITH RECURSIVE",
    ),
    ("SELECT * FROM (WITH RECURSIVE r AS (SELECT 1) SELECT * FROM r)", "WITH RECURSIVE"),
    ("SELECT * FROM generate_series(1, 10000000000)", "generate_series is refused"),
    ("SELECT range(0, 10000000000)", "range is refused"),
    ("SELECT repeat('x', 1000000000)", "repeat is refused"),
    ("SELECT * FROM spans WHERE length(RPAD('x', 1000000000)) > 1", "RPAD is refused"),
    ("SELECT \"lpad\"('x', 1000000000)", "lpad is refused"),
    ("SELECT array_resize([1], 1000000000)", "array_resize is refused"),
    ("SELECT approx_percentile_cont(duration_us, 0.999) FROM spans", "hdr_quantile(hdr(x), q)"),
    ("SELECT Approx_Median(duration_us) FROM spans", "hdr_quantile(hdr(x), q)"),
    (
        "SELECT a FROM (SELECT approx_percentile_cont(x, 0.5) AS a FROM spans)",
        "hdr_quantile(hdr(x), q)",
    ),
    ("SELECT hdr(DISTINCT total_us) FROM requests", "hdr(DISTINCT"),
    ("SELECT HDR_MERGE(DISTINCT h) FROM metrics", "hdr(DISTINCT"),
    ("SELECT 'unterminated", "cannot be read"),
    ("SELEC 1", "Expected"),
];

/// Common tables that name the one before twice, so that the last has two to the power of `links`.
fn doubled(links: usize) -> String {
    let tables: Vec<String> = (1..=links)
        .map(|at| format!("t{at} AS (SELECT a.x FROM t{0} AS a, T{0} AS b)", at - 1))
        .collect();
    format!("WITH t0 AS (SELECT 1 AS x FROM spans), {} SELECT x FROM t{links}", tables.join(", "))
}

#[test]
fn refuses_hostile_statements() {
    let chain = |link: &str, count: usize| format!("SELECT 1{}", link.repeat(count));
    let nested = |open: &str, close: &str, depth: usize| {
        format!("SELECT {}1{}", open.repeat(depth), close.repeat(depth))
    };
    let cases: Vec<(String, Kind, &str)> = REFUSED
        .iter()
        .map(|(sql, message)| (String::from(*sql), Kind::Plan, *message))
        .chain([
            (format!("SELECT '{}'", "x".repeat(64 << 10)), Kind::Limit, "bytes; at most"),
            (chain(" + 1", 2_000), Kind::Limit, "operators in one expression"),
            (chain("+1", 30_000), Kind::Limit, "words and signs"),
            (chain(" OR 1", 1_500), Kind::Limit, "operators in one expression"),
            (chain("::int", 600), Kind::Limit, "operators in one expression"),
            (chain("[1]", 600), Kind::Limit, "operators in one expression"),
            (chain(" IS NULL", 600), Kind::Limit, "operators in one expression"),
            (chain(" || 'x'", 600), Kind::Limit, "operators in one expression"),
            (chain(" UNION ALL SELECT 1", 100), Kind::Limit, "set operations"),
            (nested("(", ")", 33), Kind::Limit, "levels of parentheses"),
            (nested("(", ")", 2_000), Kind::Limit, "levels of parentheses"),
            (nested("[", "]", 40), Kind::Limit, "levels of parentheses"),
            (nested("NOT ", "", 600), Kind::Limit, "operators in one expression"),
            (nested("- ", "", 400), Kind::Plan, "ecursion"),
            (
                format!("SELECT * FROM spans{}", ", spans".repeat(100)),
                Kind::Limit,
                "names more than 64 tables",
            ),
            (
                format!("SELECT * FROM spans{}", " CROSS JOIN spans".repeat(1_000)),
                Kind::Limit,
                "names more than 64 tables",
            ),
            (doubled(7), Kind::Limit, "names more than 64 tables"),
            (doubled(30), Kind::Limit, "names more than 64 tables"),
        ])
        .collect();
    assert!(cases.len() >= 25);
    for (sql, kind, message) in cases {
        let shown: String = sql.chars().take(80).collect();
        let error = admit(&sql, &limits()).expect_err(&shown);
        assert_eq!(error.kind, kind, "{shown}: {error}");
        assert!(error.message.contains(message), "{shown}: {error}");
    }
}

#[test]
fn accepts_questions() {
    for sql in [
        "SELECT 1",
        "SELECT 1;",
        "  -- a remark\nSELECT region, count(*) FROM requests GROUP BY region",
        "SELECT region, hdr_quantile(hdr(total_us), 0.999) AS p999, count(*) AS n FROM requests \
         WHERE time > now() - INTERVAL '1 hour' GROUP BY region ORDER BY p999 DESC",
        "SELECT attributes['http.route'] FROM spans WHERE session_id = 'a' LIMIT 10",
        "WITH slow AS (SELECT * FROM requests WHERE total_us > 2000000) SELECT * FROM slow",
        "SELECT * FROM requests r JOIN spans s ON r.trace_id = s.trace_id",
        "SELECT region FROM requests UNION ALL SELECT region FROM spans",
        "SELECT CASE WHEN outcome = 'ok' THEN 1 ELSE 0 END FROM requests",
        "SELECT lag(time) OVER (PARTITION BY session_id ORDER BY time) FROM events",
        "EXPLAIN SELECT * FROM spans",
        "EXPLAIN ANALYZE SELECT count(*) FROM spans",
        "SHOW TABLES",
        "SHOW COLUMNS FROM spans",
        "DESCRIBE requests",
        "SELECT * FROM amplification WHERE amplification > 1.3",
        "VALUES (1), (2)",
        "SELECT 'approx_median', \"range\" FROM (SELECT 1 AS \"range\")",
    ] {
        if let Err(error) = admit(sql, &limits()) {
            panic!("{sql}: {error}");
        }
    }
    admit(&doubled(3), &limits()).expect("a few common tables");
    // Wide is not deep: a long list of values, and many conditions below the limit.
    let list = (0..1_000).map(|value| value.to_string()).collect::<Vec<_>>().join(", ");
    admit(&format!("SELECT * FROM spans WHERE status_code IN ({list})"), &limits())
        .expect("a long list");
    let conditions = vec!["a = 1"; 200].join(" AND ");
    admit(&format!("SELECT * FROM spans WHERE {conditions}"), &limits()).expect("many conditions");
}
