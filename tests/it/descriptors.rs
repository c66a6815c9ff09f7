//! How many connections a test may open on this machine.
//!
//! The program under test inherits our limit of file descriptors, and each connection costs one at both
//! ends. A limit cannot be raised from here; where it is low the test opens fewer, and says so.

use tokio::sync::{Mutex, MutexGuard};

/// Descriptors for everything else: listeners, the log, tables, the other tests of this process.
const OTHERS: usize = 400;

/// One test at a time has what the limit leaves.
static TURN: Mutex<()> = Mutex::const_new(());

/// A test's turn, and the connections it may open.
pub(crate) struct Room {
    pub(crate) connections: usize,
    _turn: MutexGuard<'static, ()>,
}

/// Room for `wanted` connections, or for as many as the limit has room for.
pub(crate) async fn for_connections(wanted: usize) -> Room {
    let turn = TURN.lock().await;
    let limits = std::fs::read_to_string("/proc/self/limits").expect("our own limits");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("this one");
    let soft = line.split_whitespace().nth(3).and_then(|soft| soft.parse::<usize>().ok());
    let room = soft.unwrap_or(usize::MAX).saturating_sub(OTHERS);
    if room < wanted {
        eprintln!("{wanted} connections are wanted; the limit of descriptors has room for {room}");
    }
    assert!(room >= 100, "`ulimit -n` leaves no room for connections");
    Room { connections: wanted.min(room), _turn: turn }
}
