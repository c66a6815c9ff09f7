//! What the two processes say to each other beside the log's own files: the messages on its socket, to
//! its owner and to a follower, and the file `followers`.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use ethogram_timeline::log::link::{LinkClient, LinkServer};
use ethogram_timeline::log::{LogWriter, Position};

use super::check_memory;
use super::checksum::crc32c;
use super::log::{LOG, append};
use crate::harness::mutate::Target;

/// A follower's greeting and a position, which end with their checksum.
const GREETING_BYTES: usize = 80;
const POSITION_BYTES: usize = 64;
const CHECKSUM_BYTES: usize = 4;

const SOCKET: &str = "committed.sock";
const FOLLOWERS: &str = "followers";

const WORDS: &[&[u8]] = &[
    b"ETHOGFLW",
    b"ETHOGPOS",
    &[1, 0, 0, 0],
    &[60, 0, 0, 0],
    &[61, 0, 0, 0],
    b"query",
    b"../",
    &[0xff; 8],
    &[0; 8],
];

fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    directory.expect("a directory")
}

fn seal(message: &mut [u8]) {
    let (text, checksum) = message.split_at_mut(message.len() - CHECKSUM_BYTES);
    checksum.copy_from_slice(&crc32c(text).to_le_bytes());
}

fn greeting(name: &str) -> Vec<u8> {
    let mut bytes = [b"ETHOGFLW".as_slice(), &1_u32.to_le_bytes()].concat();
    bytes.extend(u32::try_from(name.len()).expect("short").to_le_bytes());
    bytes.extend(name.as_bytes());
    bytes.resize(GREETING_BYTES, 0);
    seal(&mut bytes);
    bytes
}

/// The same messages with their checksums made right; the first is `first` bytes long.
fn mended(input: &[u8], first: usize) -> Vec<u8> {
    let mut bytes = input.to_vec();
    let (head, rest) = bytes.split_at_mut(first.min(input.len()));
    if !head.is_empty() && head.len() == first {
        seal(head);
    }
    rest.chunks_exact_mut(POSITION_BYTES).for_each(seal);
    bytes
}

/// A position as the owner of a log pushes it.
fn pushed(directory: &Path, writer: &LogWriter) -> Vec<u8> {
    let server = LinkServer::start(directory, writer.clone()).expect("a socket");
    let mut stream = UnixStream::connect(directory.join(SOCKET)).expect("it listens");
    stream.write_all(&greeting("query")).expect("it is read");
    let mut position = vec![0; POSITION_BYTES];
    stream.read_exact(&mut position).expect("a position");
    drop((stream, server));
    position
}

fn place(position: Position) -> (u64, u64) {
    (position.segment, position.offset)
}

/// Says something to the owner of a log and hears it out; how far its followers then have passed it.
fn tell_owner(directory: &Path, writer: &LogWriter, bytes: &[u8]) -> Option<Position> {
    drop(std::fs::remove_file(directory.join(FOLLOWERS)));
    let server = LinkServer::start(directory, writer.clone()).expect("a socket");
    let mut stream = UnixStream::connect(directory.join(SOCKET)).expect("it listens");
    // It may hang up before it has read everything; in the end it does.
    drop(stream.write_all(bytes));
    drop(stream.shutdown(Shutdown::Write));
    drop(stream.read_to_end(&mut Vec::new()));
    let passed = server.passed();
    let committed = writer.committed();
    assert!(passed.is_none_or(|passed| place(passed) <= place(committed)), "{passed:?} is passed");
    // The log goes on; that also wakes the thread that waits to push, which is gone sooner then.
    append(writer, vec![1]);
    writer.truncate_before(writer.committed());
    passed
}

#[test]
fn messages_to_the_owner_of_the_log() {
    let directory = directory();
    let (writer, _) = LogWriter::open(directory.path(), LOG).expect("a new log");
    append(&writer, vec![7; 500]);
    let position = pushed(directory.path(), &writer);
    let seeds = vec![
        greeting("query"),
        [greeting("query"), position.clone()].concat(),
        [greeting(&"x".repeat(60)), position.repeat(3)].concat(),
    ];
    let target = Target { name: "link-to-owner", seeds, words: WORDS, inputs: 300 };
    target.fuzz(|input| {
        let passed = [input.to_vec(), mended(input, GREETING_BYTES)]
            .map(|bytes| tell_owner(directory.path(), &writer, &bytes));
        format!("{:?}", passed.map(|passed| passed.map(|passed| passed.segment > 0)))
    });
    writer.close();
    check_memory();
}

/// Whether these bytes are a position: all that a follower may believe.
fn is_position(bytes: &[u8]) -> bool {
    let (text, checksum) = bytes.split_at(POSITION_BYTES - CHECKSUM_BYTES);
    text.starts_with(b"ETHOGPOS")
        && text[8..12] == 1_u32.to_le_bytes()
        && *checksum == crc32c(text).to_le_bytes()
}

#[test]
fn messages_to_a_follower() {
    let original = directory();
    let (writer, _) = LogWriter::open(original.path(), LOG).expect("a new log");
    append(&writer, vec![7; 500]);
    let position = pushed(original.path(), &writer);
    writer.close();
    // Somebody else at the other end of the socket, and no log.
    let directory = directory();
    let listener = UnixListener::bind(directory.path().join(SOCKET)).expect("a socket");
    let seeds = vec![position.clone(), position.repeat(3)];
    let target = Target { name: "link-to-follower", seeds, words: WORDS, inputs: 3_000 };
    target.fuzz(|input| {
        let known = [input.to_vec(), mended(input, 0)].map(|bytes| {
            let mut client = LinkClient::new(directory.path(), "query");
            assert_eq!(client.wait(None, Duration::ZERO), None, "nothing was said");
            let (mut stream, _) = listener.accept().expect("it has connected");
            let mut greeted = vec![0; GREETING_BYTES];
            stream.read_exact(&mut greeted).expect("it greets");
            assert_eq!(greeted, greeting("query"));
            stream.write_all(&bytes).expect("a socket's buffer takes it");
            drop(stream);
            // Once for what was said, once for the end of it.
            client.wait(None, Duration::ZERO);
            let known = client.wait(None, Duration::ZERO);
            let newest = bytes.chunks_exact(POSITION_BYTES).next_back();
            assert_eq!(known.is_some(), newest.is_some_and(is_position), "{known:?}");
            known.map(|position| (position.epoch == 0, position.segment > 0))
        });
        format!("{known:?}")
    });
    check_memory();
}

/// A line of the file with its checksum.
fn line(text: &str) -> String {
    format!("{text} {:08x}", crc32c(text.as_bytes()))
}

/// The same lines with their checksums made right.
fn mended_lines(text: &str) -> String {
    let lines = text.lines().map(|own| match own.trim().rsplit_once(' ') {
        Some((text, _)) => line(text),
        None => String::from(own),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_file_of_the_followers() {
    let directory = directory();
    let (writer, _) = LogWriter::open(directory.path(), LOG).expect("a new log");
    for _ in 0..5 {
        append(&writer, vec![7; 900]);
    }
    let Position { log_id, epoch, segment, offset } = writer.committed();
    let at = |name: &str| line(&format!("{name} {log_id} {epoch} {segment} {offset}"));
    let other = line("query 00000000000000000000000000000001 1 9 64");
    let seeds = [at("query"), [at("a"), at("b"), String::new()].join("\n"), other];
    let seeds = seeds.map(String::into_bytes).to_vec();
    let id = log_id.to_string();
    let words: &[&[u8]] =
        &[b" ", b"\n", b"query", b"0", b"18446744073709551615", b"-1", b"+1", id.as_bytes()];
    Target { name: "followers", seeds, words, inputs: 1_000 }.fuzz(|input| {
        let text = String::from_utf8_lossy(input).into_owned();
        let passed = [input.to_vec(), mended_lines(&text).into_bytes()].map(|bytes| {
            std::fs::write(directory.path().join(FOLLOWERS), &bytes).expect("memory");
            let server = LinkServer::start(directory.path(), writer.clone()).expect("a socket");
            let passed = server.passed();
            drop(server);
            let text = String::from_utf8_lossy(&bytes);
            let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            assert_eq!(passed.is_some(), lines.clone().next().is_some(), "{text}");
            // What cannot be read holds back removal; only a sound line allows it.
            if let Some(passed) = passed.filter(|passed| passed.segment > 0) {
                let place = format!(" {} {} ", passed.segment, passed.offset);
                let is_sound = |own: &str| {
                    own.contains(&place)
                        && own.rsplit_once(' ').is_some_and(|(text, _)| line(text) == own)
                };
                assert!(lines.any(is_sound), "{passed} by no line of {text}");
            }
            passed.map(|passed| passed.segment.min(2))
        });
        format!("{passed:?}")
    });
    append(&writer, vec![1]);
    writer.close();
    check_memory();
}
