//! Statements that make much out of little: what is refused before it runs, and what is not.

use super::{answer, fixture};

/// What would take memory that nobody has charged: each of these ended the process.
#[tokio::test]
async fn refuses_what_grows() {
    let fixture = fixture(10, 0);
    let nested = |open: &str, close: &str, depth: usize| {
        format!("SELECT {}'a'{}", open.repeat(depth), close.repeat(depth))
    };
    let chain = |link: &str| {
        let tables: Vec<String> =
            (1..40).map(|at| format!("t{at} AS (SELECT {link} AS x FROM t{})", at - 1)).collect();
        format!("WITH t0 AS (SELECT 'aaaaaaaa' AS x), {} SELECT x FROM t39", tables.join(", "))
    };
    let ten = "aaaaaaaaaa";
    for (sql, expected) in [
        (
            String::from("SELECT arrow_cast(NULL, 'FixedSizeBinary(2147483647)') FROM spans"),
            "type of",
        ),
        (
            String::from("SELECT arrow_try_cast(NULL, 'FixedSizeBinary(2147483647)') FROM spans"),
            "type of",
        ),
        (String::from("SELECT arrow_cast(NULL, 'FixedSizeList(2147483647, Int64)')"), ""),
        (String::from("SELECT CAST(NULL AS INT[2147483647]) FROM spans"), ""),
        (String::from("SELECT TRY_CAST(service AS INT[100000]) FROM spans"), ""),
        (nested("replace(", &format!(", 'a', '{ten}')"), 12), "values of"),
        (nested("regexp_replace(", &format!(", 'a', '{ten}', 'g')"), 12), "values of"),
        (nested("encode(", ", 'hex')", 20), "values of"),
        (
            format!("SELECT replace('{}', 'a', '{}')", "a".repeat(9_000), "b".repeat(9_000)),
            "values of",
        ),
        (String::from("SELECT replace(service, 'a', service) FROM spans"), "values of"),
        (
            format!(
                "SELECT array_to_string(string_to_array('{ten}', ''), '{}')",
                "b".repeat(1_000)
            ),
            "values of",
        ),
        (chain("x || x"), "values of"),
        (chain("concat(x, x)"), "values of"),
        (chain("concat_ws(x, x, x)"), "values of"),
        (chain("replace(x, 'a', 'aa')"), "values of"),
        (chain("[x, x]"), "values of"),
        (chain("named_struct('a', x, 'b', x)"), "types"),
        (chain("struct(x, x)"), "types"),
        (chain("STRUCT(x, x)"), "types"),
        (chain("{a: x, b: x}"), "types"),
        (chain("MAP {x: x}"), "types"),
        (chain("map([x], [x])"), "types"),
        (chain("(x, x)"), "types"),
        (
            format!(
                "WITH t AS (SELECT '{}' AS x) SELECT {} FROM t, spans",
                "a".repeat(4_000),
                (0..40).map(|at| format!("x AS x{at}")).collect::<Vec<_>>().join(", ")
            ),
            "rows of",
        ),
        (String::from("SELECT array_agg(depth) OVER (ORDER BY depth) FROM spans"), "OVER"),
        (format!("SELECT levenshtein('{0}', '{0}')", "a".repeat(2_000)), "letters"),
    ] {
        let shown: String = sql.chars().take(100).collect();
        let message = answer(&fixture, &sql).await.expect_err(&shown);
        assert!(message.contains(expected), "{shown}: {message}");
    }
}

/// What people ask does not come near.
#[tokio::test]
async fn lets_through_what_grows_a_little() {
    let fixture = fixture(10, 0);
    let texts = "(SELECT CAST(service AS VARCHAR) AS a, CAST(callee AS VARCHAR) AS b, \
                 CAST(route AS VARCHAR) AS route, time FROM spans WHERE depth = 3) AS t";
    for (expression, expected) in [
        ("replace(replace(route, '/', ''), 'cart', 'basket')", "basket"),
        ("a || ' to ' || b || ' ' || route", "shop to cart /cart"),
        ("concat(a, ' to ', b)", "shop to cart"),
        ("concat_ws(', ', a, b, route)", "shop, cart, /cart"),
        ("regexp_replace(route, '/([a-z]+)', 'the \\1', 'g')", "the cart"),
        ("levenshtein(a, b)", "4"),
        ("string_agg(a, ', ')", "shop"),
        ("arrow_cast(1, 'Int8')", "1"),
        ("to_char(time, '%Y-%m-%d %H:%M')", "2023-11-14 22:13"),
    ] {
        let sql = format!("SELECT {expression} FROM {texts}");
        assert_eq!(answer(&fixture, &sql).await.as_deref(), Ok(expected), "{sql}");
    }
    // A common table that is named often, and common tables that name each other.
    let chain = "WITH a AS (SELECT depth FROM spans), b AS (SELECT a.depth FROM a JOIN a AS c \
                 ON a.depth = c.depth), d AS (SELECT b.depth FROM b JOIN b AS e ON b.depth = e.depth) \
                 SELECT count(*) FROM d";
    assert_eq!(answer(&fixture, chain).await.as_deref(), Ok("8"));
}
