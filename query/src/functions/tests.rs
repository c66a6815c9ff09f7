//! The functions as SQL sees them: registered in a session, over partitioned tables.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::*;

/// 10 000 values in two regions, in `partitions` partitions; region `b` has NULL, NaN and negative
/// values besides.
fn context(partitions: usize) -> SessionContext {
    let context =
        SessionContext::new_with_config(SessionConfig::new().with_target_partitions(partitions));
    aggregates().into_iter().for_each(|function| context.register_udaf((*function).clone()));
    scalars().into_iter().for_each(|function| context.register_udf((*function).clone()));
    let batch = |range: std::ops::Range<i64>| {
        let regions: StringArray =
            range.clone().map(|row| Some(if row % 2 == 0 { "a" } else { "b" })).collect();
        let values: Int64Array = range
            .clone()
            .map(|row| match row % 200 {
                1 => None,
                3 => Some(-5),
                _ => Some(row * row),
            })
            .collect();
        let floats: Float64Array =
            range.map(|row| Some(if row % 200 == 1 { f64::NAN } else { row as f64 })).collect();
        RecordBatch::try_from_iter([
            ("region", Arc::new(regions) as ArrayRef),
            ("x", Arc::new(values) as ArrayRef),
            ("f", Arc::new(floats) as ArrayRef),
        ])
        .expect("equal lengths")
    };
    let chunk = 10_000_usize.div_ceil(partitions);
    let batches: Vec<Vec<RecordBatch>> = (0..partitions)
        .map(|part| {
            let start = (part * chunk).min(10_000) as i64;
            let end = ((part + 1) * chunk).min(10_000) as i64;
            vec![batch(start..end)]
        })
        .collect();
    let table = MemTable::try_new(batches[0][0].schema(), batches).expect("one schema");
    context.register_table("t", Arc::new(table)).expect("a new name");
    context
}

/// The whole answer as one batch: a histogram is too wide to be compared as a table of text.
async fn batch(context: &SessionContext, sql: &str) -> RecordBatch {
    let frame = context.sql(sql).await.expect("a valid statement");
    let schema = Arc::clone(frame.schema().inner());
    let batches = frame.collect().await.expect("an answer");
    datafusion::arrow::compute::concat_batches(&schema, &batches).expect("one schema")
}

async fn answer(context: &SessionContext, sql: &str) -> Result<String, String> {
    let frame = context.sql(sql).await.map_err(|error| error.to_string())?;
    let batches = frame.collect().await.map_err(|error| error.to_string())?;
    let table = pretty_format_batches(&batches).map_err(|error| error.to_string())?;
    Ok(table
        .to_string()
        .lines()
        .skip(3)
        .filter(|line| line.starts_with('|'))
        .map(|line| line.split('|').map(str::trim).collect::<Vec<_>>().join(" "))
        .map(|line| String::from(line.trim()))
        .collect::<Vec<_>>()
        .join("; "))
}

#[tokio::test]
async fn answers() {
    let context = context(3);
    for (sql, expected) in [
        ("SELECT hdr_quantile(hdr(x), 0.5) FROM (VALUES (1), (2), (3)) AS t(x)", "2"),
        ("SELECT hdr_quantile(hdr(x), 1) FROM (VALUES (1), (2), (3)) AS t(x)", "3"),
        ("SELECT hdr_count(hdr(x)) FROM (VALUES (10), (20), (NULL)) AS t(x)", "2"),
        ("SELECT hdr_count(hdr(x)) FROM (VALUES (-1), (0)) AS t(x)", "1"),
        ("SELECT hdr_max(hdr(x)) FROM (VALUES (10), (20)) AS t(x)", "20"),
        (
            "SELECT hdr_fraction_below(hdr(x), 100) FROM (VALUES (10), (20), (200), (300)) AS t(x)",
            "0.5",
        ),
        ("SELECT hdr_quantile(hdr_coarsen(hdr(x)), 1.0) FROM (VALUES (10001)) AS t(x)", "10016"),
        ("SELECT hdr_quantile(hdr(x), NULL) FROM t", ""),
        ("SELECT hdr_quantile(hdr(x), 0.9), hdr_count(hdr(x)) FROM t WHERE false", "0"),
        ("SELECT hdr_count(hdr(x) FILTER (WHERE x < 3)) FROM (VALUES (1), (5)) AS t(x)", "1"),
        ("SELECT region, hdr_count(hdr(x)) FROM t GROUP BY region ORDER BY 1", "a 5000; b 4900"),
        ("SELECT region, hdr_count(hdr(f)) FROM t GROUP BY region ORDER BY 1", "a 5000; b 4950"),
        (
            "SELECT h[1]['bucket'], h[1]['count'] FROM (SELECT hdr(x) AS h FROM (VALUES (7), (7)) AS t(x))",
            "7 2",
        ),
        (
            "SELECT hdr_quantile(hdr_merge(h), 0.5) FROM (SELECT hdr(x) AS h FROM t GROUP BY region, x % 7)",
            "24993792",
        ),
    ] {
        assert_eq!(answer(&context, sql).await.as_deref(), Ok(expected), "{sql}");
    }
}

#[tokio::test]
async fn those_who_left_count() {
    let context = context(3);
    let of = |values: &str, question: &str| {
        format!(
            "SELECT {question} FROM (SELECT hdr_censored(x, finished) AS c \
             FROM (VALUES {values}) AS t(x, finished))"
        )
    };
    let seconds = "(1000000, true), (2000000, true), (3000000, true), (2500000, false)";
    let lost = "(100, true), (200, false), (300, false)";
    for (sql, expected) in [
        // Two seconds, as their bucket's midpoint.
        (of(seconds, "hdr_quantile(c, 0.5), hdr_is_bound(c, 0.5)"), "2000384 false"),
        (of(seconds, "hdr_quantile_bound(c, 0.5), hdr_quantile(c, 1)"), "2000384 2999296"),
        (of(seconds, "hdr_count(c), hdr_count(c['finished']), hdr_count(c['left'])"), "4 3 1"),
        (
            of(lost, "hdr_quantile(c, 0.3), hdr_quantile_bound(c, 0.3), hdr_is_bound(c, 0.3)"),
            "100 100 false",
        ),
        (
            of(lost, "hdr_quantile(c, 0.5), hdr_quantile_bound(c, 0.5), hdr_is_bound(c, 0.5)"),
            "300 true",
        ),
        // The example of the documentation.
        (
            of(
                "(100, true), (300, true), (150, false), (200, false), (400, true), (120, true)",
                "hdr_quantile(c, 0.75), hdr_quantile(c['finished'], 0.75), hdr_count(c)",
            ),
            "400 300 6",
        ),
        (of("(10001, true), (10001, false)", "hdr_quantile(hdr_coarsen(c), 0.5)"), "10016"),
        // What is not known to have finished has left.
        (of("(5, NULL), (9, true)", "hdr_count(c['left']), hdr_quantile(c, 1.0)"), "1 9"),
        (
            of(
                "(NULL, true), (-1, false)",
                "hdr_count(c), hdr_quantile_bound(c, 0.5), hdr_is_bound(c, 0.5)",
            ),
            "0",
        ),
        (of(seconds, "hdr_quantile(c, NULL), hdr_is_bound(c, NULL)"), ""),
        (
            String::from(
                "SELECT hdr_quantile(named_struct('finished', hdr_coarsen(hdr(x)), 'left', \
                 hdr_coarsen(hdr(y))), 0.5) FROM (VALUES (1, 9), (2, 9)) AS t(x, y)",
            ),
            "2",
        ),
        (
            String::from(
                "SELECT p['waited_s'], p['at_risk'], p['finished'], p['abandoned'], p['censored'], \
                 p['survival'], p['incidence'] FROM (SELECT unnest(hdr_patience(\
                 hdr(us) FILTER (WHERE ok), hdr(us) FILTER (WHERE NOT ok))) AS p \
                 FROM (VALUES (1e6, true), (2e6, false), (3e6, true), (4e6, false)) AS t(us, ok))",
            ),
            "1 4 1 0 0 1.0 0.0; 2 3 0 1 0 0.6666666666666666 0.25; \
             3 2 1 0 0 0.6666666666666666 0.25; 4 1 0 1 0 0.0 0.5",
        ),
    ] {
        let answer = answer(&context, &sql).await;
        assert_eq!(answer.as_deref().map(single_spaced), Ok(String::from(expected)), "{sql}");
    }
}

/// NULL is shown as nothing.
fn single_spaced(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn refusals_name_the_function() {
    let context = context(1);
    for (sql, expected) in [
        ("SELECT hdr(region) FROM t", "hdr takes one number"),
        ("SELECT hdr(x, 2) FROM t", "hdr takes one number"),
        ("SELECT hdr_merge(x) FROM t", "hdr_merge takes a histogram"),
        ("SELECT hdr_quantile(x, 0.5) FROM t", "hdr_quantile takes a histogram"),
        ("SELECT hdr_quantile(hdr(x)) FROM t", "hdr_quantile takes a histogram and a quantile"),
        ("SELECT hdr_quantile(hdr(x), 99) FROM t", "not between 0 and 1"),
        ("SELECT hdr_fraction_below(hdr(x)) FROM t", "hdr_fraction_below takes"),
        ("SELECT hdr_censored(x) FROM t", "whether it finished"),
        ("SELECT hdr_censored(x, region) FROM t", "whether it finished"),
        ("SELECT hdr_quantile_bound(hdr(x), 0.5) FROM t", "does not know who left"),
        ("SELECT hdr_is_bound(hdr_censored(x, true)) FROM t", "hdr_is_bound takes a histogram and"),
        ("SELECT hdr_is_bound(hdr_censored(x, true), 2) FROM t", "not between 0 and 1"),
        ("SELECT hdr_max(hdr_censored(x, true)) FROM t", "c['finished']"),
        (
            "SELECT hdr_quantile(named_struct('finished', hdr(x), 'left', hdr_coarsen(hdr(x))), 0.5) FROM t",
            "hdr_coarsen(h)",
        ),
        ("SELECT hdr_patience(hdr(x), hdr_coarsen(hdr(x))) FROM t", "hdr_coarsen(h)"),
        ("SELECT hdr_quantile(struct(hdr(x), hdr(x)), 0.5) FROM t", "named_struct('finished'"),
        (
            "SELECT hdr_count(hdr_merge(named_struct('left', hdr(x), 'finished', hdr(x)))) FROM t",
            "named_struct('finished'",
        ),
        ("SELECT hdr_patience(hdr(x)) FROM t", "hdr_patience(finished, abandoned)"),
        (
            "SELECT hdr_merge(h) FROM (SELECT hdr(x) AS h FROM t UNION ALL \
             SELECT hdr_censored(x, true) FROM t)",
            "",
        ),
    ] {
        let message = answer(&context, sql).await.expect_err(sql);
        assert!(message.contains(expected), "{sql}: {message}");
    }
}

#[tokio::test]
async fn the_answer_does_not_depend_on_partitions() {
    const SQL: [&str; 5] = [
        "SELECT region, hdr_censored(x, x % 3 = 0) FROM t GROUP BY region ORDER BY region",
        "SELECT hdr_merge(c) FROM (SELECT hdr_censored(x, x % 3 = 0) AS c FROM t GROUP BY x % 31)",
        "SELECT region, hdr(x) FROM t GROUP BY region ORDER BY region",
        "SELECT x % 97 AS k, hdr_quantile(hdr(x), 0.99) FROM t GROUP BY k ORDER BY k",
        "SELECT hdr_merge(h) FROM (SELECT hdr_coarsen(hdr(x)) AS h FROM t GROUP BY x % 31)",
    ];
    for sql in SQL {
        let expected = batch(&context(1), sql).await;
        assert!(expected.num_rows() > 0);
        for partitions in [2, 3, 8] {
            assert!(batch(&context(partitions), sql).await == expected, "{sql}");
        }
    }
}

#[test]
fn refused_names_compare_without_case() {
    assert!(refusal("Approx_Median").is_some_and(|reason| reason.contains("hdr_quantile")));
    assert_eq!(refusal("median"), None);
}
