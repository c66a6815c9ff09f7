//! Scalars: texts, numbers, enums, ids and bytes, in every form that is legal.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::read::{Form, Trail};

/// What a malformed id becomes: no id has one byte, so admission refuses it and a field that is
/// merely absent stays distinct from it.
const MALFORMED_ID: [u8; 1] = [0];

/// A text.
pub(super) struct Text;

impl Form for Text {
    type Value = String;
    fn read<'de, D: Deserializer<'de>>(json: D, trail: &Trail) -> Result<String, D::Error> {
        Ok(trail.expect(match json.deserialize_any(Scalar)? {
            Token::Text(text) => Some(text.into_owned()),
            _ => None,
        }))
    }
}

/// An integer: `7`, `"7"`, `7.0`, `7e0`, `"7e0"`.
pub(super) struct Integer<T>(PhantomData<T>);

impl<T: Default + TryFrom<i128>> Form for Integer<T> {
    type Value = T;
    fn read<'de, D: Deserializer<'de>>(json: D, trail: &Trail) -> Result<T, D::Error> {
        let read = |text: &str| {
            let integer = text.parse::<i64>().map(i128::from);
            let integer = integer.or_else(|_| text.parse::<u64>().map(i128::from)).ok();
            integer.or_else(|| text.parse::<f64>().ok().and_then(whole))
        };
        let wide = match json.deserialize_any(Scalar)? {
            Token::Integer(wide) => Some(wide),
            Token::Double(value) => whole(value),
            Token::Text(text) => read(&text),
            Token::Boolean(_) | Token::Other => None,
        };
        Ok(trail.expect(wide.and_then(|wide| T::try_from(wide).ok())))
    }
}

/// The number of an enum. Names are legal ProtoJSON, but OTLP forbids them.
pub(super) struct Enumeration;

impl Form for Enumeration {
    type Value = i32;
    fn read<'de, D: Deserializer<'de>>(json: D, trail: &Trail) -> Result<i32, D::Error> {
        let wide = match json.deserialize_any(Scalar)? {
            Token::Integer(wide) => Some(wide),
            Token::Double(value) => whole(value),
            _ => None,
        };
        Ok(trail.expect(wide.and_then(|wide| i32::try_from(wide).ok())))
    }
}

/// One value of any type: what is not of the wanted one is read all the same, so that the reading
/// goes on behind it.
pub(super) enum Token<'de> {
    Integer(i128),
    Double(f64),
    Text(Cow<'de, str>),
    Boolean(bool),
    /// An array or an object.
    Other,
}

pub(super) struct Scalar;

impl<'de> Visitor<'de> for Scalar {
    type Value = Token<'de>;
    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a value")
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<Token<'de>, E> {
        Ok(Token::Integer(i128::from(value)))
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<Token<'de>, E> {
        Ok(Token::Integer(i128::from(value)))
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Token<'de>, E> {
        Ok(Token::Double(value))
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Token<'de>, E> {
        Ok(Token::Text(Cow::Owned(String::from(text))))
    }
    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Token<'de>, E> {
        Ok(Token::Text(Cow::Borrowed(text)))
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<Token<'de>, E> {
        Ok(Token::Boolean(value))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Token<'de>, A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Token::Other)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Token<'de>, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Token::Other)
    }
}

fn whole(value: f64) -> Option<i128> {
    // Infinity and NaN have no fraction of zero either.
    (value.fract() == 0.0).then_some(value as i128)
}

/// A double: a number, a number in a string, or one of the three words.
pub(super) struct Double;

impl Form for Double {
    type Value = f64;
    fn read<'de, D: Deserializer<'de>>(json: D, trail: &Trail) -> Result<f64, D::Error> {
        Ok(trail.expect(match json.deserialize_any(Scalar)? {
            Token::Integer(value) => Some(value as f64),
            Token::Double(value) => Some(value),
            // Rust reads `NaN`, `Infinity` and `-Infinity` as the standard writes them.
            Token::Text(text) => text.parse().ok(),
            Token::Boolean(_) | Token::Other => None,
        }))
    }
}

/// `true` or `false`.
pub(super) struct Boolean;

impl Form for Boolean {
    type Value = bool;
    fn read<'de, D: Deserializer<'de>>(json: D, trail: &Trail) -> Result<bool, D::Error> {
        Ok(trail.expect(match json.deserialize_any(Scalar)? {
            Token::Boolean(value) => Some(value),
            _ => None,
        }))
    }
}

/// A trace or span id: hexadecimal of either case, any length.
pub(super) struct Id;

impl Form for Id {
    type Value = Vec<u8>;
    fn read<'de, D: Deserializer<'de>>(json: D, trail: &Trail) -> Result<Vec<u8>, D::Error> {
        Ok(trail.expect(match json.deserialize_any(Scalar)? {
            Token::Text(text) => Some(id(&text)),
            _ => None,
        }))
    }
}

fn id(text: &str) -> Vec<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some((digit(*high)? << 4 | digit(*low)?) as u8),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(pair).collect();
    bytes.unwrap_or_else(|| MALFORMED_ID.to_vec())
}

/// Bytes other than ids: base64, of either alphabet, padded or not.
pub(super) struct Base64;

impl Form for Base64 {
    type Value = Vec<u8>;
    fn read<'de, D: Deserializer<'de>>(json: D, trail: &Trail) -> Result<Vec<u8>, D::Error> {
        const ANY: GeneralPurpose = GeneralPurpose::new(
            &STANDARD,
            GeneralPurposeConfig::new()
                .with_decode_padding_mode(DecodePaddingMode::Indifferent)
                .with_decode_allow_trailing_bits(true),
        );
        Ok(trail.expect(match json.deserialize_any(Scalar)? {
            Token::Text(text) => ANY.decode(text.replace('-', "+").replace('_', "/")).ok(),
            _ => None,
        }))
    }
}
