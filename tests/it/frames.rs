//! HTTP/2 frame by frame, to send what no library would.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub(crate) const HEADERS: u8 = 1;
pub(crate) const RESET: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// The head of `GET /ethogram.js` and of `POST /v1/traces`, in HPACK without a table.
pub(crate) fn head(path: &str) -> Vec<u8> {
    let method = if path.starts_with("/v1") { 0x83 } else { 0x82 };
    let mut block = vec![method, 0x86]; // The method; the scheme http.
    for (index, value) in [(&[0x04][..], path), (&[0x01], "a"), (&[0x0f, 0x10], "application/json")]
    {
        block.extend(index); // The path, the authority, the content type.
        block.push(u8::try_from(value.len()).expect("short"));
        block.extend(value.as_bytes());
    }
    block
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A connection that has exchanged its prefaces.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    pub(crate) next: u32,
}

impl Connection {
    /// Connects; `settings` are pairs of identifier and value.
    pub(crate) async fn open(address: &str, settings: &[(u16, u32)]) -> Self {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let payload: Vec<u8> = settings
            .iter()
            .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        let mut preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        preface.extend(frame(SETTINGS, 0, 0, &payload));
        stream.write_all(&preface).await.expect("it is read");
        Self { stream, next: 1 }
    }

    /// The number of a new stream.
    pub(crate) fn number(&mut self) -> u32 {
        let number = self.next;
        self.next += 2;
        number
    }

    /// The next frame that comes; `None` where the connection has ended.
    pub(crate) async fn receive(&mut self) -> Option<(u8, u8, Vec<u8>)> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.stream.read_exact(&mut payload).await.ok()?;
        Some((head[3], head[4], payload))
    }

    /// Answers what is asked for until the connection ends; the error of its last GOAWAY.
    pub(crate) async fn until_its_end(mut self) -> Option<u32> {
        let mut said = None;
        let reading = async {
            while let Some((kind, flags, payload)) = self.receive().await {
                let answer = match (kind, flags & ACK) {
                    (PING, 0) => frame(PING, ACK, 0, &payload),
                    (SETTINGS, 0) => frame(SETTINGS, ACK, 0, &[]),
                    (GOAWAY, _) => {
                        let code = payload[4..8].try_into().expect("four bytes");
                        said = Some(u32::from_be_bytes(code));
                        continue;
                    }
                    _ => continue,
                };
                drop(self.stream.write_all(&answer).await);
            }
        };
        timeout(PATIENCE, reading).await.expect("the connection ends");
        said
    }
}

/// As long as a condition is waited for elsewhere.
const PATIENCE: Duration = Duration::from_secs(60);
