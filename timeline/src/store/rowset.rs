//! A set of row numbers: one bit for each row of a batch or a file.

use arrow::buffer::BooleanBuffer;
use serde::{Deserialize, Serialize};

/// A set of row numbers below 2^32.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowSet {
    words: Vec<u64>,
    len: u32,
}

impl RowSet {
    /// Adds a row; false where it is in already.
    pub fn insert(&mut self, row: u32) -> bool {
        let (word, bit) = (row as usize / 64, 1 << (row % 64));
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        self.len += u32::from(new);
        new
    }

    /// Takes a row out.
    pub fn remove(&mut self, row: u32) {
        if self.contains(row) {
            self.words[row as usize / 64] &= !(1 << (row % 64));
            self.len -= 1;
        }
    }

    /// Whether the row is in the set.
    pub fn contains(&self, row: u32) -> bool {
        self.words.get(row as usize / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// How many rows are in the set.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether no row is in the set.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many rows before `row` are in the set.
    pub fn rank(&self, row: u32) -> u32 {
        let word = row as usize / 64;
        let before: u32 = self.words.iter().take(word).map(|word| word.count_ones()).sum();
        let partial = self
            .words
            .get(word)
            .map_or(0, |word| (word & ((1_u64 << (row % 64)) - 1)).count_ones());
        before + partial
    }

    /// The rows in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.words.iter().enumerate().flat_map(|(index, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some(index as u32 * 64 + bit)
            })
        })
    }

    /// For each of the first `rows` rows, whether it is *not* in the set: what a reader keeps.
    pub fn kept_mask(&self, rows: usize) -> BooleanBuffer {
        BooleanBuffer::collect_bool(rows, |row| !self.contains(row as u32))
    }
}

impl Extend<u32> for RowSet {
    fn extend<I: IntoIterator<Item = u32>>(&mut self, rows: I) {
        for row in rows {
            self.insert(row);
        }
    }
}

impl FromIterator<u32> for RowSet {
    fn from_iter<I: IntoIterator<Item = u32>>(rows: I) -> Self {
        let mut set = Self::default();
        set.extend(rows);
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_ranks_and_masks() {
        let set: RowSet = [0, 3, 63, 64, 200].into_iter().collect();
        assert_eq!(set.len(), 5);
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 3, 63, 64, 200]);
        for (row, rank) in [(0, 0), (1, 1), (63, 2), (64, 3), (65, 4), (200, 4), (500, 5)] {
            assert_eq!(set.rank(row), rank, "{row}");
        }
        let mask = set.kept_mask(5);
        assert_eq!(mask.iter().collect::<Vec<_>>(), [false, true, true, false, true]);
    }
}
