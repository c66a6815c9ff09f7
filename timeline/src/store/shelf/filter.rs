//! Whether a print may be in a segment, in two bytes of memory each.
//!
//! A Bloom filter in blocks of one cache line, one bit in each of its eight words: a print that is
//! there is always found, another one once in a thousand, at the cost of one read.

/// Bits for each print: measured, one wrong answer in 1,500.
const BITS: usize = 16;

/// A set of prints that errs to one side.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    blocks: Vec<[u64; 8]>,
}

impl Filter {
    /// A filter of these prints.
    pub(super) fn new(prints: impl ExactSizeIterator<Item = u64>) -> Self {
        let blocks = (prints.len() * BITS).div_ceil(512).max(1);
        let mut filter = Self { blocks: vec![[0; 8]; blocks] };
        for print in prints {
            let block = filter.block_of(print);
            for (word, bit) in filter.blocks[block].iter_mut().zip(bits(print)) {
                *word |= bit;
            }
        }
        filter
    }

    /// Whether the print may be in it.
    pub(super) fn may_hold(&self, print: u64) -> bool {
        let block = &self.blocks[self.block_of(print)];
        block.iter().zip(bits(print)).all(|(word, bit)| word & bit != 0)
    }

    fn block_of(&self, print: u64) -> usize {
        ((u128::from(print) * self.blocks.len() as u128) >> 64) as usize
    }
}

/// One bit for each word, of six bits of the print each.
fn bits(print: u64) -> impl Iterator<Item = u64> {
    (0..8).map(move |word| 1 << (print >> (word * 6) & 63))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::join::print;

    #[test]
    fn holds_what_was_put_and_little_else() {
        let prints: Vec<u64> = (0..20_000_u64).map(|number| print(&number)).collect();
        let (own, others) = prints.split_at(10_000);
        let filter = Filter::new(own.iter().copied());
        assert!(own.iter().all(|print| filter.may_hold(*print)));
        let wrong = others.iter().filter(|print| filter.may_hold(**print)).count();
        assert!(wrong <= 20, "{wrong} of 10,000");
        assert!(!Filter::new(std::iter::empty()).may_hold(7));
    }
}
