//! The reader: objects, arrays and texts, streamed from the bytes into the structs.
//!
//! There is no tree of JSON values in between; at the size limit of a body that tree would be
//! gigabytes. The path of an error is put together while the error travels up, so that a good
//! body pays nothing for it.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::JsonError;

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
    let trail = Trail {
        segments: RefCell::new(Vec::new()),
        depth: Cell::new(0),
        budget_bytes: Cell::new(body.len().saturating_mul(GROWTH_MAX) + GROWTH_FREE_BYTES),
        is_odd: Cell::new(false),
        first_odd: RefCell::new(None),
    };
    let mut json = serde_json::Deserializer::from_slice(body);
    One::<M>::read(&mut json, &trail).and_then(|message| json.end().map(|()| message)).map_err(
        |error| {
            // What was passed over as odd may have been what is in the way here.
            if let Some(odd) = trail.first_odd.take().filter(|_| error.is_syntax()) {
                return odd;
            }
            let broken = error.is_syntax() || error.is_eof();
            let what = if broken { "not valid JSON: " } else { "" };
            JsonError { path: trail.path(), message: format!("{what}{error}") }
        },
    )
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

    /// Reads the value of `key` into its field, or skips it.
    fn field<'de, A: MapAccess<'de>>(
        &mut self,
        key: &str,
        reader: &mut Reader<'_, A>,
    ) -> Result<(), A::Error>;

    /// Marks it as one that has an odd field.
    fn spoil(&mut self) {}
}

/// A form that a value has on the wire, and the type it has in the structs.
pub(super) trait Form {
    /// Whether it is a text, of which another value is passed over.
    const IS_TEXT: bool = false;
    /// The type in the structs; its default stands for absent and `null`.
    type Value: Default;
    /// Reads one value that is not `null`.
    fn read<'de, D: Deserializer<'de>>(json: D, trail: &Trail) -> Result<Self::Value, D::Error>;
}

/// What the whole reading of one body shares.
pub(super) struct Trail {
    /// The path of the error, innermost first.
    segments: RefCell<Vec<String>>,
    depth: Cell<u32>,
    budget_bytes: Cell<usize>,
    /// Whether a field was odd since the message that is read began.
    is_odd: Cell<bool>,
    first_odd: RefCell<Option<JsonError>>,
}

impl Trail {
    /// A field has not the type that it should have.
    fn odd(&self) {
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
    fn charge<E: Error>(&self, bytes: usize) -> Result<(), E> {
        let left = self.budget_bytes.get().checked_sub(bytes);
        self.budget_bytes.set(left.unwrap_or(0));
        left.map(|_| ()).ok_or_else(|| E::custom("too many empty elements for so small a body"))
    }
}

/// Reads the value that follows a key.
pub(super) struct Reader<'a, A> {
    map: &'a mut A,
    trail: &'a Trail,
}

impl<'de, A: MapAccess<'de>> Reader<'_, A> {
    /// The value, or `None` for `null` and for what is odd.
    pub(super) fn value<F: Form>(
        &mut self,
        key: &'static str,
    ) -> Result<Option<F::Value>, A::Error> {
        let read = self.map.next_value_seed(Seed::<F>::new(self.trail));
        match read {
            // Either it was one token of another type, which has been read; or more, or none at all,
            // and then what follows is not what may follow a value, which ends the reading.
            Err(error) if F::IS_TEXT => {
                self.trail.odd();
                let (path, message) = (String::from(key), error.to_string());
                self.trail.first_odd.borrow_mut().get_or_insert(JsonError { path, message });
                Ok(None)
            }
            read => read.inspect_err(|_| {
                self.trail.segments.borrow_mut().push(String::from(key));
            }),
        }
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
struct Seed<'t, F> {
    trail: &'t Trail,
    form: PhantomData<F>,
}

impl<'t, F> Seed<'t, F> {
    fn new(trail: &'t Trail) -> Self {
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

/// An object.
pub(super) struct One<M>(PhantomData<M>);

impl<M: Message> Form for One<M> {
    type Value = M;
    fn read<'de, D: Deserializer<'de>>(json: D, trail: &Trail) -> Result<M, D::Error> {
        let before = trail.is_odd.replace(false);
        let mut message = json.deserialize_map(MessageVisitor::<M>(trail, PhantomData))?;
        let is_odd = trail.is_odd.replace(before);
        match M::ODD {
            Odd::Spoil if is_odd => message.spoil(),
            Odd::Pass => trail.is_odd.set(before || is_odd),
            Odd::Spoil | Odd::Forgive => {}
        }
        Ok(message)
    }
}

struct MessageVisitor<'t, M>(&'t Trail, PhantomData<M>);

impl<'de, M: Message> Visitor<'de> for MessageVisitor<'_, M> {
    type Value = M;
    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<M, A::Error> {
        let mut message = M::default();
        while let Some(key) = map.next_key_seed(TextVisitor)? {
            message.field(&key, &mut Reader { map: &mut map, trail: self.0 })?;
        }
        Ok(message)
    }
}

/// A field that may be absent, and knows it.
pub(super) struct Maybe<F>(PhantomData<F>);

impl<F: Form> Form for Maybe<F> {
    type Value = Option<F::Value>;
    fn read<'de, D: Deserializer<'de>>(json: D, trail: &Trail) -> Result<Self::Value, D::Error> {
        F::read(json, trail).map(Some)
    }
}

/// An array; a `null` in it is the default of its elements, which keeps the others' places.
pub(super) struct Many<F>(PhantomData<F>);

impl<F: Form> Form for Many<F> {
    type Value = Vec<F::Value>;
    fn read<'de, D: Deserializer<'de>>(json: D, trail: &Trail) -> Result<Self::Value, D::Error> {
        json.deserialize_seq(ManyVisitor::<F>(trail, PhantomData))
    }
}

struct ManyVisitor<'t, F>(&'t Trail, PhantomData<F>);

impl<'de, F: Form> Visitor<'de> for ManyVisitor<'_, F> {
    type Value = Vec<F::Value>;
    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an array")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        loop {
            let next = elements.next_element_seed(Seed::<F>::new(self.0)).inspect_err(|_| {
                self.0.segments.borrow_mut().push(format!("[{}]", values.len()));
            })?;
            let Some(value) = next else { return Ok(values) };
            self.0.charge(size_of::<F::Value>())?;
            values.push(value.unwrap_or_default());
        }
    }
}

/// A text.
pub(super) struct Text;

impl Form for Text {
    const IS_TEXT: bool = true;
    type Value = String;
    fn read<'de, D: Deserializer<'de>>(json: D, _: &Trail) -> Result<String, D::Error> {
        TextVisitor.deserialize(json).map(Cow::into_owned)
    }
}

/// Reads a text as bytes, because only so does `serde_json` let pass what is not Unicode.
pub(super) struct TextVisitor;

impl<'de> DeserializeSeed<'de> for TextVisitor {
    type Value = Cow<'de, str>;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Cow<'de, str>, D::Error> {
        json.deserialize_bytes(self)
    }
}

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Cow<'de, str>;
    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a string")
    }
    fn visit_borrowed_bytes<E: Error>(self, bytes: &'de [u8]) -> Result<Cow<'de, str>, E> {
        Ok(String::from_utf8_lossy(bytes))
    }
    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(String::from_utf8_lossy(bytes).into_owned()))
    }
}
