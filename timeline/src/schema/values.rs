//! Column types that are more than a number or a text: times, labels, attribute maps.

use std::fmt;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, MapBuilder, MapFieldNames, StringBuilder, StringDictionaryBuilder,
    TimestampNanosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Int32Type, TimeUnit};
use serde::{Deserialize, Serialize};

use super::{Column, UNKNOWN};

/// A point in time: nanoseconds since the Unix epoch, UTC.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Time(pub i64);

impl Time {
    /// The time `us` microseconds later (or earlier, if negative), clamped to what 64 bits hold.
    pub fn plus_us(self, us: i64) -> Self {
        Self(self.0.saturating_add(us.saturating_mul(1_000)))
    }

    /// Microseconds from `earlier` to this; negative where `earlier` is later.
    pub fn us_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0) / 1_000
    }
}

fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some(Arc::from("UTC")))
}

impl Column for Time {
    type Builder = TimestampNanosecondBuilder;
    const NULLABLE: bool = false;
    fn data_type() -> DataType {
        time_type()
    }
    fn builder() -> Self::Builder {
        TimestampNanosecondBuilder::new().with_data_type(time_type())
    }
    fn append(&self, builder: &mut Self::Builder) {
        builder.append_value(self.0);
    }
    fn finish(builder: &mut Self::Builder) -> ArrayRef {
        Arc::new(builder.finish())
    }
}

/// A text of few distinct values: a service, a route, a region.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Label(pub Arc<str>);

impl Label {
    /// The label of this text.
    pub fn new(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The label `unknown`.
    pub fn unknown() -> Self {
        Self::new(UNKNOWN)
    }

    /// The label of this text, or `unknown` where it is empty.
    pub fn or_unknown(text: &str) -> Self {
        Self::new(if text.is_empty() { UNKNOWN } else { text })
    }

    /// Whether nothing is known.
    pub fn is_unknown(&self) -> bool {
        &*self.0 == UNKNOWN
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Label {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, out)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl PartialEq<str> for Label {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for Label {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

/// Keys are 32 bits wide: a batch of a busy head may hold more than 65,536 distinct routes.
type LabelBuilder = StringDictionaryBuilder<Int32Type>;

fn label_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

impl Column for Label {
    type Builder = LabelBuilder;
    const NULLABLE: bool = false;
    fn data_type() -> DataType {
        label_type()
    }
    fn builder() -> LabelBuilder {
        LabelBuilder::new()
    }
    fn append(&self, builder: &mut LabelBuilder) {
        builder.append_value(&*self.0);
    }
    fn finish(builder: &mut LabelBuilder) -> ArrayRef {
        Arc::new(builder.finish())
    }
}

impl Column for Option<Label> {
    type Builder = LabelBuilder;
    const NULLABLE: bool = true;
    fn data_type() -> DataType {
        label_type()
    }
    fn builder() -> LabelBuilder {
        LabelBuilder::new()
    }
    fn append(&self, builder: &mut LabelBuilder) {
        builder.append_option(self.as_ref().map(|label| &*label.0));
    }
    fn finish(builder: &mut LabelBuilder) -> ArrayRef {
        Arc::new(builder.finish())
    }
}

/// Attributes as text, in the sender's names and order: a string as it is, any other OTLP value
/// as JSON. Cheap to clone; the spans of one resource share theirs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes(pub Arc<[(Box<str>, Box<str>)]>);

impl Attributes {
    /// No attributes.
    pub fn empty() -> Self {
        Self(Arc::from([]))
    }

    /// The value of `key`; the last one where a sender repeats it.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().rev().find(|(name, _)| &**name == key).map(|(_, value)| &**value)
    }

    /// How many bytes of text they hold.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|(key, value)| key.len() + value.len()).sum()
    }
}

impl FromIterator<(String, String)> for Attributes {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(key, value)| (key.into_boxed_str(), value.into_boxed_str()))
                .collect(),
        )
    }
}

type AttributesBuilder = MapBuilder<StringBuilder, StringBuilder>;

fn attributes_builder() -> AttributesBuilder {
    let names = MapFieldNames {
        entry: String::from("entries"),
        key: String::from("key"),
        value: String::from("value"),
    };
    MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new())
}

impl Column for Attributes {
    type Builder = AttributesBuilder;
    const NULLABLE: bool = false;
    fn data_type() -> DataType {
        let entries = DataType::Struct(
            vec![
                Field::new("key", DataType::Utf8, false),
                Field::new("value", DataType::Utf8, true),
            ]
            .into(),
        );
        DataType::Map(Arc::new(Field::new("entries", entries, false)), false)
    }
    fn builder() -> AttributesBuilder {
        attributes_builder()
    }
    fn append(&self, builder: &mut AttributesBuilder) {
        for (key, value) in self.0.iter() {
            builder.keys().append_value(key);
            builder.values().append_value(value);
        }
        builder.append(true).expect("keys and values were appended in pairs");
    }
    fn finish(builder: &mut AttributesBuilder) -> ArrayRef {
        Arc::new(builder.finish())
    }
}
