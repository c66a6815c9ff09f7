//! CSV after RFC 4180, for people: lists and maps are JSON in a cell, NULL is an empty cell.
//!
//! A text that a spreadsheet would run as a formula gets an apostrophe in front: what an attacker
//! wrote into a span must not run on the desk of the one who reads it. Whoever wants exact bytes
//! asks for JSON or Arrow.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;

use crate::engine::Answer;

/// The header, then each batch as lines.
pub(super) fn lines(answer: Answer) -> impl Iterator<Item = Result<Bytes, ArrowError>> + Send {
    let mut header = Vec::new();
    for (column, field) in answer.schema.fields().iter().enumerate() {
        if column > 0 {
            header.push(b',');
        }
        cell(field.name().as_bytes(), true, &mut header);
    }
    header.extend_from_slice(b"\r\n");
    let mut next = 0;
    std::iter::once(Ok(Bytes::from(header))).chain(std::iter::from_fn(move || {
        let batch = answer.batches.get(next)?;
        next += 1;
        Some(encode(batch).map(Bytes::from))
    }))
}

fn encode(batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let options = super::options();
    let schema = batch.schema();
    let mut encoders = super::encoders(batch, schema.fields(), &options)?;
    let texts: Vec<bool> = batch.columns().iter().map(is_text).collect();
    let mut out = Vec::new();
    let mut json = Vec::new();
    for row in 0..batch.num_rows() {
        for (column, encoder) in encoders.iter_mut().enumerate() {
            if column > 0 {
                out.push(b',');
            }
            if encoder.is_null(row) {
                continue;
            }
            json.clear();
            encoder.encode(row, &mut json);
            value(&json, texts[column], &mut out);
        }
        out.extend_from_slice(b"\r\n");
    }
    Ok(out)
}

/// One value, which comes as JSON.
fn value(json: &[u8], is_text: bool, out: &mut Vec<u8>) {
    match json {
        // What is not a number is null inside a value that is not.
        b"null" => {}
        // Strings, times and ids come quoted.
        [b'"', ..] => match serde_json::from_slice::<String>(json) {
            Ok(text) => cell(text.as_bytes(), is_text, out),
            Err(_) => cell(json, is_text, out),
        },
        other => cell(other, false, out),
    }
}

fn cell(text: &[u8], is_text: bool, out: &mut Vec<u8>) {
    let formula =
        is_text && matches!(text.first(), Some(b'=' | b'+' | b'-' | b'@' | b'\t' | b'\r'));
    let quoted = text.iter().any(|byte| matches!(byte, b'"' | b',' | b'\n' | b'\r'));
    if quoted {
        out.push(b'"');
    }
    if formula {
        out.push(b'\'');
    }
    for byte in text {
        if *byte == b'"' {
            out.push(b'"');
        }
        out.push(*byte);
    }
    if quoted {
        out.push(b'"');
    }
}

/// True where values are text somebody else wrote; a negative number is no formula.
fn is_text(column: &ArrayRef) -> bool {
    let data_type = match column.data_type() {
        DataType::Dictionary(_, values) => values,
        other => other,
    };
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}
