//! The join as bytes, and what it goes on from where those bytes are of no use.
//!
//! The state is written piece by piece into whatever takes it, so that a checkpoint needs no second
//! copy of what is open. Its form has a number; a state of another form is not guessed at.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};

use super::trace::Trace;
use super::{Join, RowIds};
use crate::schema::{Erasure, Time};

impl Join {
    /// The form of [`Join::write`]. It rises whenever a field of anything below [`Join`] changes:
    /// the encoding has no names by which an older state could be told apart.
    pub const FORM: u32 = 8;

    /// Writes its state, but for what lies on its shelf.
    pub fn write(&self, out: impl Write) -> Result<(), postcard::Error> {
        // The encoder says every byte by itself.
        let out = postcard::to_io(self, BufWriter::new(out))?;
        out.into_inner().map(drop).map_err(|_| postcard::Error::SerializeBufferFull)
    }

    /// The state that [`Join::write`] has written in `form`. `None` where it cannot be read.
    pub fn read(form: u32, state: &[u8]) -> Option<Self> {
        let (mut join, rest) = postcard::take_from_bytes::<Self>(state).ok()?;
        join.weight = join.traces.values().map(Trace::weight).sum();
        (form == Self::FORM && rest.is_empty()).then_some(join)
    }

    /// Whose rows were erased and stay so: known apart, since they bind whatever becomes of the rest.
    pub fn erased(&self) -> &BTreeMap<Erasure, Time> {
        &self.erased
    }

    /// A join that goes on at log time `now` without its state: places and counters run on, what
    /// is sealed stays as it is, and what was open is not known any more.
    pub fn restart(
        ids: RowIds,
        now: Time,
        counters: BTreeMap<String, u64>,
        erased: BTreeMap<Erasure, Time>,
    ) -> Self {
        Self { ids, now, complete_until: now, counters, erased, ..Self::default() }
    }
}
