//! Answers on the wire: JSON, one JSON object per line, CSV, or an Arrow stream, by `Accept`.
//!
//! An answer is complete, and within its limits, before its first byte is sent: a status that was
//! 200 stays true. It is then written batch by batch, as the client takes it, so that its text is
//! never in memory as a whole.
//!
//! Invariant: one value is written in one way in all text formats: times RFC 3339 in UTC, 64-bit
//! integers as numbers, ids as lower-case hex, what is not a number as null.

mod arrow_stream;
mod csv;
mod json;
mod sending;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, new_empty_array};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::writer::{EncoderOptions, NullableEncoder, make_encoder};
use arrow::record_batch::RecordBatch;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName};
use http::{HeaderValue, StatusCode};

use crate::engine::Answer;
use crate::error::ApiError;
use sending::Sending;

/// A format an answer can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// One object: columns, rows, row count, how far the answer is complete.
    Json,
    /// One object per row and line.
    JsonLines,
    /// A header and one line per row (RFC 4180).
    Csv,
    /// Arrow's IPC stream.
    Arrow,
}

impl Format {
    const ALL: [Self; 4] = [Self::Json, Self::JsonLines, Self::Csv, Self::Arrow];

    /// The media type.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::JsonLines => "application/x-ndjson",
            Self::Csv => "text/csv",
            Self::Arrow => "application/vnd.apache.arrow.stream",
        }
    }

    /// The format that `Accept` weighs highest, of equals the first that it names; JSON where it names
    /// none or anything. `None` where it names only what there is not, or wants it not (`q=0`).
    pub(crate) fn negotiate(headers: &HeaderMap) -> Option<Self> {
        let ranges: Vec<(String, f32)> = headers
            .get_all(http::header::ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(weighed)
            .filter(|(range, _weight)| !range.is_empty())
            .collect();
        if ranges.is_empty() {
            return Some(Self::Json);
        }
        // What is named itself is not meant by a range that holds it: `text/csv;q=0, */*`.
        let unwanted = |format: Self| {
            ranges
                .iter()
                .any(|(range, weight)| Self::named(range) == Some(format) && *weight == 0.0)
        };
        let mut best: Option<(Self, f32)> = None;
        for (range, weight) in ranges.iter().filter(|(_range, weight)| *weight > 0.0) {
            let of_range =
                || Self::ALL.into_iter().find(|format| format.is_in(range) && !unwanted(*format));
            let Some(format) = Self::named(range).or_else(of_range) else { continue };
            if best.is_none_or(|(_format, heaviest)| *weight > heaviest) {
                best = Some((format, *weight));
            }
        }
        best.map(|(format, _weight)| format)
    }

    /// The format that a media type is.
    fn named(media_type: &str) -> Option<Self> {
        match media_type {
            "application/jsonl" => Some(Self::JsonLines),
            other => Self::ALL.into_iter().find(|format| format.media_type() == other),
        }
    }

    /// Whether a range such as `text/*` holds it.
    fn is_in(self, range: &str) -> bool {
        range == "*/*"
            || range.strip_suffix('*').is_some_and(|kind| {
                kind.ends_with('/') && kind.len() > 1 && self.media_type().starts_with(kind)
            })
    }
}

/// A media range in lower case, and its weight: 1 where it says none, 0 where it cannot be read.
fn weighed(range: &str) -> (String, f32) {
    let mut parts = range.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
    let weight = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim().parse().unwrap_or(0.0))
    });
    (media_type, weight.unwrap_or(1.0))
}

/// What a response says how far it is complete, for the formats without room for it.
const COMPLETE_UNTIL: HeaderName = HeaderName::from_static("ethogram-complete-until");

/// An answer as a response, which the client may take so long to receive.
pub(crate) fn response(
    answer: Answer,
    format: Format,
    patience: Duration,
) -> Result<Response, ApiError> {
    let complete_until = rfc3339(answer.complete_until_ns);
    let chunks = chunks(answer, format)?;
    let body = Body::from_stream(Sending::new(chunks, patience));
    let mut response = (StatusCode::OK, body).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
    if let Ok(value) = HeaderValue::from_str(&complete_until) {
        headers.insert(COMPLETE_UNTIL, value);
    }
    Ok(response)
}

/// The bytes of an answer, batch by batch.
pub(crate) type Chunks = Box<dyn Iterator<Item = Result<Bytes, ArrowError>> + Send>;

/// An answer as its bytes.
pub(crate) fn chunks(mut answer: Answer, format: Format) -> Result<Chunks, ApiError> {
    answer.schema = unique_names(&answer.schema);
    for batch in &mut answer.batches {
        let columns = batch.columns().to_vec();
        *batch = RecordBatch::try_new_with_options(
            Arc::clone(&answer.schema),
            columns,
            &arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows())),
        )
        .map_err(|error| ApiError::internal(&error))?;
    }
    if format != Format::Arrow {
        check_types(&answer.schema)?;
    }
    Ok(match format {
        Format::Json => Box::new(json::object(answer)),
        Format::JsonLines => Box::new(json::lines(answer)),
        Format::Csv => Box::new(csv::lines(answer)),
        Format::Arrow => Box::new(arrow_stream::stream(answer)?),
    })
}

/// Nanoseconds since the Unix epoch as RFC 3339 in UTC.
pub(crate) fn rfc3339(ns: i64) -> String {
    use arrow::array::TimestampNanosecondArray;
    use arrow::util::display::{ArrayFormatter, FormatOptions};
    let time = TimestampNanosecondArray::from(vec![ns]).with_timezone("UTC");
    ArrayFormatter::try_new(&time, &FormatOptions::new())
        .map(|formatter| formatter.value(0).to_string())
        .unwrap_or_default()
}

/// A second column of one name gets a number: in an object, two equal keys are one.
fn unique_names(schema: &SchemaRef) -> SchemaRef {
    let mut taken: Vec<String> = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let mut name = field.name().clone();
        let mut number = 2;
        while taken.contains(&name) || (number > 2 && schema.field_with_name(&name).is_ok()) {
            name = format!("{}_{number}", field.name());
            number += 1;
        }
        taken.push(name);
    }
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .zip(taken)
        .map(|(field, name)| field.as_ref().clone().with_name(name).with_nullable(true))
        .collect();
    Arc::new(Schema::new(fields))
}

/// How values are written as JSON.
fn options() -> EncoderOptions {
    // A time without a zone is UTC here, and says so like the others.
    EncoderOptions::default()
        .with_explicit_nulls(true)
        .with_timestamp_format(String::from("%Y-%m-%dT%H:%M:%S%.fZ"))
}

/// A type without a text form is refused before the first byte.
fn check_types(schema: &SchemaRef) -> Result<(), ApiError> {
    let options = options();
    for field in schema.fields() {
        let empty: ArrayRef = new_empty_array(field.data_type());
        if make_encoder(field, &empty, &options).is_err() {
            return Err(ApiError::plan(format!(
                "column {} of type {} has no text form; CAST it",
                field.name(),
                field.data_type()
            )));
        }
    }
    Ok(())
}

/// One encoder per column of a batch.
fn encoders<'a>(
    batch: &'a RecordBatch,
    fields: &'a arrow::datatypes::Fields,
    options: &'a EncoderOptions,
) -> Result<Vec<NullableEncoder<'a>>, ArrowError> {
    fields
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| make_encoder(field, column, options))
        .collect()
}

#[cfg(test)]
mod tests;
