//! Sessions that fall silent, and what they cost the process by the kernel's account.

use ethogram_timeline::join::{Config, Join};
use ethogram_timeline::schema::{Event, Label, PageId, SessionId, Time};
use ethogram_timeline::store::{self, Store};

use super::{at, event, span, status};

/// So many sessions of so many pages each, silent for a few minutes and more: how many traces, spans and
/// sessions are open then, and the bytes of one session. A quarter more come before the first look. Of a
/// process that has done so before it says nothing: that has free memory.
pub(crate) fn session_bytes(sessions: u64, pages: u64) -> ((usize, usize, usize), f64) {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _) = Store::open(directory.path(), store::Config::default()).expect("opens");
    let mut join = Join::new(Config { sessions_max: 1 << 20, ..Config::default() });
    join.shelve_on(store.shelf());
    let (mut now_s, sessions_of_a_second) = (0, (sessions / 1_000).max(1));
    // A first round fills what is kept anyway: known prints, free memory.
    let mut round = |join: &mut Join, sessions: std::ops::Range<u64>| {
        for session in sessions {
            for page in 0..pages {
                let mut rows = at(now_s, Vec::new());
                let mut attempt = span(session * pages + page, 0, Some(&name(session)));
                attempt.row.page_id = page_of(session, page);
                rows.spans.push(attempt);
                rows.events.extend((0..3).map(|sequence| said(session, page, sequence)));
                for event in &mut rows.events {
                    event.row.time_received = Time(rows.received_ns);
                }
                join.push(rows);
                // Twenty minutes for all of them, so that none has ended.
                if (session * pages + page).is_multiple_of(sessions_of_a_second * pages) {
                    join.emit();
                    now_s += 1;
                }
            }
        }
    };
    round(&mut join, 0..sessions / 4);
    let before = status("VmRSS");
    round(&mut join, sessions / 4..sessions / 4 + sessions);
    join.emit();
    for _ in 0..5 {
        now_s += 70;
        join.push(at(now_s, Vec::new()));
        join.emit();
    }
    (join.open(), (status("VmRSS") - before) / sessions as f64)
}

fn name(session: u64) -> SessionId {
    SessionId::new(&format!("{session:08x}-0000-4000-8000-000000000000")).expect("not empty")
}

/// As long as the beacon's.
fn page_of(session: u64, page: u64) -> Option<PageId> {
    PageId::new(&format!("{session:08x}{page:08x}"))
}

/// One of the three events of a page; the first says how the page was reached.
fn said(session: u64, page: u64, sequence: i64) -> Event {
    let mut event = event(session, sequence, Some(&name(session)));
    event.row.page_id = page_of(session, page);
    if sequence == 0 {
        event.row.event_name = Label::new("browser.navigation");
        event.hints.navigation_type = Some(Label::new("navigate"));
        event.hints.previous_page_id = page.checked_sub(1).and_then(|page| page_of(session, page));
    }
    event
}
