//! The link over a real socket.

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use super::super::{LogConfig, LogWriter, Position};
use super::followers::{FOLLOWERS_MAX, Followers};
use super::*;

/// Far more than anything here takes; a wait that reaches it has failed.
const LONG: Duration = Duration::from_secs(20);
/// For waits that are expected to end without news.
const SHORT: Duration = Duration::from_millis(1);

fn open(dir: &Path) -> LogWriter {
    let config = LogConfig {
        segment_bytes: 2048,
        budget_bytes: 16 * 2048,
        record_bytes_max: 4096,
        ..LogConfig::default()
    };
    LogWriter::open(dir, config).unwrap().0
}

fn append(writer: &LogWriter, len: usize) -> Position {
    let (sender, receiver) = mpsc::channel();
    writer.append(vec![7; len], move |result| sender.send(result).unwrap());
    receiver.recv().unwrap().unwrap()
}

/// Waits until something is true.
fn until(mut condition: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + LONG;
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "it did not become true");
        std::thread::yield_now();
    }
}

#[test]
fn a_follower_is_woken_by_each_commit() {
    let dir = tempfile::tempdir().unwrap();
    let writer = open(dir.path());
    let server = LinkServer::start(dir.path(), writer.clone()).unwrap();
    let mut client = LinkClient::new(dir.path(), "query");
    let mut seen = client.wait(None, LONG).unwrap();
    assert_eq!(seen, writer.committed());
    for _ in 0..100 {
        let appended = append(&writer, 100);
        seen = client.wait(Some(seen), LONG).unwrap();
        assert_eq!(seen, appended);
    }
    assert!(client.is_connected());
    // Nothing new: the timeout, and what is known.
    assert_eq!(client.wait(Some(seen), SHORT), Some(seen));
    // One that slept gets the newest, not each.
    for _ in 0..200 {
        append(&writer, 10);
    }
    until(|| client.wait(Some(seen), LONG) == Some(writer.committed()));
    drop(server);
}

#[test]
fn a_follower_lives_through_its_server_s_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut client = LinkClient::new(dir.path(), "query");
    assert_eq!(client.wait(None, SHORT), None, "there is no log yet");
    let mut last = None;
    for round in 0..3 {
        let writer = open(dir.path());
        let server = LinkServer::start(dir.path(), writer.clone()).unwrap();
        let appended = append(&writer, 1500);
        until(|| client.wait(last, LONG) == Some(appended));
        until(|| {
            client.wait(Some(appended), SHORT);
            client.is_connected()
        });
        client.acknowledge(appended);
        until(|| server.passed() == Some(appended));
        last = Some(appended);
        // Without a server: the file says where it ended.
        drop(server);
        let unseen = append(&writer, 1500);
        writer.close();
        until(|| client.wait(last, LONG) == Some(unseen));
        assert!(!client.is_connected(), "round {round}");
        last = Some(unseen);
        // Acknowledged while nobody listens: said again after the next connection.
        client.acknowledge(unseen);
    }
    let server = LinkServer::start(dir.path(), open(dir.path())).unwrap();
    until(|| {
        client.wait(last, SHORT);
        server.passed() == last
    });
}

#[test]
fn segments_go_when_every_follower_has_passed_them() {
    let dir = tempfile::tempdir().unwrap();
    let writer = open(dir.path());
    let server = LinkServer::start(dir.path(), writer.clone()).unwrap();
    let positions: Vec<Position> = (0..10).map(|_| append(&writer, 1500)).collect();
    let kept_from = |position: Position| positions[9].segment - position.segment + 1;
    assert_eq!((server.passed(), writer.stats().segments), (None, positions[9].segment));
    let mut fast = LinkClient::new(dir.path(), "fast");
    let mut slow = LinkClient::new(dir.path(), "slow");
    fast.wait(None, LONG);
    slow.wait(None, LONG);
    fast.acknowledge(positions[8]);
    slow.acknowledge(positions[2]);
    until(|| writer.stats().segments == kept_from(positions[2]));
    assert_eq!(server.passed(), Some(positions[2]));
    // Who is away is not forgotten, not even by another server.
    drop((slow, server));
    let server = LinkServer::start(dir.path(), writer.clone()).unwrap();
    fast.acknowledge(positions[9]);
    until(|| {
        fast.wait(Some(positions[9]), SHORT);
        fast.is_connected()
    });
    let expected = (Some(positions[2]), kept_from(positions[2]));
    assert_eq!((server.passed(), writer.stats().segments), expected);
    let mut slow = LinkClient::new(dir.path(), "slow");
    slow.wait(None, LONG);
    slow.acknowledge(positions[9]);
    until(|| writer.stats().segments == 1);
}

#[test]
fn followers_are_kept_in_lines_a_person_can_read() {
    let dir = tempfile::tempdir().unwrap();
    let writer = open(dir.path());
    let at = append(&writer, 100);
    let load = || Followers::load(writer.disk().clone(), at.log_id).unwrap();
    let mut followers = load();
    assert_eq!(followers.passed(), None);
    assert!(followers.register("a").unwrap() && followers.register("b").unwrap());
    followers.acknowledge("a", at).unwrap();
    followers.acknowledge("b", at).unwrap();
    assert_eq!(load().passed(), Some(at));
    let path = dir.path().join("followers");
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 2);
    let check = |text: &str, expected: Option<u64>| {
        std::fs::write(&path, text).unwrap();
        assert_eq!(load().passed().map(|position| position.segment), expected, "{text}");
    };
    check(text.lines().next().unwrap(), Some(1));
    check("", None);
    check(&text.replace(" 1 ", " 9 "), Some(0));
    check("garbage \u{fffd}\n", Some(0));
    // A follower of another log has passed nothing of this one.
    let mut other = Followers::load(writer.disk().clone(), super::super::LogId(1)).unwrap();
    std::fs::write(&path, &text).unwrap();
    other.acknowledge("a", at).unwrap();
    assert_eq!(other.passed().map(|position| position.segment), Some(0));
    let mut followers = load();
    for number in 0..FOLLOWERS_MAX - 2 {
        assert!(followers.register(&format!("f{number}")).unwrap());
    }
    assert!(!followers.register("one-too-many").unwrap());
}

#[test]
fn strangers_are_disconnected_and_harm_nobody() {
    use std::io::{Read, Write};
    let dir = tempfile::tempdir().unwrap();
    let writer = open(dir.path());
    let server = LinkServer::start(dir.path(), writer.clone()).unwrap();
    let path = dir.path().join(message::SOCKET_NAME);
    for greeting in [[0; message::GREETING_BYTES], message::greeting("not a name")] {
        let mut stranger = std::os::unix::net::UnixStream::connect(&path).unwrap();
        stranger.write_all(&greeting).unwrap();
        let mut rest = Vec::new();
        stranger.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"");
    }
    assert_eq!(server.passed(), None);
    let mut client = LinkClient::new(dir.path(), "query");
    assert_eq!(client.wait(None, LONG), Some(writer.committed()));
}

#[cfg(target_os = "linux")]
#[test]
fn a_deep_directory_is_no_obstacle() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("d".repeat(120)).join("log");
    let writer = open(&deep);
    let server = LinkServer::start(&deep, writer.clone()).unwrap();
    let mut client = LinkClient::new(&deep, "query");
    until(|| {
        client.wait(None, SHORT);
        client.is_connected()
    });
    drop(server);
    assert!(!deep.join(message::SOCKET_NAME).exists());
}
