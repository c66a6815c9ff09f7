//! A follower's end of the link. Not a reader of the log: it only says how far to read.
//!
//! Invariant: it never fails; without a server it knows what the file `committed` says.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::super::committed::{BLOCK_BYTES, Committed};
use super::super::disk::Disk;
use super::super::position::Position;
use super::message::{self, SocketPath};

/// Pause between attempts to connect, and between looks at the file meanwhile. 50 ms: a
/// collector's restart costs a follower no more than that.
const RETRY: Duration = Duration::from_millis(50);
/// The longest one read waits: what a change of the system's clock can cost.
const READ_WAIT_MAX: Duration = Duration::from_secs(1);
/// Bytes taken from the socket at once: 64 messages, so that a follower that slept catches up.
const INBOX_BYTES: usize = 64 * BLOCK_BYTES;

/// Knows the committed position of a log that another process owns.
#[derive(Debug)]
pub struct LinkClient {
    disk: Disk,
    name: String,
    stream: Option<UnixStream>,
    /// Bytes of messages that arrived, less than one whole message.
    inbox: Vec<u8>,
    newest: Option<Position>,
    acknowledged: Option<Position>,
    retry_at: Option<Instant>,
}

impl LinkClient {
    /// A follower called `name` (letters, digits, `-`, `_`; at most 60) of the log in `dir`.
    /// Connects when it is first used; the directory may not exist yet.
    pub fn new(dir: &Path, name: &str) -> Self {
        Self {
            disk: Disk::new(dir),
            name: name.to_owned(),
            stream: None,
            inbox: Vec::new(),
            newest: None,
            acknowledged: None,
            retry_at: None,
        }
    }

    /// The newest committed position, `None` while none is known. Returns at once if that is
    /// beyond `after` (or of another log); otherwise waits for it, at most `timeout`.
    pub fn wait(&mut self, after: Option<Position>, timeout: Duration) -> Option<Position> {
        let deadline = Instant::now() + timeout;
        let mut wait = Duration::ZERO;
        loop {
            self.connect_when_due();
            self.receive(wait);
            if self.stream.is_none() {
                self.look_at_file();
            }
            let rest = deadline.saturating_duration_since(Instant::now());
            if self.moved_beyond(after) || rest.is_zero() {
                return self.newest;
            }
            if self.stream.is_none() {
                std::thread::sleep(rest.min(RETRY));
            }
            wait = rest.min(READ_WAIT_MAX);
        }
    }

    /// Says that everything up to `position` is kept elsewhere and may be removed from the log.
    /// Remembered, and said again after a reconnection.
    pub fn acknowledge(&mut self, position: Position) {
        if self.acknowledged == Some(position) && self.stream.is_some() {
            return;
        }
        self.acknowledged = Some(position);
        if self.stream.is_none() {
            self.connect_when_due();
        } else {
            self.send_acknowledged();
        }
    }

    /// Whether a server is connected; without one, positions come from the file.
    pub fn is_connected(&self) -> bool {
        self.stream.is_some()
    }

    fn moved_beyond(&self, after: Option<Position>) -> bool {
        match (self.newest, after) {
            (Some(newest), Some(after)) => {
                newest.log_id != after.log_id || newest.place() > after.place()
            }
            (newest, None) => newest.is_some(),
            (None, Some(_)) => false,
        }
    }

    fn connect_when_due(&mut self) {
        if self.stream.is_some() || self.retry_at.is_some_and(|at| Instant::now() < at) {
            return;
        }
        match self.connect() {
            Ok(stream) => {
                self.stream = Some(stream);
                self.inbox.clear();
                self.retry_at = None;
                self.send_acknowledged();
            }
            Err(error) => {
                tracing::trace!(%error, "no connection to the log's owner");
                self.retry_at = Some(Instant::now() + RETRY);
            }
        }
    }

    fn connect(&self) -> io::Result<UnixStream> {
        let socket = SocketPath::of(self.disk.path())?;
        let mut stream = UnixStream::connect(&socket.path)?;
        stream.set_write_timeout(Some(READ_WAIT_MAX))?;
        stream.write_all(&message::greeting(&self.name))?;
        Ok(stream)
    }

    fn send_acknowledged(&mut self) {
        let (Some(stream), Some(position)) = (self.stream.as_mut(), self.acknowledged) else {
            return;
        };
        if let Err(error) = stream.write_all(&message::position(position)) {
            self.disconnect(&error);
        }
    }

    /// Takes what arrived; if that is nothing, waits for it, at most `wait`.
    fn receive(&mut self, wait: Duration) {
        let Some(stream) = self.stream.as_mut() else {
            return;
        };
        match receive_some(stream, &mut self.inbox, wait) {
            Ok(()) => {}
            Err(error) => return self.disconnect(&error),
        }
        let whole = self.inbox.len() / BLOCK_BYTES * BLOCK_BYTES;
        if whole == 0 {
            return;
        }
        match Committed::decode(&self.inbox[whole - BLOCK_BYTES..whole]) {
            Some(committed) => {
                self.newest = Some(committed.position);
                self.inbox.drain(..whole);
            }
            None => self.disconnect(&io::Error::other("not a position")),
        }
    }

    fn disconnect(&mut self, error: &io::Error) {
        tracing::debug!(%error, "disconnected from the log's owner");
        self.stream = None;
        self.inbox.clear();
        self.retry_at = Some(Instant::now() + RETRY);
    }

    fn look_at_file(&mut self) {
        match self.disk.read_committed() {
            Ok(Some(committed)) => {
                let found = committed.position;
                // The file may be older than what the socket said; it never takes that back.
                let is_news = self.newest.is_none_or(|newest| {
                    newest.log_id != found.log_id || newest.place() < found.place()
                });
                if is_news {
                    self.newest = Some(found);
                }
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, "cannot read the committed position"),
        }
    }
}

/// Reads all that is there, up to a bounded amount.
fn receive_some(stream: &mut UnixStream, inbox: &mut Vec<u8>, wait: Duration) -> io::Result<()> {
    let mut bytes = [0; INBOX_BYTES];
    // A timeout of zero would mean to wait for ever.
    stream.set_nonblocking(wait.is_zero())?;
    if !wait.is_zero() {
        stream.set_read_timeout(Some(wait))?;
    }
    let read = stream.read(&mut bytes);
    stream.set_nonblocking(false)?;
    match read {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(count) => {
            inbox.extend_from_slice(&bytes[..count]);
            Ok(())
        }
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted => {
                Ok(())
            }
            _ => Err(error),
        },
    }
}
