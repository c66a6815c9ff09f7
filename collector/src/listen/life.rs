//! How long one connection may live: what it has done, and what the time has come for.
//!
//! Pure but for the counts that requests keep: [`Life::verdict`] is a function of them and of now.
//!
//! Invariants: a connection without a first request ends; so does one that is slow at a further head
//! (within twice the time); one without a request for `idle` ends;
//! every one ends at its age; one whose client breaks off what it begins ends before it costs much. A
//! client that is served meanwhile is told first, and what it has begun is answered.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::Version;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Why a connection was ended by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The handshake failed: no TLS, no protocol or certificate that both accept.
    Handshake,
    /// The handshake did not end in time.
    SlowHandshake,
    /// No whole request head came in time; the first, or a further one that was begun.
    FirstRequest,
    /// There was no request for long.
    Idle,
    /// It was old.
    Age,
    /// The client broke off too many of its requests.
    BrokenOff,
}

impl Cut {
    pub(crate) const ALL: [Self; 6] = [
        Self::Handshake,
        Self::SlowHandshake,
        Self::FirstRequest,
        Self::Idle,
        Self::Age,
        Self::BrokenOff,
    ];

    /// The label in counters.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::SlowHandshake => "slow_handshake",
            Self::FirstRequest => "first_request",
            Self::Idle => "idle",
            Self::Age => "age",
            Self::BrokenOff => "broken_off",
        }
    }
}

/// The times of one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// For a request's head: from the connection's beginning for the first, from its first bytes for
    /// others.
    pub(super) first_request: Duration,
    /// Without a request.
    pub(super) idle: Duration,
    /// From its beginning until it is asked to end.
    pub(super) age: Duration,
    /// From being asked until it is ended, where requests run.
    pub(super) leave: Duration,
}

/// What to do about a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    /// Nothing before then.
    Wait(Instant),
    /// Tell the client, and let it finish.
    Leave(Cut),
    /// End it. The cause has been told where it was asked to leave before.
    End(Option<Cut>),
}

/// What one connection has done so far.
pub(super) struct Life {
    begun: Instant,
    times: Times,
    /// Requests that the client may break off whatever else it does; beyond it, it must have let twice as
    /// many be answered.
    broken_off_max: u64,
    running: AtomicUsize,
    answered: AtomicU64,
    broken_off: AtomicU64,
    /// When the last request ended; the beginning, before there was one.
    quiet_since: Mutex<Instant>,
    /// Whether requests come one after the other, so that what is heard between them is a head.
    takes_turns: AtomicBool,
    /// When the first bytes of a further request's head came, until it is whole.
    head_since: Mutex<Option<Instant>>,
    abused: Notify,
}

/// Time for a client to say goodbye once nothing of it runs: a round trip round the world, twice.
const FAREWELL: Duration = Duration::from_secs(1);

impl Life {
    pub(super) fn new(begun: Instant, times: Times, broken_off_max: u64) -> Arc<Self> {
        Arc::new(Self {
            begun,
            times,
            broken_off_max,
            running: AtomicUsize::new(0),
            answered: AtomicU64::new(0),
            broken_off: AtomicU64::new(0),
            quiet_since: Mutex::new(begun),
            takes_turns: AtomicBool::new(false),
            head_since: Mutex::new(None),
            abused: Notify::new(),
        })
    }

    /// A request begins. It has ended when what is returned is dropped.
    pub(super) fn request(self: &Arc<Self>, version: Version) -> Running {
        self.takes_turns.store(version < Version::HTTP_2, Ordering::Relaxed);
        *self.head_since.lock() = None;
        self.running.fetch_add(1, Ordering::Relaxed);
        let turn = Turn { life: Arc::clone(self), is_broken: AtomicBool::new(false) };
        Running { turn: Arc::new(turn), is_answered: false }
    }

    /// The client has sent something. In HTTP/2 it may be a ping.
    pub(super) fn heard(&self) {
        let is_quiet = self.running.load(Ordering::Relaxed) == 0;
        if is_quiet && self.takes_turns.load(Ordering::Relaxed) {
            self.head_since.lock().get_or_insert_with(Instant::now);
        }
    }

    /// Completes when the client has broken off too many requests.
    pub(super) async fn abused(&self) {
        self.abused.notified().await;
    }

    /// What the time has come for. `left` is since when the connection has been asked to leave.
    pub(super) fn verdict(&self, now: Instant, left: Option<Instant>) -> Verdict {
        let runs = self.running.load(Ordering::Relaxed) > 0;
        let has_begun = runs || self.ended() > 0;
        if let Some(left) = left {
            let last = left + if runs { self.times.leave } else { FAREWELL };
            // Requests end at any time, so it is looked at more often than at the last moment.
            return if now >= last {
                Verdict::End(None)
            } else {
                Verdict::Wait(last.min(now + FAREWELL))
            };
        }
        let head_since = if has_begun { *self.head_since.lock() } else { Some(self.begun) };
        let head_until = head_since.map(|since| since + self.times.first_request);
        if head_until.is_some_and(|until| now >= until) && !runs {
            return Verdict::End(Some(Cut::FirstRequest));
        }
        let age_until = self.begun + self.times.age;
        if now >= age_until {
            return Verdict::Leave(Cut::Age);
        }
        let quiet_since = if runs { now } else { *self.quiet_since.lock() };
        let idle_until = quiet_since + self.times.idle;
        if now >= idle_until {
            return Verdict::Leave(Cut::Idle);
        }
        // A head may begin at any time, so it is looked at as often as one may take.
        let next = age_until.min(idle_until).min(now + self.times.first_request);
        Verdict::Wait(head_until.map_or(next, |until| next.min(until)))
    }

    fn ended(&self) -> u64 {
        self.answered.load(Ordering::Relaxed) + self.broken_off.load(Ordering::Relaxed)
    }

    fn break_off(&self) {
        let broken_off = 1 + self.broken_off.fetch_add(1, Ordering::Relaxed);
        let answered = self.answered.load(Ordering::Relaxed);
        if broken_off > self.broken_off_max && broken_off.saturating_mul(2) > answered {
            self.abused.notify_one();
        }
    }
}

/// One request, as its answer and its body both see it.
struct Turn {
    life: Arc<Life>,
    is_broken: AtomicBool,
}

impl Turn {
    fn break_off(&self) {
        if !self.is_broken.swap(true, Ordering::Relaxed) {
            self.life.break_off();
        }
    }
}

/// A request that runs.
pub(super) struct Running {
    turn: Arc<Turn>,
    is_answered: bool,
}

impl Running {
    /// The request's body, which tells when its client breaks it off: the door still answers then, to
    /// nobody.
    pub(super) fn watch(&self, body: Incoming) -> Body {
        Body::new(Watched { body, turn: Arc::clone(&self.turn) })
    }

    pub(super) fn answered(mut self) {
        self.is_answered = true;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let life = &self.turn.life;
        *life.quiet_since.lock() = Instant::now();
        if !self.is_answered {
            self.turn.break_off();
        } else if !self.turn.is_broken.load(Ordering::Relaxed) {
            life.answered.fetch_add(1, Ordering::Relaxed);
        }
        life.running.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Watched {
    body: Incoming,
    turn: Arc<Turn>,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(Some(Err(_)))) {
            self.turn.break_off();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: Times = Times {
        first_request: Duration::from_secs(10),
        idle: Duration::from_secs(75),
        age: Duration::from_secs(600),
        leave: Duration::from_secs(21),
    };

    const BROKEN_OFF_MAX: u64 = 100;

    fn life(begun: Instant) -> Arc<Life> {
        Life::new(begun, TIMES, BROKEN_OFF_MAX)
    }

    /// The verdict at `at_s` of a connection whose last request of `requests` ended at its beginning,
    /// while `running` of them run.
    fn verdict(requests: usize, running: usize, at_s: u64, left_s: Option<u64>) -> Verdict {
        let begun = Instant::now();
        let life = life(begun);
        let mut runs: Vec<Running> =
            (0..requests).map(|_| life.request(Version::HTTP_11)).collect();
        runs.split_off(running).into_iter().for_each(Running::answered);
        *life.quiet_since.lock() = begun;
        let at = |seconds| begun + Duration::from_secs(seconds);
        match life.verdict(at(at_s), left_s.map(at)) {
            // Seconds since the beginning, for the tables.
            Verdict::Wait(until) => Verdict::Wait(base() + until.duration_since(begun)),
            other => other,
        }
    }

    fn base() -> Instant {
        static BASE: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *BASE.get_or_init(Instant::now)
    }

    fn wait(seconds: u64) -> Verdict {
        Verdict::Wait(base() + Duration::from_secs(seconds))
    }

    #[test]
    fn a_connection_ends_in_time() {
        let check = |requests, running, at_s, left_s, expected| {
            let got = verdict(requests, running, at_s, left_s);
            assert_eq!(got, expected, "{requests} {running} {at_s} {left_s:?}");
        };
        check(0, 0, 0, None, wait(10));
        check(0, 0, 10, None, Verdict::End(Some(Cut::FirstRequest)));
        check(1, 1, 10, None, wait(20));
        check(1, 0, 10, None, wait(20));
        check(1, 0, 70, None, wait(75));
        check(1, 0, 75, None, Verdict::Leave(Cut::Idle));
        check(2, 1, 580, None, wait(590));
        check(2, 1, 595, None, wait(600));
        check(2, 1, 600, None, Verdict::Leave(Cut::Age));
        check(2, 1, 601, Some(600), wait(602));
        check(2, 1, 620, Some(600), wait(621));
        check(2, 1, 621, Some(600), Verdict::End(None));
        check(2, 0, 600, Some(600), wait(601));
        check(2, 0, 601, Some(600), Verdict::End(None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_further_head_has_its_time_too() {
        let check = |version, expected| {
            let life = life(Instant::now());
            life.request(version).answered();
            life.heard();
            assert_eq!(life.verdict(Instant::now() + TIMES.first_request, None), expected);
        };
        check(Version::HTTP_11, Verdict::End(Some(Cut::FirstRequest)));
        // There it may have been a ping.
        check(Version::HTTP_2, Verdict::Wait(Instant::now() + 2 * TIMES.first_request));
        let life = life(Instant::now());
        life.heard();
        life.request(Version::HTTP_11).answered();
        let later = Instant::now() + TIMES.first_request;
        assert_eq!(life.verdict(later, None), Verdict::Wait(later + TIMES.first_request));
    }

    #[tokio::test]
    async fn who_breaks_off_what_it_begins_is_not_served() {
        let life = life(Instant::now());
        let is_abused = async |life: &Life| {
            tokio::select! {
                biased;
                () = life.abused() => true,
                () = std::future::ready(()) => false,
            }
        };
        for _ in 0..BROKEN_OFF_MAX {
            drop(life.request(Version::HTTP_2));
        }
        assert!(!is_abused(&life).await, "a bad day");
        (0..202).for_each(|_| life.request(Version::HTTP_2).answered());
        drop(life.request(Version::HTTP_2));
        assert!(!is_abused(&life).await, "most are answered");
        drop(life.request(Version::HTTP_2));
        assert!(is_abused(&life).await);
    }
}
