//! Arrow's IPC stream, batch by batch.

use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;

use crate::engine::Answer;
use crate::error::ApiError;

/// The schema, each batch, and the end-of-stream marker.
pub(super) fn stream(
    answer: Answer,
) -> Result<impl Iterator<Item = Result<Bytes, ArrowError>> + Send, ApiError> {
    let mut writer = StreamWriter::try_new(Vec::new(), &answer.schema)
        .map_err(|error| ApiError::internal(&error))?;
    let mut next = 0;
    let mut ended = false;
    Ok(std::iter::from_fn(move || {
        if ended {
            return None;
        }
        let written = match answer.batches.get(next) {
            Some(batch) => writer.write(batch),
            None => {
                ended = true;
                writer.finish()
            }
        };
        next += 1;
        Some(written.map(|()| Bytes::from(std::mem::take(writer.get_mut()))))
    }))
}
