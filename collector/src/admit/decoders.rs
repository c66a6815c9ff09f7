//! The threads that decode large bodies: as many as there are processors, since more would not be
//! faster, and always the same ones, since a thread that goes on with the next body finds its memory
//! warm and needs nobody to wake it.
//!
//! Who would wait for longer than it is worth is refused at once, by how many wait before it and how long
//! the bodies of late have taken. Under ten times the load nine of ten bodies are refused, so what a
//! refusal costs is taken from what is accepted: no timer, no second waking of its task. Who has waited
//! too long all the same, behind bodies larger than those of late, is refused when its turn comes: it
//! hears so later than the limit, since nothing looks at it before.
//!
//! Invariants: while a thread is idle nobody is refused; whatever is taken is answered; who leaves the
//! queue takes its body along; a panic ends one body and no thread.

use std::collections::VecDeque;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
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

/// Stack of each thread: the standard library's default, said aloud. Decoding recurses as deep as
/// bodies nest, which is bounded before.
const STACK_BYTES: usize = 2 << 20;

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
            thread.stack_size(STACK_BYTES).spawn(move || shared.decode())?;
        }
        Ok(decoders)
    }

    /// Does the work on one of the threads, or refuses.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (done, answer) = oneshot::channel();
        let work = Box::new(move |is_in_time| {
            if is_in_time {
                done.send(guarded(work)).ok();
            } else {
                // First, so that what the body holds is there for who comes next.
                drop(work);
                done.send(Err(busy())).ok();
            }
        });
        // In a statement of its own: what is refused is dropped when the queue is free again.
        let pushed = self.shared.queue.lock().push(Instant::now(), work);
        let Ok(number) = pushed else {
            self.pressure.rise();
            return Err(busy());
        };
        self.shared.filled.notify_one();
        let mut place = Place { shared: &self.shared, number: Some(number) };
        let answer = answer.await;
        place.number = None;
        answer.unwrap_or_else(|_| Err(panicked()))
    }
}

impl Drop for Decoders {
    /// Does not wait for the threads: one of them may be where the last of the collector is dropped.
    fn drop(&mut self) {
        self.shared.queue.lock().is_closed = true;
        self.shared.filled.notify_all();
    }
}

/// A place in the queue, given up when it is dropped before its answer came.
struct Place<'a> {
    shared: &'a Shared,
    number: Option<u64>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        // In a statement of its own, as above.
        let left = self.shared.queue.lock().leave(number);
        drop(left);
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
                    // Work guards itself: this is for what fails beside it, and drops nothing that might
                    // do so again.
                    catch_unwind(AssertUnwindSafe(|| work(is_in_time))).unwrap_or_else(mem::forget);
                    begun.elapsed()
                });
                queue.end(Instant::now(), is_in_time.then_some(took));
            } else if queue.is_closed {
                return;
            } else {
                self.filled.wait(&mut queue);
            }
        }
    }
}

/// A body's work; told whether its turn came in time.
type Work = Box<dyn FnOnce(bool) + Send>;

struct Waiting {
    number: u64,
    /// Until when its turn comes in time; always where a thread was free for it.
    until: Option<Instant>,
    work: Work,
}

/// What waits, and what is known of how long it will.
struct Queue {
    /// By number.
    waiting: VecDeque<Waiting>,
    next_number: u64,
    threads: u32,
    busy: u32,
    wait_max: Duration,
    /// How long the bodies of late have taken on average.
    work: Duration,
    /// When the last of them ended.
    ended: Option<Instant>,
    is_closed: bool,
}

/// The newest body's share of the average is one in so many: some bodies, so that one large one among
/// many does not speak for all, and few enough that a change of load is known within some dozen.
const AVERAGE_OF: u32 = 8;

/// Bodies of before such a rest say nothing of those that come now.
const REST: Duration = Duration::from_secs(1);

impl Queue {
    fn new(threads: usize, wait_max: Duration) -> Self {
        Self {
            waiting: VecDeque::new(),
            next_number: 0,
            threads: u32::try_from(threads).unwrap_or(u32::MAX).max(1),
            busy: 0,
            wait_max,
            work: Duration::ZERO,
            ended: None,
            is_closed: false,
        }
    }

    /// Takes work in and gives its number; gives it back where its turn would come too late.
    fn push(&mut self, now: Instant, work: Work) -> Result<u64, Work> {
        let waiting = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX);
        let is_quiet = self.busy == 0 && waiting == 0;
        if is_quiet && self.ended.is_some_and(|ended| now.saturating_duration_since(ended) > REST) {
            self.work = Duration::ZERO;
        }
        // How many have to end before its turn.
        let before = (self.busy.saturating_add(waiting) + 1).saturating_sub(self.threads);
        if self.work.saturating_mul(before) / self.threads > self.wait_max {
            return Err(work);
        }
        let (number, until) = (self.next_number, (before > 0).then(|| now + self.wait_max));
        self.next_number += 1;
        self.waiting.push_back(Waiting { number, until, work });
        Ok(number)
    }

    /// The work whose turn it is, and whether that came in time.
    fn pop(&mut self, now: Instant) -> Option<(Work, bool)> {
        let Waiting { until, work, .. } = self.waiting.pop_front()?;
        self.busy += 1;
        Some((work, until.is_none_or(|until| now <= until)))
    }

    /// Takes out what still waits of whom nobody asks for any more.
    fn leave(&mut self, number: u64) -> Option<Waiting> {
        let place = self.waiting.binary_search_by_key(&number, |waiting| waiting.number).ok()?;
        self.waiting.remove(place)
    }

    /// Work has ended, and took so long where it was done.
    fn end(&mut self, now: Instant, took: Option<Duration>) {
        self.busy -= 1;
        self.ended = Some(now);
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
mod tests;
