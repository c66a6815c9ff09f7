//! Scalars other than texts: numbers, enums, ids and bytes, in every form that is legal.

use std::fmt;
use std::marker::PhantomData;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{Deserializer, Error, Visitor};

use super::read::{Form, Text, Trail};

/// What a malformed id becomes: no id has one byte, so admission refuses it and a field that is
/// merely absent stays distinct from it.
const MALFORMED_ID: [u8; 1] = [0];

/// An integer: `7`, `"7"`, `7.0`, `7e0`, `"7e0"`.
pub(super) struct Integer<T>(PhantomData<T>);

impl<T: Default + TryFrom<i128>> Form for Integer<T> {
    type Value = T;
    fn read<'de, D: Deserializer<'de>>(json: D, _: &Trail) -> Result<T, D::Error> {
        let wide = json.deserialize_any(IntegerVisitor { text: true })?;
        T::try_from(wide).map_err(|_| D::Error::custom(format!("{wide} is out of range")))
    }
}

/// The number of an enum. Names are legal ProtoJSON, but OTLP forbids them.
pub(super) struct Enumeration;

impl Form for Enumeration {
    type Value = i32;
    fn read<'de, D: Deserializer<'de>>(json: D, _: &Trail) -> Result<i32, D::Error> {
        let wide = json.deserialize_any(IntegerVisitor { text: false })?;
        i32::try_from(wide).map_err(|_| D::Error::custom(format!("{wide} is out of range")))
    }
}

struct IntegerVisitor {
    /// Whether a text may stand for the number.
    text: bool,
}

impl Visitor<'_> for IntegerVisitor {
    type Value = i128;
    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an integer")
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<i128, E> {
        Ok(i128::from(value))
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<i128, E> {
        Ok(i128::from(value))
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<i128, E> {
        whole(value).ok_or_else(|| E::custom(format!("{value} is not an integer")))
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<i128, E> {
        if !self.text {
            return Err(E::custom("enum names are not allowed by OTLP/JSON"));
        }
        text.parse::<i64>()
            .map(i128::from)
            .or_else(|_| text.parse::<u64>().map(i128::from))
            .ok()
            .or_else(|| text.parse::<f64>().ok().and_then(whole))
            .ok_or_else(|| E::custom(format!("{text:.40?} is not an integer")))
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
    fn read<'de, D: Deserializer<'de>>(json: D, _: &Trail) -> Result<f64, D::Error> {
        json.deserialize_any(DoubleVisitor)
    }
}

struct DoubleVisitor;

impl Visitor<'_> for DoubleVisitor {
    type Value = f64;
    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a number")
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<f64, E> {
        Ok(value as f64)
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<f64, E> {
        Ok(value as f64)
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<f64, E> {
        Ok(value)
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<f64, E> {
        // Rust reads `NaN`, `Infinity` and `-Infinity` as the standard writes them.
        text.parse().map_err(|_| E::custom(format!("{text:.40?} is not a number")))
    }
}

/// `true` or `false`.
pub(super) struct Boolean;

impl Form for Boolean {
    type Value = bool;
    fn read<'de, D: Deserializer<'de>>(json: D, _: &Trail) -> Result<bool, D::Error> {
        serde::Deserialize::deserialize(json)
    }
}

/// A trace or span id: hexadecimal of either case, any length.
pub(super) struct Id;

impl Form for Id {
    type Value = Vec<u8>;
    fn read<'de, D: Deserializer<'de>>(json: D, trail: &Trail) -> Result<Vec<u8>, D::Error> {
        Text::read(json, trail).map(|text| id(&text))
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
        let text = Text::read(json, trail)?.replace('-', "+").replace('_', "/");
        ANY.decode(text).map_err(|error| D::Error::custom(format!("not base64: {error}")))
    }
}
