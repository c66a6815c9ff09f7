//! An OTLP value as text, integer or number.
//!
//! Total over `AnyValue`: every value has a text, of bounded length. A string is itself; anything
//! else is JSON, where bytes are base64 and the numbers that JSON lacks are the words `NaN`,
//! `Infinity` and `-Infinity` (in quotes inside a list).

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;

/// The longest text of one value: a stack trace fits, a page's source does not. Longer ones are
/// cut, at which a list's text ceases to be JSON.
pub(super) const TEXT_BYTES_MAX: usize = 16 * 1024;

/// The value as text, at most [`TEXT_BYTES_MAX`] long.
pub(super) fn text(value: &AnyValue) -> Cow<'_, str> {
    match &value.value {
        Some(Value::StringValue(text)) => Cow::Borrowed(cut(text, TEXT_BYTES_MAX)),
        Some(Value::BytesValue(bytes)) => Cow::Owned(base64(bytes)),
        Some(Value::DoubleValue(double)) => Cow::Owned(double_text(*double)),
        _ => {
            let mut json = String::new();
            write(value, &mut json);
            json.truncate(cut(&json, TEXT_BYTES_MAX).len());
            Cow::Owned(json)
        }
    }
}

/// The value as an integer: one, a whole double, or a decimal text of one.
pub(super) fn integer(value: &AnyValue) -> Option<i64> {
    match &value.value {
        Some(Value::IntValue(integer)) => Some(*integer),
        Some(Value::DoubleValue(double)) if double.fract() == 0.0 => Some(*double as i64),
        Some(Value::StringValue(text)) => text.trim().parse().ok(),
        _ => None,
    }
}

/// The value as a number.
pub(super) fn number(value: &AnyValue) -> Option<f64> {
    match &value.value {
        Some(Value::IntValue(integer)) => Some(*integer as f64),
        Some(Value::DoubleValue(double)) => Some(*double),
        Some(Value::StringValue(text)) => text.trim().parse().ok(),
        _ => None,
    }
}

/// The longest beginning of `text` that has at most `bytes` bytes.
pub(super) fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// Writes JSON until the limit is reached; what follows is left out.
fn write(value: &AnyValue, json: &mut String) {
    if json.len() >= TEXT_BYTES_MAX {
        return;
    }
    match &value.value {
        Some(Value::StringValue(text)) => quote(text, json),
        Some(Value::BoolValue(boolean)) => json.push_str(if *boolean { "true" } else { "false" }),
        Some(Value::IntValue(integer)) => json.push_str(&integer.to_string()),
        Some(Value::DoubleValue(double)) if double.is_finite() => {
            json.push_str(&double_text(*double));
        }
        Some(Value::DoubleValue(double)) => quote(&double_text(*double), json),
        Some(Value::BytesValue(bytes)) => quote(&base64(bytes), json),
        Some(Value::ArrayValue(array)) => {
            list(json, ['[', ']'], &array.values, write);
        }
        Some(Value::KvlistValue(pairs)) => list(json, ['{', '}'], &pairs.values, |pair, json| {
            quote(&pair.key, json);
            json.push(':');
            write(pair.value.as_ref().unwrap_or(&AnyValue { value: None }), json);
        }),
        // The index into a table belongs to profiles; elsewhere it reads as absent.
        Some(Value::StringValueStrindex(_)) | None => json.push_str("null"),
    }
}

fn list<T>(json: &mut String, brackets: [char; 2], items: &[T], each: impl Fn(&T, &mut String)) {
    json.push(brackets[0]);
    for (index, item) in items.iter().enumerate() {
        if json.len() >= TEXT_BYTES_MAX {
            return;
        }
        if index > 0 {
            json.push(',');
        }
        each(item, json);
    }
    json.push(brackets[1]);
}

fn quote(text: &str, json: &mut String) {
    let quoted = serde_json::to_string(cut(text, TEXT_BYTES_MAX));
    json.push_str(&quoted.expect("a text is JSON, and memory does not fail to be written"));
}

fn base64(bytes: &[u8]) -> String {
    // Three bytes become four characters.
    STANDARD.encode(&bytes[..bytes.len().min(TEXT_BYTES_MAX / 4 * 3)])
}

fn double_text(double: f64) -> String {
    match double {
        f64::INFINITY => String::from("Infinity"),
        f64::NEG_INFINITY => String::from("-Infinity"),
        // The shortest text that reads back as the same double, with an exponent where long.
        double => format!("{double:?}"),
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::{ArrayValue, KeyValue, KeyValueList};

    use super::*;

    fn any(value: Value) -> AnyValue {
        AnyValue { value: Some(value) }
    }

    fn array(values: Vec<AnyValue>) -> AnyValue {
        any(Value::ArrayValue(ArrayValue { values }))
    }

    fn list_of(pairs: &[(&str, Option<AnyValue>)]) -> AnyValue {
        let pair = |(key, value): &(&str, Option<AnyValue>)| KeyValue {
            key: String::from(*key),
            value: value.clone(),
            ..KeyValue::default()
        };
        any(Value::KvlistValue(KeyValueList { values: pairs.iter().map(pair).collect() }))
    }

    #[test]
    fn every_value_has_a_text() {
        for (value, expected) in [
            (AnyValue { value: None }, "null"),
            (any(Value::StringValue("a \"b\"".into())), "a \"b\""),
            (any(Value::StringValue(String::new())), ""),
            (any(Value::BoolValue(true)), "true"),
            (any(Value::IntValue(i64::MIN)), "-9223372036854775808"),
            (any(Value::DoubleValue(1.0)), "1.0"),
            (any(Value::DoubleValue(1e300)), "1e300"),
            (any(Value::DoubleValue(f64::NAN)), "NaN"),
            (any(Value::DoubleValue(f64::NEG_INFINITY)), "-Infinity"),
            (any(Value::BytesValue(vec![0xfb, 0xff])), "+/8="),
            (any(Value::StringValueStrindex(3)), "null"),
            (array(vec![]), "[]"),
            (
                array(vec![
                    any(Value::StringValue("\"\n".into())),
                    any(Value::DoubleValue(f64::NAN)),
                ]),
                r#"["\"\n","NaN"]"#,
            ),
            (
                list_of(&[("a", None), ("b", Some(any(Value::BytesValue(vec![1]))))]),
                r#"{"a":null,"b":"AQ=="}"#,
            ),
        ] {
            assert_eq!(text(&value), expected);
        }
    }

    #[test]
    fn every_text_is_bounded() {
        let long = any(Value::StringValue("ü".repeat(TEXT_BYTES_MAX)));
        for value in [
            any(Value::BytesValue(vec![0; TEXT_BYTES_MAX * 2])),
            array(vec![long.clone(), long.clone()]),
            array(vec![AnyValue { value: None }; TEXT_BYTES_MAX]),
            list_of(&[("k", Some(any(Value::StringValue("\u{1}".repeat(TEXT_BYTES_MAX)))))]),
            long,
        ] {
            let length = text(&value).len();
            assert!(length <= TEXT_BYTES_MAX && length > TEXT_BYTES_MAX - 8, "{length}");
        }
    }

    #[test]
    fn numbers_are_read_from_any_form() {
        for (value, expected) in [
            (Value::IntValue(200), Some(200)),
            (Value::DoubleValue(200.0), Some(200)),
            (Value::DoubleValue(200.5), None),
            (Value::DoubleValue(f64::NAN), None),
            (Value::StringValue(" 200 ".into()), Some(200)),
            (Value::StringValue("many".into()), None),
            (Value::BoolValue(true), None),
        ] {
            assert_eq!(integer(&any(value)), expected);
        }
        assert_eq!(number(&any(Value::StringValue("1.5".into()))), Some(1.5));
    }
}
