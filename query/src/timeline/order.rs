//! The order of a session's rows.
//!
//! Rows of a page stand in the order of the beacon's sequence: a clock that was set back cannot
//! turn two clicks around. Between pages time decides, with each row moved late enough not to
//! stand before its page's earlier rows. A service span stands below the span it was called from,
//! siblings by time; one whose caller is not here stands by time.
//!
//! Invariant: every row is in the answer exactly once, whatever the parents claim, cycles included.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Map, Value};

/// A row as an object.
pub(super) type Row = Map<String, Value>;

/// A span's name: its trace and its id.
type SpanKey = (String, String);

/// A span's parent, by the span.
pub(super) type Parents = HashMap<SpanKey, SpanKey>;

/// Reads `trace_id, span_id, parent_span_id`.
pub(super) fn parents(rows: &[Row]) -> Parents {
    rows.iter()
        .filter_map(|row| {
            let trace = text(row, "trace_id")?;
            let child = (trace.clone(), text(row, "span_id")?);
            Some((child, (trace, text(row, "parent_span_id")?)))
        })
        .collect()
}

/// The rows in order, `time_ns` taken out, `depth` of service spans counted from their attempt.
pub(super) fn ordered(rows: Vec<Row>, parents: &Parents) -> Vec<Row> {
    let mut rows: Vec<Option<Row>> = rows.into_iter().map(Some).collect();
    let keys = placed(&rows);
    let below = children(&rows, parents);
    let mut order: Vec<usize> = Vec::with_capacity(rows.len());
    let mut depths: HashMap<usize, i64> = HashMap::new();
    let mut done = HashSet::new();
    let is_child: HashSet<usize> = below.values().flatten().copied().collect();
    // First what stands by itself, then what only a cycle of parents kept from standing anywhere.
    let roots = keys.iter().map(|key| key.3).filter(|row| !is_child.contains(row));
    let stranded = keys.iter().map(|key| key.3).filter(|row| is_child.contains(row));
    for root in roots.chain(stranded) {
        let base = rows[root].as_ref().and_then(|row| number(row, "depth")).unwrap_or(0);
        let mut pending = vec![(root, base)];
        while let Some((row, depth)) = pending.pop() {
            if !done.insert(row) {
                continue;
            }
            order.push(row);
            depths.insert(row, depth);
            // The last one pushed is the next one out.
            pending
                .extend(below.get(&row).into_iter().flatten().rev().map(|row| (*row, depth + 1)));
        }
    }
    order
        .into_iter()
        .filter_map(|index| {
            let mut row = rows[index].take()?;
            row.remove("time_ns");
            if let Some(depth) = depths.get(&index) {
                row.insert(String::from("depth"), Value::from(*depth));
            }
            Some(row)
        })
        .collect()
}

/// Where each row stands by time: (time, page, position in the page, row), sorted.
fn placed(rows: &[Option<Row>]) -> Vec<(i64, usize, usize, usize)> {
    let mut pages: BTreeMap<String, Vec<(i64, i64, usize)>> = BTreeMap::new();
    let mut placed = Vec::with_capacity(rows.len());
    for (index, row) in rows.iter().enumerate() {
        let Some(row) = row else { continue };
        let time = number(row, "time_ns").unwrap_or(0);
        match (text(row, "page_id"), number(row, "sequence")) {
            (Some(page), Some(sequence)) => {
                pages.entry(page).or_default().push((sequence, time, index));
            }
            _ => placed.push((time, usize::MAX, 0, index)),
        }
    }
    for (page, mut rows_of_page) in pages.into_values().enumerate() {
        rows_of_page.sort_unstable();
        let mut latest = i64::MIN;
        for (position, (_sequence, time, index)) in rows_of_page.into_iter().enumerate() {
            latest = latest.max(time);
            placed.push((latest, page, position, index));
        }
    }
    placed.sort_unstable();
    placed
}

/// The service spans below each row, by time.
fn children(rows: &[Option<Row>], parents: &Parents) -> HashMap<usize, Vec<usize>> {
    let spans: HashMap<SpanKey, usize> = rows
        .iter()
        .enumerate()
        .filter_map(|(index, row)| {
            let row = row.as_ref()?;
            // Events name the span they belong to as well; they are not it.
            number(row, "attempt")?;
            Some(((text(row, "trace_id")?, text(row, "span_id")?), index))
        })
        .collect();
    let mut below: HashMap<usize, Vec<usize>> = HashMap::new();
    for (key, index) in &spans {
        let in_service = rows[*index].as_ref().and_then(|row| text(row, "layer"));
        if in_service.as_deref() != Some("service") {
            continue;
        }
        if let Some(parent) = parents.get(key).and_then(|parent| spans.get(parent)) {
            below.entry(*parent).or_default().push(*index);
        }
    }
    for siblings in below.values_mut() {
        siblings.sort_by_key(|index| {
            (rows[*index].as_ref().and_then(|row| number(row, "time_ns")), *index)
        });
    }
    below
}

fn text(row: &Row, name: &str) -> Option<String> {
    row.get(name)?.as_str().map(String::from)
}

fn number(row: &Row, name: &str) -> Option<i64> {
    row.get(name)?.as_i64()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// (what, layer, time, page, sequence, span, parent)
    type Given = (&'static str, &'static str, i64, &'static str, i64, &'static str, &'static str);

    fn check(given: &[Given], expected: &str) {
        for rotation in 0..given.len() {
            let mut given = given.to_vec();
            given.rotate_left(rotation);
            let rows = given.iter().map(row).collect();
            let parent_rows: Vec<Row> =
                given.iter().filter(|given| !given.6.is_empty()).map(parent).collect();
            let answer: Vec<String> = ordered(rows, &parents(&parent_rows))
                .iter()
                .map(|row| {
                    let depth = usize::try_from(number(row, "depth").expect("set")).expect("small");
                    format!("{}{}", ">".repeat(depth), text(row, "what").expect("set"))
                })
                .collect();
            assert_eq!(answer.join(" "), expected, "rotated by {rotation}");
        }
    }

    fn row(given: &Given) -> Row {
        let (what, layer, time, page, sequence, span, _parent) = *given;
        let mut row = Row::new();
        row.insert("what".into(), json!(what));
        row.insert("layer".into(), json!(layer));
        row.insert("time_ns".into(), json!(time));
        row.insert("depth".into(), json!(0));
        row.insert("attempt".into(), if span.is_empty() { Value::Null } else { json!(1) });
        if !page.is_empty() {
            row.insert("page_id".into(), json!(page));
            row.insert("sequence".into(), json!(sequence));
        }
        if !span.is_empty() {
            row.insert("trace_id".into(), json!("t"));
            row.insert("span_id".into(), json!(span));
        }
        row
    }

    fn parent(given: &Given) -> Row {
        let mut row = Row::new();
        row.insert("trace_id".into(), json!("t"));
        row.insert("span_id".into(), json!(given.5));
        row.insert("parent_span_id".into(), json!(given.6));
        row
    }

    #[test]
    fn a_page_stands_in_its_sequence_whatever_the_clock_says() {
        check(
            &[
                ("open", "user", 100, "p", 0, "", ""),
                ("click", "user", 50, "p", 1, "", ""),
                ("leave", "user", 120, "p", 2, "", ""),
            ],
            "open click leave",
        );
    }

    #[test]
    fn pages_stand_by_time_without_turning_a_page_around() {
        check(
            &[
                ("a0", "user", 10, "a", 0, "", ""),
                ("a1", "user", 5, "a", 1, "", ""),
                ("b0", "user", 7, "b", 0, "", ""),
                ("b1", "user", 20, "b", 1, "", ""),
                ("a2", "user", 15, "a", 2, "", ""),
            ],
            "b0 a0 a1 a2 b1",
        );
    }

    #[test]
    fn service_spans_stand_below_their_attempt() {
        check(
            &[
                ("click", "user", 1, "p", 0, "", ""),
                ("fetch", "browser", 2, "p", 1, "f", ""),
                // The service's clock is ahead and behind: it does not matter.
                ("gateway", "service", 900, "", 0, "g", "f"),
                ("database", "service", 3, "", 0, "d", "g"),
                ("cache", "service", 2, "", 0, "c", "g"),
                ("leave", "user", 5, "p", 2, "", ""),
                ("orphan", "service", 4, "", 0, "o", "missing"),
            ],
            "click fetch >gateway >>cache >>database orphan leave",
        );
    }

    #[test]
    fn a_cycle_loses_nothing() {
        check(
            &[
                ("x", "service", 1, "", 0, "x", "y"),
                ("y", "service", 2, "", 0, "y", "x"),
                ("self", "service", 3, "", 0, "s", "s"),
            ],
            "x >y self",
        );
    }
}
