//! Bodies that inflate a thousand times, made without holding what they inflate to: one compressed
//! mebibyte, repeated. Both formats read a concatenation as the concatenation of what it holds.

use std::io::Write;

/// What is repeated.
const PIECE_BYTES: usize = 1 << 20;

/// A trace request of 64 MiB: one scope with 33 million spans of two bytes each.
pub(crate) fn gzip_spans() -> Vec<u8> {
    spans(gzip)
}

/// The same as zstd.
pub(crate) fn zstd_spans() -> Vec<u8> {
    spans(zstd)
}

/// A gibibyte of zeros.
pub(crate) fn gzip_zeros() -> Vec<u8> {
    gzip(&vec![0; PIECE_BYTES]).repeat(1024)
}

/// The same as zstd.
pub(crate) fn zstd_zeros() -> Vec<u8> {
    zstd(&vec![0; PIECE_BYTES]).repeat(1024)
}

/// A trace request whose one attribute is a value this many values deep.
pub(crate) fn deep_value(depth: usize) -> Vec<u8> {
    let mut value = Vec::new();
    for _ in 1..depth {
        value = field(5, field(1, value)); // array_value { values }
    }
    field(1, field(1, field(1, field(2, value)))) // resource { attributes { value } }
}

fn field(number: u8, body: Vec<u8>) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    prost::encode_length_delimiter(body.len(), &mut bytes).expect("memory takes all");
    bytes.extend(body);
    bytes
}

fn spans(compress: fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let pieces = 63;
    let length = pieces * PIECE_BYTES;
    let mut scope = vec![0x12];
    prost::encode_length_delimiter(length, &mut scope).expect("memory takes all");
    let mut head = vec![0x0a];
    prost::encode_length_delimiter(scope.len() + length, &mut head).expect("memory takes all");
    head.extend(scope);
    let mut bytes = compress(&head);
    bytes.extend(compress(&[0x12, 0].repeat(PIECE_BYTES / 2)).repeat(pieces));
    bytes
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 3).expect("compresses")
}
