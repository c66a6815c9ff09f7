//! Reading a body within bounds, and inflating it within bounds.
//!
//! The wire is read whole, since inflation and decoding need a processor and not a socket.
//! Inflation then runs in steps, each of which is scanned before the next one is made: it stops at
//! the first step beyond a limit, so that a bomb costs the step and not what it claims to be.
//!
//! Invariant: no byte is held that the reservation has not been grown for, and no body is decoded
//! whose structs it has not been grown for.

use std::io::{self, BufReader, Read};
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use ethogram_timeline::decode::scan::Scanner;
use flate2::bufread::MultiGzDecoder;
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use super::{Reason, Refusal, Reservation};
use crate::config::LimitsConfig;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Identity,
    Gzip,
    Zstd,
}

impl Coding {
    /// The coding that a `Content-Encoding` names.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" | "none" => Some(Self::Identity),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The coding that the first bytes tell. A beacon cannot name it: `Content-Encoding` would
    /// make the browser ask for permission first.
    pub(crate) fn of_magic(wire: &[u8]) -> Self {
        if wire.starts_with(&[0x1f, 0x8b]) { Self::Gzip } else { Self::Identity }
    }

    /// The inflated body, at most `bytes_max` long, as far as `scanner` lets it come. What its structs
    /// will need is reserved.
    pub(crate) fn inflate(
        self,
        wire: Bytes,
        bytes_max: usize,
        mut scanner: Scanner,
        held: &mut Reservation,
    ) -> Result<Bytes, Refusal> {
        let inflated = match self {
            Self::Identity => {
                scanner.feed(&wire)?;
                wire
            }
            Self::Gzip => drain(MultiGzDecoder::new(&wire[..]), bytes_max, &mut scanner, held)?,
            Self::Zstd => {
                let decoder = zstd_decoder(&wire).map_err(bad_coding)?;
                drain(decoder, bytes_max, &mut scanner, held)?
            }
        };
        let counts = scanner.finish()?;
        held.grow(usize::try_from(counts.decoded_bytes).unwrap_or(usize::MAX))?;
        Ok(inflated)
    }
}

/// The largest zstd window we inflate is 8 MiB, as RFC 9659 bounds it for HTTP: the window is
/// allocated on the sender's word.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

fn zstd_decoder(wire: &[u8]) -> io::Result<impl Read> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(BufReader::new(wire))?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
    Ok(decoder)
}

/// One step of inflation: large enough that the bookkeeping costs nothing, small enough that
/// the overshoot beyond a limit does not matter.
const STEP_BYTES: usize = 32 << 10;

fn drain(
    mut reader: impl Read,
    bytes_max: usize,
    scanner: &mut Scanner,
    held: &mut Reservation,
) -> Result<Bytes, Refusal> {
    let mut inflated = Vec::new();
    let mut step = vec![0_u8; STEP_BYTES];
    loop {
        let count = match reader.read(&mut step) {
            Ok(0) => return Ok(Bytes::from(inflated)),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(bad_coding(error)),
        };
        if inflated.len() + count > bytes_max {
            return Err(too_large(bytes_max));
        }
        scanner.feed(&step[..count])?;
        held.grow(count)?;
        inflated.extend_from_slice(&step[..count]);
    }
}

/// How fast a body must come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    bytes_per_second_min: u64,
    grace: Duration,
    time_max: Duration,
}

impl Pace {
    pub(crate) fn new(limits: &LimitsConfig) -> Self {
        Self {
            bytes_per_second_min: limits.body_bytes_per_second_min,
            grace: Duration::from_secs(limits.body_grace_s),
            time_max: Duration::from_secs(limits.body_s),
        }
    }

    /// How long a body may take that has `bytes` so far, for the next ones to come.
    fn patience(self, bytes: usize) -> Duration {
        let paid = Duration::from_secs(bytes as u64 / self.bytes_per_second_min);
        self.grace.max(paid).min(self.time_max)
    }
}

/// The whole body as it is on the wire, at most `bytes_max` long, at its pace.
pub(crate) async fn read(
    body: &mut Body,
    bytes_max: usize,
    pace: Pace,
    held: &mut Reservation,
) -> Result<Bytes, Refusal> {
    // A declared length that is too large is refused before the first byte of it is read.
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(too_large(bytes_max));
    }
    let begun = Instant::now();
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    loop {
        let patience = pace.patience(first.len() + rest.len());
        let Ok(frame) = timeout_at(begun + patience, body.frame()).await else {
            let message = format!(
                "of the body {} bytes arrived within {} s",
                first.len() + rest.len(),
                patience.as_secs()
            );
            return Err(Refusal::new(Reason::SlowBody, message));
        };
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| {
            Refusal::new(Reason::Undecodable, format!("the body broke off: {error}"))
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + rest.len() + data.len() > bytes_max {
            return Err(too_large(bytes_max));
        }
        held.grow(data.len())?;
        // A body that came in one piece, as most do, is not copied.
        if first.is_empty() {
            first = data;
        } else {
            rest.extend_from_slice(&data);
        }
    }
    if rest.is_empty() {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&rest);
    Ok(whole.freeze())
}

/// Reads on without keeping anything, at most `bytes_max` bytes. An answer to an HTTP/1 sender who
/// is still writing is lost where the connection is closed on its unread bytes, and it then
/// sees a broken connection, which it retries, instead of a refusal, which it must not.
pub(crate) async fn discard(body: &mut Body, bytes_max: usize) {
    let mut left = bytes_max;
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                break;
            }
        }
    };
    // Where the time is over the connection is closed on the sender: it had its chance.
    drop(tokio::time::timeout(DISCARD_TIME_MAX, reading).await);
}

/// Time for the rest of a refused body: enough for a body in a sender's buffers, too short to
/// occupy a connection with.
const DISCARD_TIME_MAX: Duration = Duration::from_secs(2);

fn too_large(bytes_max: usize) -> Refusal {
    Refusal::new(Reason::TooLarge, format!("the body is larger than {bytes_max} bytes"))
}

fn bad_coding(error: io::Error) -> Refusal {
    let what = "the body is not the gzip or zstd it is said to be";
    Refusal::new(Reason::Undecodable, format!("{what}: {error}"))
}

#[cfg(test)]
mod tests;
