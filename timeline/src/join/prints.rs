//! What a row is known by: 64 bits that are equal for equal rows, on any machine and in any release.
//!
//! Prints lie in checkpoints and on the shelf, so they must outlive the toolchain: neither the standard
//! hasher nor what a derived `Hash` feeds it is promised from one release to the next. The row's
//! postcard encoding is specified, and so is SipHash-2-4. A shorter mix would be faster and could be
//! met on purpose by a sender; SHA-256 costs several times as much for every data point.

use std::io::{self, Write};

use serde::Serialize;

/// The key is no secret: prints are to be equal everywhere.
const KEY: (u64, u64) = (0, 0);

/// A row's print.
pub(crate) fn fingerprint(row: &impl Serialize) -> u64 {
    let mut sip = Sip::new(KEY);
    postcard::to_io(row, &mut sip)
        .expect("what a row is made of says its length, and Sip takes all");
    sip.finish()
}

/// SipHash-2-4 as its authors describe it (Aumasson and Bernstein, 2012).
struct Sip {
    state: [u64; 4],
    /// Bytes that make no word yet, from the lowest on.
    word: u64,
    bytes: u64,
}

impl Sip {
    fn new((low, high): (u64, u64)) -> Self {
        let state = [
            low ^ 0x736f_6d65_7073_6575,
            high ^ 0x646f_7261_6e64_6f6d,
            low ^ 0x6c79_6765_6e65_7261,
            high ^ 0x7465_6462_7974_6573,
        ];
        Self { state, word: 0, bytes: 0 }
    }

    fn take(&mut self, byte: u8) {
        self.word |= u64::from(byte) << (self.bytes % 8 * 8);
        self.bytes = self.bytes.wrapping_add(1);
        if self.bytes.is_multiple_of(8) {
            let word = std::mem::take(&mut self.word);
            self.compress(word);
        }
    }

    fn compress(&mut self, word: u64) {
        self.state[3] ^= word;
        self.rounds(2);
        self.state[0] ^= word;
    }

    fn rounds(&mut self, number: usize) {
        let [mut a, mut b, mut c, mut d] = self.state;
        for _ in 0..number {
            a = a.wrapping_add(b);
            b = b.rotate_left(13) ^ a;
            a = a.rotate_left(32);
            c = c.wrapping_add(d);
            d = d.rotate_left(16) ^ c;
            a = a.wrapping_add(d);
            d = d.rotate_left(21) ^ a;
            c = c.wrapping_add(b);
            b = b.rotate_left(17) ^ c;
            c = c.rotate_left(32);
        }
        self.state = [a, b, c, d];
    }

    fn finish(mut self) -> u64 {
        let last = self.word | self.bytes << 56;
        self.compress(last);
        self.state[2] ^= 0xff;
        self.rounds(4);
        self.state.into_iter().fold(0, |all, one| all ^ one)
    }
}

impl Write for Sip {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for byte in bytes {
            self.take(*byte);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Label, Time, TraceId};

    fn sip(length: u8) -> u64 {
        let mut sip = Sip::new((0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908));
        let bytes: Vec<u8> = (0..length).collect();
        sip.write_all(&bytes).expect("it takes all");
        sip.finish()
    }

    #[test]
    fn it_is_the_hash_of_the_paper() {
        assert_eq!(sip(15), 0xa129_ca61_49be_45e5, "the example of its appendix");
        // Of the authors' vectors, the shortest, one whole word, and the longest.
        assert_eq!(sip(0), 0x726f_db47_dd0e_0e31);
        assert_eq!(sip(1), 0x74f8_39c5_93dc_67fd);
        assert_eq!(sip(8), 0x93f5_f579_9a93_2462);
        assert_eq!(sip(63), 0x958a_324c_eb06_4572);
    }

    /// These were computed apart: prints of before lie on disks.
    #[test]
    fn prints_never_change() {
        let key = (TraceId([7; 16]), Label::new("shop"));
        assert_eq!(fingerprint(&("trace", &key)), 0x57a6_a718_aa39_9ee9);
        let row = (Time(-1), Some(3_i32), None::<Label>);
        assert_eq!(fingerprint(&row), 0xae3e_1442_065d_a0d8);
    }
}
