//! Reading a body within bounds, and inflating it within bounds.
//!
//! The wire is read whole, since inflation and decoding need a processor and not a socket.
//! Inflation then runs in steps and stops at the first step beyond the limit, so that a bomb
//! costs the limit and not what it claims to be.
//!
//! Invariant: no byte is held that the reservation has not been grown for.

use std::io::{self, BufReader, Read};
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use flate2::bufread::MultiGzDecoder;
use http_body::Body as _;
use http_body_util::BodyExt;

use super::{Reason, Refusal, Reservation};

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

    /// The inflated body, at most `bytes_max` long.
    pub(crate) fn inflate(
        self,
        wire: Bytes,
        bytes_max: usize,
        held: &mut Reservation,
    ) -> Result<Bytes, Refusal> {
        let inflated = match self {
            Self::Identity => return Ok(wire),
            Self::Gzip => drain(MultiGzDecoder::new(&wire[..]), bytes_max, held),
            Self::Zstd => zstd_decoder(&wire)
                .map_err(bad_coding)
                .and_then(|decoder| drain(decoder, bytes_max, held)),
        };
        inflated.map(Bytes::from)
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
    held: &mut Reservation,
) -> Result<Vec<u8>, Refusal> {
    let mut inflated = Vec::new();
    let mut step = vec![0_u8; STEP_BYTES];
    loop {
        let count = match reader.read(&mut step) {
            Ok(0) => return Ok(inflated),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(bad_coding(error)),
        };
        if inflated.len() + count > bytes_max {
            return Err(too_large(bytes_max));
        }
        held.grow(count)?;
        inflated.extend_from_slice(&step[..count]);
    }
}

/// The whole body as it is on the wire, at most `bytes_max` long, within `time_max`.
pub(crate) async fn read(
    body: &mut Body,
    bytes_max: usize,
    time_max: Duration,
    held: &mut Reservation,
) -> Result<Bytes, Refusal> {
    // A declared length that is too large is refused before the first byte of it is read.
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(too_large(bytes_max));
    }
    let whole = tokio::time::timeout(time_max, collect(body, bytes_max, held)).await;
    whole.unwrap_or_else(|_| {
        let message = format!("the body did not arrive within {} s", time_max.as_secs());
        Err(Refusal::new(Reason::SlowBody, message))
    })
}

async fn collect(
    body: &mut Body,
    bytes_max: usize,
    held: &mut Reservation,
) -> Result<Bytes, Refusal> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
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
mod tests {
    use std::io::Write;

    use super::super::Budget;
    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).expect("memory takes all");
        encoder.finish().expect("memory takes all")
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::bulk::compress(bytes, 3).expect("compresses")
    }

    #[test]
    fn inflation_is_bounded() {
        let check =
            |coding: Coding, wire: Vec<u8>, bytes_max: usize, expected: Result<usize, Reason>| {
                let budget = Budget::new(1 << 20);
                let mut held = budget.reserve();
                let inflated = coding.inflate(Bytes::from(wire), bytes_max, &mut held);
                let outcome = inflated.map(|bytes| bytes.len()).map_err(|refusal| refusal.reason);
                assert_eq!(outcome, expected, "{coding:?} {bytes_max}");
                assert!(budget.used() <= bytes_max.min(1 << 20));
            };
        let plain = b"ethogram ".repeat(1_000);
        for (coding, wire) in [(Coding::Gzip, gzip(&plain)), (Coding::Zstd, zstd(&plain))] {
            check(coding, wire.clone(), 9_000, Ok(9_000));
            check(coding, wire.clone(), 8_999, Err(Reason::TooLarge));
            check(coding, wire[..wire.len() - 4].to_vec(), 9_000, Err(Reason::Undecodable));
            check(coding, b"no such thing".to_vec(), 9_000, Err(Reason::Undecodable));
        }
        check(Coding::Gzip, [gzip(&plain), gzip(&plain)].concat(), 18_000, Ok(18_000));
        let bomb = vec![0; 64 << 20];
        for (coding, wire) in [(Coding::Gzip, gzip(&bomb)), (Coding::Zstd, zstd(&bomb))] {
            check(coding, wire.clone(), 512 << 10, Err(Reason::TooLarge));
            check(coding, wire, 32 << 20, Err(Reason::InFlightBytes));
        }
    }

    #[test]
    fn codings() {
        assert_eq!(Coding::named("GZIP"), Some(Coding::Gzip));
        assert_eq!(Coding::named("zstd"), Some(Coding::Zstd));
        assert_eq!(Coding::named("identity"), Some(Coding::Identity));
        assert_eq!(Coding::named("gzip, gzip"), None);
        assert_eq!(Coding::named("br"), None);
        assert_eq!(Coding::of_magic(&gzip(b"x")), Coding::Gzip);
        assert_eq!(Coding::of_magic(b"{}"), Coding::Identity);
    }
}
