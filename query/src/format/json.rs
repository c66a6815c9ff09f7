//! JSON: one object with all rows, or one object per line.

use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::engine::Answer;

/// `{"columns":[…],"rows":[…],"row_count":n,"complete_until":"…"}`, in pieces.
pub(super) fn object(answer: Answer) -> impl Iterator<Item = Result<Bytes, ArrowError>> + Send {
    let start = format!("{{\"columns\":{},\"rows\":[", columns(&answer.schema));
    let end = format!(
        "],\"row_count\":{},\"complete_until\":\"{}\"}}",
        answer.rows,
        super::rfc3339(answer.complete_until_ns)
    );
    let mut first = true;
    std::iter::once(Ok(Bytes::from(start)))
        .chain(rows(
            answer,
            move |out| {
                if !std::mem::replace(&mut first, false) {
                    out.push(b',');
                }
            },
            b"",
        ))
        .chain(std::iter::once(Ok(Bytes::from(end))))
}

/// One object per row, each ended by a line feed.
pub(super) fn lines(answer: Answer) -> impl Iterator<Item = Result<Bytes, ArrowError>> + Send {
    rows(answer, |_out| {}, b"\n")
}

/// The names and types of the columns.
pub(super) fn columns(schema: &SchemaRef) -> Value {
    let described = schema
        .fields()
        .iter()
        .map(|field| json!({"name": field.name(), "type": field.data_type().to_string()}));
    Value::Array(described.collect())
}

/// The batches of an answer as text; `before` and `after` stand around each row.
fn rows(
    answer: Answer,
    mut before: impl FnMut(&mut Vec<u8>) + Send,
    after: &'static [u8],
) -> impl Iterator<Item = Result<Bytes, ArrowError>> + Send {
    // The answer goes along: its bytes stay in the budget until the last of them is written.
    let mut next = 0;
    std::iter::from_fn(move || {
        let batch = answer.batches.get(next)?;
        next += 1;
        Some(encode(batch, &mut before, after).map(Bytes::from))
    })
}

fn encode(
    batch: &RecordBatch,
    before: &mut impl FnMut(&mut Vec<u8>),
    after: &[u8],
) -> Result<Vec<u8>, ArrowError> {
    let options = super::options();
    let schema = batch.schema();
    let mut encoders = super::encoders(batch, schema.fields(), &options)?;
    let keys: Vec<String> = schema
        .fields()
        .iter()
        .map(|field| format!("{}:", Value::String(field.name().clone())))
        .collect();
    let mut out = Vec::new();
    for row in 0..batch.num_rows() {
        before(&mut out);
        out.push(b'{');
        for (column, (key, encoder)) in keys.iter().zip(&mut encoders).enumerate() {
            if column > 0 {
                out.push(b',');
            }
            out.extend_from_slice(key.as_bytes());
            if encoder.is_null(row) {
                out.extend_from_slice(b"null");
            } else {
                encoder.encode(row, &mut out);
            }
        }
        out.push(b'}');
        out.extend_from_slice(after);
    }
    Ok(out)
}
