//! Objects and arrays, and what stands in their place where another type does.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::read::{Form, Message, Odd, Reader, Seed, Trail};

/// The scalars where an object or an array should be: read already, and odd.
macro_rules! no_scalar {
    () => {
        fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
            self.odd()
        }
        fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
            self.odd()
        }
        fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
            self.odd()
        }
        fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
            self.odd()
        }
        fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
            self.odd()
        }
    };
}

/// An object.
pub(super) struct One<M>(PhantomData<M>);

impl<M: Message> Form for One<M> {
    const ODD_BYTES: usize = M::ODD_BYTES;
    type Value = M;

    fn read<'de, D: Deserializer<'de>>(json: D, trail: &Trail) -> Result<M, D::Error> {
        let before = trail.is_odd.replace(false);
        let mut message = json.deserialize_any(MessageVisitor::<M>::new(trail))?;
        let is_odd = trail.is_odd.replace(before);
        match M::ODD {
            Odd::Spoil if is_odd => message.spoil(),
            Odd::Pass => trail.is_odd.set(before || is_odd),
            Odd::Spoil | Odd::Forgive => {}
        }
        Ok(message)
    }

    fn odd() -> M {
        M::odd()
    }
}

/// Reads the fields of a message.
pub(super) struct MessageVisitor<'t, M>(&'t Trail, PhantomData<M>);

impl<'t, M: Message> MessageVisitor<'t, M> {
    pub(super) fn new(trail: &'t Trail) -> Self {
        Self(trail, PhantomData)
    }

    fn odd<E: Error>(self) -> Result<M, E> {
        self.0.odd();
        self.0.charge(M::ODD_BYTES)?;
        Ok(M::odd())
    }
}

impl<'de, M: Message> Visitor<'de> for MessageVisitor<'_, M> {
    type Value = M;
    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<M, A::Error> {
        let mut message = M::default();
        while let Some(key) = map.next_key_seed(Key)? {
            message.field(&key, &mut Reader::new(&mut map, self.0))?;
        }
        Ok(message)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<M, A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        self.odd()
    }
    no_scalar!();
}

/// Reads a key, without a copy where it has no escapes.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;
    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a key")
    }
    fn visit_borrowed_str<E: Error>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }
    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(String::from(key)))
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

/// An array; a `null` in it is the default of its elements, which keeps the others' places. What is no
/// array is one odd element.
pub(super) struct Many<F>(PhantomData<F>);

impl<F: Form> Form for Many<F> {
    type Value = Vec<F::Value>;
    fn read<'de, D: Deserializer<'de>>(json: D, trail: &Trail) -> Result<Self::Value, D::Error> {
        json.deserialize_any(ManyVisitor::<F>(trail, PhantomData))
    }
}

struct ManyVisitor<'t, F>(&'t Trail, PhantomData<F>);

impl<F: Form> ManyVisitor<'_, F> {
    fn odd<E: Error>(self) -> Result<Vec<F::Value>, E> {
        self.0.odd();
        self.0.charge(size_of::<F::Value>() + F::ODD_BYTES)?;
        Ok(vec![F::odd()])
    }
}

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
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        self.odd()
    }
    no_scalar!();
}
