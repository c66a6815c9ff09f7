//! CRC-32C, bit by bit: what our own formats carry. Mutations break it nearly always, and what is refused
//! for that shows nothing; so a mutated input is also given with its checksum made right.

/// The checksum of some bytes.
pub(super) fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg())
        })
    })
}

#[test]
fn it_is_the_checksum_that_others_compute() {
    // The check value of the catalogue of CRC algorithms.
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
}
