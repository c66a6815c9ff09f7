//! How large a value can be: by its type, and by what functions make of others.
//!
//! It is not told what a table holds: a text of it counts as [`COLUMN_BYTES`].
//!
//! Invariant: every function of the engine whose answer can be longer than its arguments together is
//! named in [`multiplied`], or refused by name.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;

/// What a text, list or map of a table counts: names and routes are shorter.
pub(super) const COLUMN_BYTES: usize = 128;

/// What a number, a time or a truth value counts.
pub(super) const FIXED_BYTES: usize = 8;

/// What a function can make of its arguments, whose sizes are `parts`.
pub(super) fn multiplied(name: &str, parts: &[usize], sum: usize) -> usize {
    let part = |at: usize| parts.get(at).copied().unwrap_or(0);
    let plus = |of: usize, more: usize| of.saturating_add(more);
    let first = part(0);
    match name {
        // Each place of the first may become the third.
        "replace" => plus(first, plus(first, 1).saturating_mul(part(2))),
        // The third may name a group of what was found, in two bytes.
        "regexp_replace" => plus(first, plus(first, 1).saturating_mul(2).saturating_mul(part(2))),
        "array_replace" | "array_replace_n" | "array_replace_all" => {
            plus(first, 1).saturating_mul(plus(part(2), 1))
        }
        // A group of a pattern takes two bytes and may find everything.
        "regexp_match" => first.saturating_mul(plus(part(1) / 2, 1)),
        "array_to_string" => first.saturating_mul(plus(plus(part(1), part(2)), 1)),
        "concat_ws" => plus(sum, first.saturating_mul(parts.len())),
        "encode" => sum.saturating_mul(2),
        "translate" => first.saturating_mul(4),
        // `%+` is a whole time.
        "to_char" => sum.saturating_mul(17),
        "string_to_array" => sum.saturating_mul(FIXED_BYTES),
        "coalesce" | "nvl" | "nvl2" | "nullif" | "greatest" | "least" => {
            parts.iter().copied().max().unwrap_or(0)
        }
        // A list of nothing takes something.
        _ => plus(sum, parts.len().saturating_mul(FIXED_BYTES)),
    }
}

pub(super) fn of_literal(value: &ScalarValue) -> usize {
    match value {
        ScalarValue::Binary(Some(bytes))
        | ScalarValue::LargeBinary(Some(bytes))
        | ScalarValue::BinaryView(Some(bytes))
        | ScalarValue::FixedSizeBinary(_, Some(bytes)) => bytes.len(),
        text if text.try_as_str().is_some() => text.try_as_str().flatten().map_or(0, str::len),
        other if is_fixed(&other.data_type()) => FIXED_BYTES,
        other => other.size(),
    }
}

pub(super) fn is_fixed(of: &DataType) -> bool {
    matches!(of, DataType::Null | DataType::Boolean | DataType::FixedSizeBinary(_))
        || of.primitive_width().is_some()
}

pub(super) fn of_type(of: &DataType) -> usize {
    if is_fixed(of) { fixed_bytes(of).max(FIXED_BYTES) } else { COLUMN_BYTES }
}

/// The bytes that a value takes whatever it holds.
pub(super) fn fixed_bytes(of: &DataType) -> usize {
    let size = |size: i32| usize::try_from(size).unwrap_or(0);
    match of {
        DataType::FixedSizeBinary(bytes) => size(*bytes),
        DataType::FixedSizeList(item, count) => {
            size(*count).saturating_mul(fixed_bytes(item.data_type()).max(1))
        }
        DataType::List(item)
        | DataType::ListView(item)
        | DataType::LargeList(item)
        | DataType::LargeListView(item)
        | DataType::Map(item, _) => fixed_bytes(item.data_type()),
        DataType::Struct(fields) => fields
            .iter()
            .fold(0, |sum: usize, field| sum.saturating_add(fixed_bytes(field.data_type()))),
        DataType::Union(fields, _) => fields
            .iter()
            .fold(0, |sum: usize, (_, field)| sum.saturating_add(fixed_bytes(field.data_type()))),
        DataType::Dictionary(_, value) => fixed_bytes(value),
        DataType::RunEndEncoded(_, value) => fixed_bytes(value.data_type()),
        other => other.primitive_width().unwrap_or(1),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn no_text_grows_beyond_what_is_said() {
        let text = "aaaaaaaaaa";
        for (from, to) in [("a", "xyz"), ("a", ""), ("", "xyz"), ("aa", "x"), ("b", "xyz")] {
            let bound = multiplied("replace", &[text.len(), from.len(), to.len()], 0);
            let made = text.replace(from, to).len();
            assert!(made <= bound, "{from:?} to {to:?}: {made} of {bound}");
        }
        let list = multiplied("string_to_array", &[10, 0], 10);
        assert!(
            text.split("").collect::<Vec<_>>().join("xyz").len()
                <= multiplied("array_to_string", &[list, 3], list + 3)
        );
        assert!(["aa", "bb", "cc"].join(",").len() <= multiplied("concat_ws", &[1, 2, 2, 2], 7));
        assert_eq!(multiplied("replace", &[usize::MAX, 1, usize::MAX], usize::MAX), usize::MAX);
    }

    #[test]
    fn a_type_takes_its_size_wherever_it_stands() {
        let item = |of: DataType| Arc::new(Field::new("item", of, true));
        let id = DataType::FixedSizeBinary(16);
        let thousand = DataType::FixedSizeList(item(id.clone()), 1_000);
        for (of, bytes) in [
            (id.clone(), 16),
            (DataType::Int64, 8),
            (DataType::FixedSizeList(item(DataType::Utf8), 7), 7),
            (thousand.clone(), 16_000),
            (DataType::FixedSizeList(item(thousand.clone()), 10), 160_000),
            (DataType::List(item(thousand.clone())), 16_000),
            (DataType::Dictionary(Box::new(DataType::Int32), Box::new(thousand.clone())), 16_000),
            (DataType::Struct(vec![item(thousand.clone()), item(id)].into()), 16_016),
        ] {
            assert_eq!(fixed_bytes(&of), bytes, "{of}");
        }
    }
}
