//! Sessions that fall silent, and what they cost the process by the kernel's account.

use ethogram_timeline::join::{Config, Join};
use ethogram_timeline::schema::{SessionId, Time};
use ethogram_timeline::store::{self, Store};

use super::{at, event, span, status};

/// Twenty thousand sessions of one page each, silent for a few minutes and more: how many traces, spans
/// and sessions are open then, and the bytes of one session.
pub(crate) fn session_bytes() -> ((usize, usize, usize), f64) {
    const SESSIONS: u64 = 20_000;
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _) = Store::open(directory.path(), store::Config::default()).expect("opens");
    let mut join = Join::new(Config { sessions_max: 1 << 20, ..Config::default() });
    join.shelve_on(store.shelf());
    let mut now_s = 0;
    // A first round fills what is kept anyway: known prints, free memory.
    let mut round = |join: &mut Join, sessions: std::ops::Range<u64>| {
        for session in sessions {
            let id = SessionId::new(&format!("{session:08x}-0000-4000-8000-000000000000"));
            let mut rows = at(now_s, Vec::new());
            rows.spans.push(span(session, 0, id.as_ref()));
            for sequence in 0..3 {
                rows.events.push(event(session, sequence, id.as_ref()));
            }
            for event in &mut rows.events {
                event.row.time_received = Time(rows.received_ns);
            }
            join.push(rows);
            if session % 20 == 0 {
                join.emit();
                now_s += 1;
            }
        }
    };
    round(&mut join, 0..5_000);
    let before = status("VmRSS");
    round(&mut join, 5_000..5_000 + SESSIONS);
    join.emit();
    for _ in 0..5 {
        now_s += 70;
        join.push(at(now_s, Vec::new()));
        join.emit();
    }
    (join.open(), (status("VmRSS") - before) / SESSIONS as f64)
}
