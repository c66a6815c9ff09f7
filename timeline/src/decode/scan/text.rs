//! The scan of JSON: strings, brackets and the keys of arrays, no values.
//!
//! What is not JSON passes: the reader says what is wrong with it, and where. A key that is written
//! with escapes is taken for that of records, so that no spelling hides them.
//!
//! Invariant: the stack holds at most [`JSON_DEPTH_MAX`] brackets.

use super::shape::{Element, elements_of};
use super::{Counts, JSON_DEPTH_MAX, Limits, ScanError, Tally};

/// The longest key that matters is `filteredAttributes`.
const KEY_BYTES_MAX: usize = 18;

/// The state between two pieces.
#[derive(Debug)]
pub(super) struct Text {
    tally: Tally,
    open: Vec<Bracket>,
    in_string: bool,
    is_escaped: bool,
    /// The string before the last colon, or the one being read; too long a one is cut.
    string: Vec<u8>,
    has_escapes: bool,
    /// Whether that string was followed by a colon.
    is_key: bool,
    /// Whether an array was opened just now, and may be empty.
    is_fresh: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Bracket {
    Object,
    Array(Element),
}

impl Text {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            tally: Tally::new(limits),
            open: Vec::new(),
            in_string: false,
            is_escaped: false,
            string: Vec::with_capacity(KEY_BYTES_MAX + 1),
            has_escapes: false,
            is_key: false,
            is_fresh: false,
        }
    }

    pub(super) fn feed(&mut self, mut piece: &[u8]) -> Result<(), ScanError> {
        while let Some((&byte, rest)) = piece.split_first() {
            if self.in_string && !self.is_escaped {
                let special = piece.iter().position(|byte| matches!(byte, b'"' | b'\\'));
                let (plain, tail) = piece.split_at(special.unwrap_or(piece.len()));
                let room = (KEY_BYTES_MAX + 1).saturating_sub(self.string.len());
                self.string.extend_from_slice(&plain[..plain.len().min(room)]);
                self.tally.cost(plain.len() as u64)?;
                piece = tail;
                if let Some((&special, tail)) = tail.split_first() {
                    self.is_escaped = special == b'\\';
                    self.has_escapes |= self.is_escaped;
                    self.in_string = self.is_escaped;
                    piece = tail;
                }
                continue;
            }
            piece = rest;
            if self.is_escaped {
                self.is_escaped = false;
            } else {
                self.structure(byte)?;
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Counts {
        self.tally.counts
    }

    /// Takes a byte outside of strings.
    fn structure(&mut self, byte: u8) -> Result<(), ScanError> {
        if byte.is_ascii_whitespace() {
            return Ok(());
        }
        if std::mem::take(&mut self.is_fresh) && byte != b']' {
            self.element()?;
        }
        match byte {
            b'"' => {
                self.string.clear();
                (self.in_string, self.has_escapes, self.is_key) = (true, false, false);
            }
            b':' => self.is_key = true,
            b'[' => {
                let element = match (self.is_key, self.has_escapes) {
                    (false, _) => Element::Other(0),
                    (true, true) => Element::Span,
                    (true, false) => elements_of(&self.string),
                };
                self.push(Bracket::Array(element))?;
                self.is_fresh = true;
            }
            b'{' => self.push(Bracket::Object)?,
            b']' | b'}' => {
                self.open.pop();
            }
            b',' => self.element()?,
            _ => {}
        }
        if !matches!(byte, b'"' | b':') {
            self.is_key = false;
        }
        Ok(())
    }

    /// Counts what begins now, where it stands in an array.
    fn element(&mut self) -> Result<(), ScanError> {
        if let Some(Bracket::Array(element)) = self.open.last() {
            return self.tally.element(*element);
        }
        Ok(())
    }

    fn push(&mut self, bracket: Bracket) -> Result<(), ScanError> {
        if self.open.len() >= JSON_DEPTH_MAX {
            return Err(ScanError::TooDeep { max: JSON_DEPTH_MAX });
        }
        self.open.push(bracket);
        Ok(())
    }
}
