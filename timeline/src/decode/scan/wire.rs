//! The scan of protobuf: a state machine over the wire format, one level of a stack for each open
//! message.
//!
//! Invariant: the stack is bounded, since only values can nest and they are counted.

use super::shape::{Field, Shape, Signal, text_bytes};
use super::{Counts, Limits, ScanError, Tally, VALUE_DEPTH_MAX};

/// The state between two pieces.
#[derive(Debug)]
pub(super) struct Wire {
    tally: Tally,
    /// Open messages, outermost first, and where each ends.
    open: Vec<(Shape, u64)>,
    /// Bytes taken so far.
    at: u64,
    /// How many of the open messages are values.
    values: usize,
    step: Step,
    /// The varint that is being read, and how many bits of it have come.
    number: u64,
    bits: u32,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// At the tag of a field.
    Tag,
    /// In a number, whose value is of no importance.
    Number,
    /// In the length of a field.
    Length(Field),
    /// In bytes nobody looks at; how many are left.
    Bytes(u64),
}

impl Wire {
    pub(super) fn new(signal: Signal, limits: Limits) -> Self {
        Self {
            tally: Tally::new(limits),
            open: vec![(Shape::Request(signal), u64::MAX)],
            at: 0,
            values: 0,
            step: Step::Tag,
            number: 0,
            bits: 0,
        }
    }

    pub(super) fn feed(&mut self, mut piece: &[u8]) -> Result<(), ScanError> {
        while let Some((&byte, rest)) = piece.split_first() {
            if let Step::Bytes(left) = self.step {
                let count = left.min(piece.len() as u64);
                self.at += count;
                self.step = Step::Bytes(left - count);
                piece = &piece[count as usize..];
            } else {
                self.at += 1;
                piece = rest;
                if let Some(number) = self.varint(byte)? {
                    self.take(number)?;
                }
            }
            self.close()?;
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Counts, ScanError> {
        let is_whole = self.open.len() == 1 && matches!(self.step, Step::Tag) && self.bits == 0;
        if is_whole { Ok(self.tally.counts) } else { Err(ScanError::Malformed("it breaks off")) }
    }

    /// Takes a byte of a varint, and gives the number with its last one.
    fn varint(&mut self, byte: u8) -> Result<Option<u64>, ScanError> {
        if self.bits == 63 && byte > 1 {
            return Err(ScanError::Malformed("a number is too long"));
        }
        self.number |= u64::from(byte & 0x7f) << self.bits;
        self.bits += 7;
        if byte & 0x80 != 0 {
            return Ok(None);
        }
        let number = self.number;
        (self.number, self.bits) = (0, 0);
        Ok(Some(number))
    }

    /// Goes on with a whole number.
    fn take(&mut self, number: u64) -> Result<(), ScanError> {
        match self.step {
            Step::Tag => self.tag(number),
            Step::Length(field) => self.enter(field, number),
            Step::Number | Step::Bytes(_) => {
                self.step = Step::Tag;
                Ok(())
            }
        }
    }

    fn tag(&mut self, tag: u64) -> Result<(), ScanError> {
        let shape = self.top().0;
        // Repeated numbers are commonly packed, but may stand alone.
        self.step = match (tag >> 3, tag & 7) {
            (0, _) => return Err(ScanError::Malformed("a field has no number")),
            (number, 0) => {
                self.lone_number(shape.field(number))?;
                Step::Number
            }
            (number, 1) => {
                self.lone_number(shape.field(number))?;
                Step::Bytes(8)
            }
            (number, 2) => Step::Length(shape.field(number)),
            (_, 5) => Step::Bytes(4),
            _ => return Err(ScanError::Malformed("a field is of no kind that OTLP has")),
        };
        Ok(())
    }

    fn lone_number(&mut self, field: Field) -> Result<(), ScanError> {
        if let Field::Packed(_) = field { self.tally.cost(8) } else { Ok(()) }
    }

    /// Begins a field of `length` bytes.
    fn enter(&mut self, field: Field, length: u64) -> Result<(), ScanError> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.top().1);
        let end = end.ok_or(ScanError::Malformed("a field is longer than its message"))?;
        let shape = match field {
            Field::One(shape) => shape,
            Field::Many(shape, element) => {
                self.tally.element(element)?;
                shape
            }
            Field::Text | Field::Texts | Field::Packed(_) | Field::Unknown => {
                self.step = Step::Bytes(length);
                return match field {
                    Field::Text => self.tally.cost(length),
                    Field::Texts => self.tally.cost(length.saturating_add(text_bytes())),
                    Field::Packed(growth) => self.tally.cost(length.saturating_mul(growth)),
                    _ => Ok(()),
                };
            }
        };
        if shape == Shape::Value {
            self.values += 1;
            if self.values > VALUE_DEPTH_MAX {
                return Err(ScanError::TooDeep { max: VALUE_DEPTH_MAX });
            }
        }
        self.open.push((shape, end));
        self.step = Step::Tag;
        Ok(())
    }

    /// Closes what ends here.
    fn close(&mut self) -> Result<(), ScanError> {
        if let Step::Bytes(0) = self.step {
            self.step = Step::Tag;
        }
        while self.open.len() > 1 && self.at >= self.top().1 {
            let is_between = matches!(self.step, Step::Tag) && self.bits == 0;
            if !is_between || self.at > self.top().1 {
                return Err(ScanError::Malformed("a field is longer than its message"));
            }
            if let Some((Shape::Value, _)) = self.open.pop() {
                self.values -= 1;
            }
        }
        Ok(())
    }

    fn top(&self) -> (Shape, u64) {
        *self.open.last().expect("the request itself stays open")
    }
}
