//! The threads that decode large bodies: as many as there are processors, since more would not be
//! faster, and always the same ones, since a thread that goes on with the next body finds its memory
//! warm and needs nobody to wake it.
//!
//! Who would wait for longer than it is worth is refused at once, by how many wait before it and how long
//! the bodies of late have taken. Under ten times the load nine of ten bodies are refused, so what a
//! refusal costs is taken from what is accepted: no timer, no second waking of its task. What has waited
//! too long all the same, behind bodies larger than those of late, is refused when its turn comes.
//!
//! Invariants: while a thread is idle nobody is refused; whatever is taken is answered, unless who asked
//! has left: then it is not decoded, for nobody would be told that it is on disk; a panic ends one body
//! and no thread.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::oneshot;

use super::{Pressure, Reason, Refusal, guarded, panicked};

/// The threads of one collector, which end soon after it.
pub(crate) struct Decoders {
    shared: Arc<Shared>,
    pressure: Pressure,
}

struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
}

/// A body's work; told whether its turn came in time.
type Work = Box<dyn FnOnce(bool) + Send>;

impl Decoders {
    /// So many threads, which let nobody wait for longer than that, and tell of pressure when they refuse.
    pub(crate) fn start(
        threads: usize,
        wait_max: Duration,
        pressure: Pressure,
    ) -> std::io::Result<Self> {
        let queue = Mutex::new(Queue::new(threads, wait_max));
        let shared = Arc::new(Shared { queue, filled: Condvar::new() });
        let decoders = Self { shared: Arc::clone(&shared), pressure };
        for number in 0..threads {
            let shared = Arc::clone(&shared);
            let thread = std::thread::Builder::new().name(format!("decoder-{number}"));
            thread.spawn(move || shared.decode())?;
        }
        Ok(decoders)
    }

    /// Does the work on one of the threads, or refuses.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (done, answer) = oneshot::channel();
        let work = move |is_in_time| {
            if !done.is_closed() {
                done.send(if is_in_time { guarded(work) } else { Err(busy()) }).ok();
            }
        };
        if !self.shared.queue.lock().push(Instant::now(), Box::new(work)) {
            self.pressure.rise();
            return Err(busy());
        }
        self.shared.filled.notify_one();
        answer.await.unwrap_or_else(|_| Err(panicked()))
    }
}

impl Drop for Decoders {
    /// Does not wait for the threads: one of them may be where the last of the collector is dropped.
    fn drop(&mut self) {
        self.shared.queue.lock().is_closed = true;
        self.shared.filled.notify_all();
    }
}

impl Shared {
    /// One thread's life.
    fn decode(&self) {
        let mut queue = self.queue.lock();
        loop {
            if let Some((work, is_in_time)) = queue.pop(Instant::now()) {
                let took = MutexGuard::unlocked(&mut queue, || {
                    let begun = Instant::now();
                    work(is_in_time);
                    begun.elapsed()
                });
                queue.end(is_in_time.then_some(took));
            } else if queue.is_closed {
                return;
            } else {
                self.filled.wait(&mut queue);
            }
        }
    }
}

/// What waits, and what is known of how long it will.
struct Queue {
    waiting: VecDeque<(Instant, Work)>,
    threads: usize,
    busy: usize,
    wait_max: Duration,
    /// How long the bodies of late have taken on average.
    work: Duration,
    is_closed: bool,
}

/// The newest body's share of the average is one in so many: some bodies, so that one large one among
/// many does not speak for all, and few enough that a change of load is known within a tenth of a second.
const AVERAGE_OF: u32 = 8;

impl Queue {
    fn new(threads: usize, wait_max: Duration) -> Self {
        let (waiting, work) = (VecDeque::new(), Duration::ZERO);
        Self { waiting, threads, busy: 0, wait_max, work, is_closed: false }
    }

    /// Takes work in, unless its turn would come too late.
    fn push(&mut self, now: Instant, work: Work) -> bool {
        let before = (self.busy + self.waiting.len() + 1).saturating_sub(self.threads);
        let rounds = u32::try_from(before.div_ceil(self.threads)).unwrap_or(u32::MAX);
        let is_soon = self.work.saturating_mul(rounds) <= self.wait_max;
        if is_soon {
            self.waiting.push_back((now, work));
        }
        is_soon
    }

    /// The work whose turn it is, and whether that came in time.
    fn pop(&mut self, now: Instant) -> Option<(Work, bool)> {
        let (since, work) = self.waiting.pop_front()?;
        self.busy += 1;
        Some((work, now.saturating_duration_since(since) <= self.wait_max))
    }

    /// Work has ended, and took so long where it was done.
    fn end(&mut self, took: Option<Duration>) {
        self.busy -= 1;
        if let Some(took) = took {
            let before = if self.work.is_zero() { took } else { self.work };
            self.work = (before * (AVERAGE_OF - 1) + took) / AVERAGE_OF;
        }
    }
}

fn busy() -> Refusal {
    Refusal::new(Reason::InFlightBytes, "too many bodies wait to be decoded; try again later")
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const WAIT_MAX: Duration = Duration::from_millis(100);

    /// A queue of which this is known: so many threads, all at work that takes so long.
    fn queue(threads: usize, work_ms: u64) -> Queue {
        let work = Duration::from_millis(work_ms);
        Queue { busy: threads, work, ..Queue::new(threads, WAIT_MAX) }
    }

    #[test]
    fn as_many_wait_as_have_their_turn_in_time() {
        let check = |threads, work_ms, expected| {
            let mut queue = queue(threads, work_ms);
            let taken = (0..1_000).take_while(|_| queue.push(Instant::now(), Box::new(|_| {})));
            assert_eq!(taken.count(), expected, "{threads} threads, {work_ms} ms");
        };
        check(1, 40, 2);
        check(2, 40, 4);
        check(4, 40, 8);
        check(1, 100, 1);
        check(1, 101, 0);
        // Nobody knows yet.
        check(1, 0, 1_000);
    }

    #[test]
    fn while_a_thread_is_idle_nobody_is_refused() {
        let mut queue = queue(2, 500);
        queue.end(None);
        assert!(queue.push(Instant::now(), Box::new(|_| {})));
        assert!(!queue.push(Instant::now(), Box::new(|_| {})));
    }

    #[test]
    fn a_turn_that_comes_too_late_is_told_so() {
        let mut queue = queue(1, 0);
        let now = Instant::now();
        for _ in 0..2 {
            assert!(queue.push(now, Box::new(|_| {})));
        }
        assert!(queue.pop(now + WAIT_MAX).is_some_and(|(_, is_in_time)| is_in_time));
        let late = now + WAIT_MAX + Duration::from_millis(1);
        assert!(queue.pop(late).is_some_and(|(_, is_in_time)| !is_in_time));
        assert!(queue.pop(late).is_none());
    }

    #[test]
    fn a_change_is_known_after_some_bodies() {
        let mut queue = queue(1, 0);
        queue.end(Some(Duration::from_millis(10)));
        assert_eq!(queue.work, Duration::from_millis(10));
        for _ in 0..20 {
            queue.busy = 1;
            queue.end(Some(Duration::from_millis(50)));
        }
        assert!(queue.work > Duration::from_millis(45), "{:?}", queue.work);
        queue.busy = 1;
        queue.end(None);
        assert!(queue.work > Duration::from_millis(45), "what was not done took no time");
    }

    /// The one thread of some decoders, held at a body's work until `end` is told.
    async fn held(decoders: &Arc<Decoders>) -> mpsc::Sender<()> {
        let (begun, has_begun) = oneshot::channel();
        let (end, may_end) = mpsc::channel();
        let own = Arc::clone(decoders);
        let work = move || {
            begun.send(()).ok();
            may_end.recv().ok();
            Ok(())
        };
        tokio::spawn(async move { own.run(work).await });
        has_begun.await.expect("it begins");
        end
    }

    fn decoders(wait_max: Duration) -> Arc<Decoders> {
        Arc::new(Decoders::start(1, wait_max, Pressure::default()).expect("a thread"))
    }

    #[tokio::test]
    async fn a_panic_ends_one_body() {
        let decoders = decoders(WAIT_MAX);
        let panics = decoders.run(|| -> Result<(), Refusal> { panic!("a defect") });
        assert_eq!(panics.await.expect_err("no result").reason, Reason::Panic);
        assert_eq!(decoders.run(|| Ok(1)).await.expect("the thread lives"), 1);
    }

    #[tokio::test]
    async fn what_waited_too_long_is_refused_and_whoever_left_is_left_out() {
        // Far more than this test takes.
        let decoders = decoders(Duration::from_secs(600));
        let end = held(&decoders).await;
        let (done, is_done) = mpsc::channel();
        let gone = decoders.run(move || {
            done.send(()).ok();
            Ok(())
        });
        let gone = tokio::time::timeout(Duration::from_millis(1), gone).await;
        assert!(gone.is_err(), "it waits");
        let own = Arc::clone(&decoders);
        let late = tokio::spawn(async move { own.run(|| Ok(())).await });
        let waiting = || decoders.shared.queue.lock().waiting.len();
        while waiting() < 2 {
            tokio::task::yield_now().await;
        }
        decoders.shared.queue.lock().wait_max = Duration::ZERO;
        end.send(()).expect("the thread waits for it");
        let refused = late.await.expect("no panic").expect_err("too late");
        assert_eq!(refused.reason, Reason::InFlightBytes);
        assert_eq!(waiting(), 0);
        assert!(is_done.recv().is_err(), "nobody would have been told");
    }

    #[tokio::test]
    async fn who_cannot_have_a_turn_in_time_is_told_at_once() {
        let decoders = decoders(WAIT_MAX);
        let _end = held(&decoders).await;
        decoders.shared.queue.lock().work = 2 * WAIT_MAX;
        let refused = decoders.run(|| Ok(())).await.expect_err("the thread is held");
        assert_eq!(refused.reason, Reason::InFlightBytes);
        assert!(decoders.pressure.has_risen(), "the runtime hears of it");
    }
}
