//! The owner's end of the link. Not the writer: it only watches it, on threads of its own, so a
//! slow follower delays no commit.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

use super::super::committed::{BLOCK_BYTES, Committed};
use super::super::position::Position;
use super::super::writer::LogWriter;
use super::followers::{FOLLOWERS_MAX, Followers};
use super::message::{self, GREETING_BYTES, SocketPath};

/// A follower that does not say who it is, or does not take a message, for this long is
/// disconnected. One second: both ends are on one machine.
const IMPATIENCE: Duration = Duration::from_secs(1);
/// How often a waiting thread looks whether its connection ended.
const LOOK: Duration = Duration::from_millis(250);

/// Pushes the committed position to followers, and takes their acknowledgements. Ends when
/// dropped.
pub struct LinkServer {
    shared: Arc<Shared>,
    accept: Option<JoinHandle<()>>,
}

struct Shared {
    writer: LogWriter,
    followers: Mutex<Followers>,
    stop: AtomicBool,
    connections: Mutex<Vec<Connection>>,
}

struct Connection {
    stream: UnixStream,
    thread: JoinHandle<()>,
}

impl LinkServer {
    /// Starts serving the log in `dir`, which must be the one that `writer` owns.
    pub fn start(dir: &Path, writer: LogWriter) -> io::Result<Self> {
        let followers = Followers::load(writer.disk().clone(), writer.committed().log_id)?;
        let socket = SocketPath::of(dir)?;
        // The lock of the log says that no other server is alive, so a socket there is a dead one.
        match std::fs::remove_file(&socket.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&socket.path)?;
        let shared = Arc::new(Shared {
            writer,
            followers: Mutex::new(followers),
            stop: AtomicBool::new(false),
            connections: Mutex::new(Vec::new()),
        });
        shared.remove_passed();
        let accepting = Arc::clone(&shared);
        let accept = std::thread::Builder::new()
            .name("log-link".to_owned())
            .spawn(move || accept_all(&accepting, &listener))?;
        Ok(Self { shared, accept: Some(accept) })
    }

    /// How far every known follower has passed the log; `None` without followers.
    pub fn passed(&self) -> Option<Position> {
        self.shared.followers.lock().passed()
    }
}

impl Drop for LinkServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        // A connection of our own wakes the thread that accepts them.
        let directory = self.shared.writer.disk().path();
        let woken = SocketPath::of(directory).and_then(|socket| {
            let woken = UnixStream::connect(&socket.path);
            std::fs::remove_file(&socket.path).and(woken)
        });
        if let (Some(accept), Ok(_)) = (self.accept.take(), woken) {
            join(accept);
        }
        for connection in std::mem::take(&mut *self.shared.connections.lock()) {
            connection.end();
        }
    }
}

impl Connection {
    fn end(self) {
        shut_down(&self.stream);
        join(self.thread);
    }
}

fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("a thread of the log's link panicked");
    }
}

fn shut_down(stream: &UnixStream) {
    if let Err(error) = stream.shutdown(Shutdown::Both) {
        tracing::trace!(%error, "the follower was gone already");
    }
}

fn accept_all(shared: &Arc<Shared>, listener: &UnixListener) {
    for stream in listener.incoming() {
        if shared.stop.load(Ordering::Acquire) {
            return;
        }
        let mut connections = shared.connections.lock();
        connections.retain(|connection| !connection.thread.is_finished());
        let result = match stream {
            Ok(_) if connections.len() >= 2 * FOLLOWERS_MAX => {
                Err(io::Error::other("too many connections"))
            }
            Ok(stream) => connect(shared, stream).map(|connection| connections.push(connection)),
            Err(error) => Err(error),
        };
        drop(connections);
        if let Err(error) = result {
            tracing::warn!(%error, "cannot serve a follower");
            // Out of descriptors, most likely: without a pause this would be a busy loop.
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn connect(shared: &Arc<Shared>, stream: UnixStream) -> io::Result<Connection> {
    let ours = stream.try_clone()?;
    let shared = Arc::clone(shared);
    let thread = std::thread::Builder::new().name("log-follower".to_owned()).spawn(move || {
        if let Err(error) = shared.serve(&stream) {
            tracing::debug!(%error, "a follower disconnected");
        }
        shut_down(&stream);
    })?;
    Ok(Connection { stream: ours, thread })
}

impl Shared {
    /// Serves one follower until it goes: this thread takes acknowledgements, another pushes.
    fn serve(self: &Arc<Self>, mut stream: &UnixStream) -> io::Result<()> {
        stream.set_read_timeout(Some(IMPATIENCE))?;
        stream.set_write_timeout(Some(IMPATIENCE))?;
        let mut greeting = [0; GREETING_BYTES];
        stream.read_exact(&mut greeting)?;
        let name = message::greeted(&greeting);
        let name = name.ok_or_else(|| io::Error::other("not a follower of this version"))?;
        if !self.followers.lock().register(&name)? {
            return Err(io::Error::other(format!("too many followers to take in {name}")));
        }
        stream.set_read_timeout(None)?;
        let ended = Arc::new(AtomicBool::new(false));
        let pushing = (Arc::clone(self), stream.try_clone()?, Arc::clone(&ended));
        let push = std::thread::Builder::new().name("log-push".to_owned()).spawn(move || {
            let (shared, stream, ended) = pushing;
            shared.push(&stream, &ended);
            // The other thread of this follower waits for bytes; it shall not wait any longer.
            shut_down(&stream);
        })?;
        let result = self.take_acknowledgements(stream, &name);
        ended.store(true, Ordering::Release);
        shut_down(stream);
        join(push);
        result
    }

    fn take_acknowledgements(&self, mut stream: &UnixStream, name: &str) -> io::Result<()> {
        let mut block = [0; BLOCK_BYTES];
        loop {
            stream.read_exact(&mut block)?;
            let Some(Committed { position, .. }) = Committed::decode(&block) else {
                return Err(io::Error::other("not an acknowledgement"));
            };
            if position.place() > self.writer.committed().place() {
                // Of another log, or of one whose disk lied: it says nothing about what is here.
                tracing::warn!(name, %position, "a follower is ahead of the log");
                continue;
            }
            self.followers.lock().acknowledge(name, position)?;
            self.remove_passed();
        }
    }

    fn remove_passed(&self) {
        // The lock is held meanwhile: a follower that registers now must not lose a segment
        // that was judged before it was known.
        let followers = self.followers.lock();
        if let Some(passed) = followers.passed() {
            self.writer.truncate_before(passed);
        }
    }

    fn push(&self, mut stream: &UnixStream, ended: &AtomicBool) {
        let mut sent = None;
        while !ended.load(Ordering::Acquire) && !self.stop.load(Ordering::Acquire) {
            let position = match sent {
                Some(sent) => self.writer.wait_committed(sent, LOOK),
                None => self.writer.committed(),
            };
            if sent == Some(position) {
                continue;
            }
            if let Err(error) = stream.write_all(&message::position(position)) {
                tracing::debug!(%error, "cannot push to a follower");
                return;
            }
            sent = Some(position);
        }
    }
}
