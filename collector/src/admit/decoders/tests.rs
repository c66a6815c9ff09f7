//! The queue as a function of what comes and when; then its threads, which a test holds at will.

use std::sync::mpsc;

use super::*;

const WAIT_MAX: Duration = Duration::from_millis(100);

/// Far more than a test takes.
const LONG: Duration = Duration::from_secs(600);

/// A queue of which this is known: so many threads, all at work that takes so long.
fn queue(threads: u32, work_ms: u64) -> Queue {
    let work = Duration::from_millis(work_ms);
    Queue { busy: threads, work, ..Queue::new(threads as usize, WAIT_MAX) }
}

fn nothing() -> Work {
    Box::new(|_| {})
}

#[test]
fn as_many_wait_as_have_their_turn_in_time() {
    let check = |threads, work_ms, expected| {
        let mut queue = queue(threads, work_ms);
        let taken = (0..1_000).take_while(|_| queue.push(Instant::now(), nothing()).is_ok());
        assert_eq!(taken.count(), expected, "{threads} threads, {work_ms} ms");
    };
    check(1, 40, 2);
    check(2, 40, 5);
    check(4, 40, 10);
    check(1, 100, 1);
    check(1, 101, 0);
    check(16, 400, 4);
    // Nobody knows yet.
    check(1, 0, 1_000);
}

#[test]
fn while_a_thread_is_idle_nobody_is_refused() {
    let mut queue = queue(2, 500);
    let now = Instant::now();
    queue.end(now, None);
    assert!(queue.push(now, nothing()).is_ok());
    assert!(queue.push(now, nothing()).is_err());
    // However late the thread comes to it.
    assert!(queue.pop(now + 2 * WAIT_MAX).is_some_and(|(_, is_in_time)| is_in_time));
}

#[test]
fn a_turn_that_comes_too_late_is_told_so() {
    let mut queue = queue(1, 0);
    let now = Instant::now();
    for _ in 0..2 {
        assert!(queue.push(now, nothing()).is_ok());
    }
    assert!(queue.pop(now + WAIT_MAX).is_some_and(|(_, is_in_time)| is_in_time));
    let late = now + WAIT_MAX + Duration::from_millis(1);
    assert!(queue.pop(late).is_some_and(|(_, is_in_time)| !is_in_time));
    assert!(queue.pop(late).is_none());
}

#[test]
fn a_change_is_known_after_some_bodies_and_forgotten_after_a_rest() {
    let mut queue = queue(1, 0);
    let now = Instant::now();
    let mut end = |took: Option<u64>| {
        queue.busy = 1;
        queue.end(now, took.map(Duration::from_millis));
        queue.work
    };
    assert_eq!(end(Some(10)), Duration::from_millis(10));
    let known = (0..20).map(|_| end(Some(50))).last();
    assert!(known > Some(Duration::from_millis(45)), "{known:?}");
    assert_eq!(Some(end(None)), known, "what was not done took no time");
    for (rest, is_known) in [(REST, true), (REST + Duration::from_millis(1), false)] {
        assert!(queue.push(now + rest, nothing()).is_ok());
        assert_eq!(queue.work.is_zero(), !is_known);
        queue.waiting.clear();
    }
}

#[test]
fn who_leaves_takes_its_place_along() {
    let mut queue = queue(1, 0);
    let now = Instant::now();
    let numbers: Vec<u64> = (0..3).filter_map(|_| queue.push(now, nothing()).ok()).collect();
    assert!(queue.leave(numbers[1]).is_some());
    assert!(queue.leave(numbers[1]).is_none());
    assert!(queue.pop(now).is_some());
    assert!(queue.leave(numbers[0]).is_none(), "its turn has come");
    let left: Vec<u64> = queue.waiting.iter().map(|waiting| waiting.number).collect();
    assert_eq!(left, [numbers[2]]);
}

fn decoders(wait_max: Duration) -> Arc<Decoders> {
    Arc::new(Decoders::start(1, wait_max, Pressure::default()).expect("a thread"))
}

/// The one thread of some decoders, held at a body's work until it is told to end.
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

#[tokio::test]
async fn a_panic_ends_one_body_and_no_thread() {
    let decoders = decoders(LONG);
    let panics = decoders.run(|| -> Result<(), Refusal> { panic!("a defect") });
    assert_eq!(panics.await.expect_err("no result").reason, Reason::Panic);
    // One that no guard is around.
    let work = Box::new(|_| panic!("a defect"));
    assert!(decoders.shared.queue.lock().push(Instant::now(), work).is_ok());
    decoders.shared.filled.notify_one();
    assert_eq!(decoders.run(|| Ok(1)).await.expect("the thread lives"), 1);
}

#[tokio::test]
async fn what_waited_too_long_is_refused() {
    let decoders = decoders(Duration::ZERO);
    let end = held(&decoders).await;
    let own = Arc::clone(&decoders);
    let late = tokio::spawn(async move { own.run(|| Ok(())).await });
    while decoders.shared.queue.lock().waiting.is_empty() {
        tokio::task::yield_now().await;
    }
    std::thread::sleep(Duration::from_millis(1));
    end.send(()).expect("the thread waits for it");
    let refused = late.await.expect("no panic").expect_err("too late");
    assert_eq!(refused.reason, Reason::InFlightBytes);
}

#[tokio::test]
async fn whose_sender_has_left_is_not_decoded() {
    let decoders = decoders(LONG);
    let end = held(&decoders).await;
    let (done, is_done) = mpsc::channel();
    let gone = decoders.run(move || {
        done.send(()).ok();
        Ok(())
    });
    let gone = tokio::time::timeout(Duration::from_millis(1), gone).await;
    assert!(gone.is_err(), "it waits");
    assert!(is_done.try_recv().is_err_and(|error| error == mpsc::TryRecvError::Disconnected));
    end.send(()).expect("the thread waits for it");
    assert_eq!(decoders.run(|| Ok(2)).await.expect("others are"), 2);
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
