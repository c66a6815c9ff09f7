//! The reader: what a message is, and what reading one body shares, streamed from the bytes into the
//! structs.
//!
//! There is no tree of JSON values in between; at the size limit of a body that tree would be
//! gigabytes. What is of another type than it should be is read to its end all the same, so that the
//! reading goes on behind it. The path of an error is put together while the error travels up, so
//! that a good body pays nothing for it.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::structure::MessageVisitor;
use super::{JsonError, overlong, unicode};

/// How many arrays and key-value lists may stand inside each other when read. Each list costs
/// three levels of protobuf (of 100 that prost reads) and four of JSON (of 127 that `serde_json`
/// reads); 24 fit both everywhere in a request. Deeper ones are read as absent.
pub(in crate::decode) const DEPTH_READ_MAX: u32 = 24;

/// How many bytes of structs one byte of JSON may become. An attribute of one letter is about
/// twice its JSON; `{},` repeated is a hundred times, and is an attack.
const GROWTH_MAX: usize = 8;

/// What any body may become, however small: one resource with one span is half a kilobyte.
const GROWTH_FREE_BYTES: usize = 64 * 1024;

/// Reads a whole body as one message.
pub(super) fn document<M: Message>(body: &[u8]) -> Result<M, JsonError> {
    let text = unicode::text(body)?;
    read(&text).or_else(|error| overlong::quoted(&text).map_or(Err(error), |text| read(&text)))
}

fn read<M: Message>(text: &str) -> Result<M, JsonError> {
    let trail = Trail {
        segments: RefCell::new(Vec::new()),
        depth: Cell::new(0),
        budget_bytes: Cell::new(text.len().saturating_mul(GROWTH_MAX) + GROWTH_FREE_BYTES),
        is_odd: Cell::new(false),
    };
    let mut json = serde_json::Deserializer::from_str(text);
    // Only here must it be an object: of what is none, nothing can be kept.
    let message = json.deserialize_map(MessageVisitor::<M>::new(&trail));
    message.and_then(|message| json.end().map(|()| message)).map_err(|error| {
        let broken = error.is_syntax() || error.is_eof();
        let what = if broken { "not valid JSON: " } else { "" };
        JsonError { path: trail.path(), message: format!("{what}{error}") }
    })
}

/// What becomes of a message with a field that has not the type it should have, such as a time
/// that is a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Odd {
    /// The field is absent.
    Forgive,
    /// It is a part of a record, which is told.
    Pass,
    /// It is a record, or stands for one, and [`Message::spoil`] marks it.
    Spoil,
}

/// A message of the standard: a struct that is an object in JSON.
pub(super) trait Message: Default {
    /// What an odd field in it does.
    const ODD: Odd = Odd::Forgive;

    /// What one that is no object holds beside itself, in bytes: the record that is counted for it.
    const ODD_BYTES: usize = 0;

    /// Reads the value of `key` into its field, or skips it.
    fn field<'de, A: MapAccess<'de>>(
        &mut self,
        key: &str,
        reader: &mut Reader<'_, A>,
    ) -> Result<(), A::Error>;

    /// Marks it as one that has an odd field.
    fn spoil(&mut self) {}

    /// What stands in place of what is no object.
    fn odd() -> Self {
        let mut message = Self::default();
        message.spoil();
        message
    }
}

/// A form that a value has on the wire, and the type it has in the structs.
pub(super) trait Form {
    /// What an odd one holds beside itself, in bytes.
    const ODD_BYTES: usize = 0;

    /// The type in the structs; its default stands for absent and `null`.
    type Value: Default;

    /// Reads one value that is not `null`, of whatever type.
    fn read<'de, D: Deserializer<'de>>(json: D, trail: &Trail) -> Result<Self::Value, D::Error>;

    /// What stands for the elements of an array that is none.
    fn odd() -> Self::Value {
        Self::Value::default()
    }
}

/// What the whole reading of one body shares.
pub(super) struct Trail {
    /// The path of the error, innermost first.
    pub(super) segments: RefCell<Vec<String>>,
    depth: Cell<u32>,
    budget_bytes: Cell<usize>,
    /// Whether a field was odd since the message that is read began.
    pub(super) is_odd: Cell<bool>,
}

impl Trail {
    /// A field has not the type that it should have.
    pub(super) fn odd(&self) {
        self.is_odd.set(true);
    }

    /// The value of a field, or its default where it is odd.
    pub(super) fn expect<T: Default>(&self, value: Option<T>) -> T {
        value.unwrap_or_else(|| {
            self.odd();
            T::default()
        })
    }

    fn path(&self) -> String {
        let mut path = String::new();
        for segment in self.segments.borrow().iter().rev() {
            if !path.is_empty() && !segment.starts_with('[') {
                path.push('.');
            }
            path.push_str(segment);
        }
        path
    }

    /// Takes an element's memory off the budget.
    pub(super) fn charge<E: Error>(&self, bytes: usize) -> Result<(), E> {
        let left = self.budget_bytes.get().checked_sub(bytes);
        self.budget_bytes.set(left.unwrap_or(0));
        left.map(|_| ()).ok_or_else(|| {
            E::custom("too many elements that are empty or of a wrong type for so small a body")
        })
    }
}

/// Reads the value that follows a key.
pub(super) struct Reader<'a, A> {
    map: &'a mut A,
    trail: &'a Trail,
}

impl<'a, A> Reader<'a, A> {
    pub(super) fn new(map: &'a mut A, trail: &'a Trail) -> Self {
        Self { map, trail }
    }
}

impl<'de, A: MapAccess<'de>> Reader<'_, A> {
    /// The value, or `None` for `null`.
    pub(super) fn value<F: Form>(
        &mut self,
        key: &'static str,
    ) -> Result<Option<F::Value>, A::Error> {
        let read = self.map.next_value_seed(Seed::<F>::new(self.trail));
        read.inspect_err(|_| self.trail.segments.borrow_mut().push(String::from(key)))
    }

    /// Puts the value into `target`; `null` is the default.
    pub(super) fn set<F: Form>(
        &mut self,
        key: &'static str,
        target: &mut F::Value,
    ) -> Result<(), A::Error> {
        *target = self.value::<F>(key)?.unwrap_or_default();
        Ok(())
    }

    /// The value one level deeper, or `None` where that is too deep or `null`.
    pub(super) fn nested<F: Form>(
        &mut self,
        key: &'static str,
    ) -> Result<Option<F::Value>, A::Error> {
        let depth = self.trail.depth.get() + 1;
        if depth > DEPTH_READ_MAX {
            self.skip()?;
            return Ok(None);
        }
        self.trail.depth.set(depth);
        let value = self.value::<F>(key);
        self.trail.depth.set(depth - 1);
        value
    }

    /// Passes over the value, whatever it is; without recursion, so at any depth.
    pub(super) fn skip(&mut self) -> Result<(), A::Error> {
        self.map.next_value::<IgnoredAny>().map(|_| ())
    }
}

/// Reads a value of form `F`, or `null`.
pub(super) struct Seed<'t, F> {
    trail: &'t Trail,
    form: PhantomData<F>,
}

impl<'t, F> Seed<'t, F> {
    pub(super) fn new(trail: &'t Trail) -> Self {
        Self { trail, form: PhantomData }
    }
}

impl<'de, F: Form> DeserializeSeed<'de> for Seed<'_, F> {
    type Value = Option<F::Value>;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_option(self)
    }
}

impl<'de, F: Form> Visitor<'de> for Seed<'_, F> {
    type Value = Option<F::Value>;
    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a value or null")
    }
    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_some<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        F::read(json, self.trail).map(Some)
    }
}
