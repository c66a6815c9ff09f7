//! What can be read off a statement's filters before a file is opened.
//!
//! It is not a filter: an answer that is too wide costs time, never rows. Only plain comparisons
//! of a column with a constant are understood.

use std::ops::RangeInclusive;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

/// Columns whose values name one thing: a filter by one of them leaves a handful of rows.
const ID_COLUMNS: [&str; 9] = [
    "session_id",
    "trace_id",
    "span_id",
    "parent_span_id",
    "request_id",
    "intent_id",
    "page_id",
    "tab_id",
    "user_id",
];

/// The receive times, in nanoseconds, that can pass every one of `filters`.
pub(crate) fn received_ns(filters: &[Expr]) -> RangeInclusive<i64> {
    let (mut first, mut last) = (i64::MIN, i64::MAX);
    for filter in filters.iter().flat_map(split_conjunction) {
        let Some((operator, ns)) = comparison(filter) else { continue };
        match operator {
            Operator::Eq => (first, last) = (first.max(ns), last.min(ns)),
            Operator::Gt | Operator::GtEq => first = first.max(ns),
            Operator::Lt | Operator::LtEq => last = last.min(ns),
            _ => {}
        }
    }
    first..=last
}

/// True where a filter asks for single ids, by `=` or `IN`.
pub(crate) fn names_an_id(filters: &[Expr]) -> bool {
    filters.iter().flat_map(split_conjunction).any(|filter| match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            is_id(left) && is_literal(right) || is_literal(left) && is_id(right)
        }
        Expr::InList(list) => !list.negated && is_id(&list.expr),
        _ => false,
    })
}

/// `time_received <operator> constant`, whichever side the column stands on.
fn comparison(filter: &Expr) -> Option<(Operator, i64)> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = filter else { return None };
    match (&**left, &**right) {
        (Expr::Column(column), Expr::Literal(value, _)) if column.name == "time_received" => {
            Some((*op, nanoseconds(value)?))
        }
        (Expr::Literal(value, _), Expr::Column(column)) if column.name == "time_received" => {
            Some((op.swap()?, nanoseconds(value)?))
        }
        _ => None,
    }
}

fn nanoseconds(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::TimestampNanosecond(ns, _) => *ns,
        _ => None,
    }
}

fn is_id(expression: &Expr) -> bool {
    matches!(expression, Expr::Column(column) if ID_COLUMNS.contains(&column.name.as_str()))
}

fn is_literal(expression: &Expr) -> bool {
    matches!(expression, Expr::Literal(..))
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::{col, lit};

    use super::*;

    fn at(ns: i64) -> Expr {
        lit(ScalarValue::TimestampNanosecond(Some(ns), Some("UTC".into())))
    }

    #[test]
    fn reads_receive_times() {
        let received = || col("time_received");
        for (filters, expected) in [
            (vec![], i64::MIN..=i64::MAX),
            (vec![received().gt_eq(at(5))], 5..=i64::MAX),
            (vec![received().gt(at(5)), received().lt(at(9))], 5..=9),
            (vec![received().gt(at(5)).and(received().lt_eq(at(9)))], 5..=9),
            (vec![at(5).lt(received())], 5..=i64::MAX),
            (vec![received().eq(at(7))], 7..=7),
            // What is not understood widens: nothing may be missed.
            (vec![received().gt(at(5)).or(received().lt(at(1)))], i64::MIN..=i64::MAX),
            (vec![col("time").gt(at(5))], i64::MIN..=i64::MAX),
            (vec![received().not_eq(at(5))], i64::MIN..=i64::MAX),
        ] {
            assert_eq!(received_ns(&filters), expected, "{filters:?}");
        }
    }

    #[test]
    fn tells_a_lookup_from_an_aggregate() {
        let id = || col("session_id");
        for (filter, expected) in [
            (id().eq(lit("abc")), true),
            (lit("abc").eq(id()), true),
            (id().in_list(vec![lit("a"), lit("b")], false), true),
            (id().eq(lit("abc")).and(col("region").eq(lit("GB"))), true),
            (id().in_list(vec![lit("a")], true), false),
            (id().is_not_null(), false),
            (id().eq(col("user_id")), false),
            (col("region").eq(lit("GB")), false),
        ] {
            assert_eq!(names_an_id(std::slice::from_ref(&filter)), expected, "{filter}");
        }
    }
}
