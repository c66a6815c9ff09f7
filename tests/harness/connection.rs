//! A kept HTTP/1.1 connection without a library: one request after the other, answers in full.
//!
//! It is for load: what a request costs here is not what is measured.

use std::io::{Error, ErrorKind};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer that takes longer is none: the collector itself gives up after five seconds.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// What came back, as far as a sender of telemetry looks at it.
#[derive(Clone, Copy, Debug)]
pub struct Short {
    pub status: u16,
    pub retry_after_s: Option<u64>,
}

/// A connection that is opened when it is needed, and again when it broke.
pub struct Connection {
    address: String,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Connection {
    pub fn new(address: &str) -> Self {
        Self { address: address.into(), stream: None, buffer: Vec::new() }
    }

    /// Goes to another address from now on.
    pub fn redirect(&mut self, address: &str) {
        if self.address != address {
            (self.address, self.stream) = (address.into(), None);
        }
    }

    /// Sends a body and waits for its answer. After an error the connection is closed, and it is
    /// not known whether the body arrived.
    pub async fn post(
        &mut self,
        path: &str,
        content_type: &str,
        body: &[u8],
    ) -> Result<Short, Error> {
        let answer = tokio::time::timeout(ANSWER_MAX, self.exchange(path, content_type, body));
        let answer = answer.await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()));
        if answer.is_err() {
            self.stream = None;
        }
        answer
    }

    async fn exchange(
        &mut self,
        path: &str,
        content_type: &str,
        body: &[u8],
    ) -> Result<Short, Error> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(&self.address).await?;
                stream.set_nodelay(true)?;
                stream
            }
        };
        self.buffer.clear();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        self.buffer.extend_from_slice(head.as_bytes());
        self.buffer.extend_from_slice(body);
        stream.write_all(&self.buffer).await?;
        self.buffer.clear();
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        let length = field(&head, "content-length").and_then(|length| length.parse().ok());
        while self.buffer.len() < end + length.unwrap_or(0) {
            if stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or(ErrorKind::InvalidData)?;
        let is_kept = length.is_some() || status == 204;
        if is_kept && field(&head, "connection") != Some("close") {
            self.stream = Some(stream);
        }
        let retry_after_s = field(&head, "retry-after").and_then(|seconds| seconds.parse().ok());
        Ok(Short { status, retry_after_s })
    }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find_map(|(own, value)| own.eq_ignore_ascii_case(name).then(|| value.trim()))
}
