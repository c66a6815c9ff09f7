//! Requests that are sent when they are due, over connections that are kept, and what came back.
//!
//! All connections are tasks of one thread, which never sleeps ([`restlessly`]): who sends to a core that
//! sleeps has to wake it, and on a virtual machine that costs the sender more than all else it does. The
//! sender would be the collector, and the cost one that no network has.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, yield_now};

/// What a run met.
#[derive(Default)]
pub(crate) struct Seen {
    /// Microseconds from sending to the acknowledgement.
    pub(crate) accepted_us: Vec<u64>,
    /// In which second each of them came.
    pub(crate) accepted_at_s: Vec<u64>,
    pub(crate) refused_us: Vec<u64>,
    pub(crate) delays_s: Vec<u64>,
    /// Refusals without a delay, and other answers.
    pub(crate) wrong: u64,
    pub(crate) broken: u64,
    /// Microseconds between the schedule and the sending.
    pub(crate) late_us: Vec<u64>,
}

/// How a request went.
pub(crate) enum Outcome {
    Accepted,
    /// With the delay that was asked for.
    Refused(u64),
    Wrong,
    Broken,
}

impl Seen {
    /// Takes in how a request went that was sent then.
    pub(crate) fn note(&mut self, outcome: Outcome, sent: Instant, began: Instant) {
        let took_us = sent.elapsed().as_micros() as u64;
        match outcome {
            Outcome::Accepted => {
                self.accepted_us.push(took_us);
                self.accepted_at_s.push((Instant::now() - began).as_secs());
            }
            Outcome::Refused(delay_s) => {
                self.refused_us.push(took_us);
                self.delays_s.push(delay_s);
            }
            Outcome::Wrong => self.wrong += 1,
            Outcome::Broken => self.broken += 1,
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.accepted_us.extend(other.accepted_us);
        self.accepted_at_s.extend(other.accepted_at_s);
        self.refused_us.extend(other.refused_us);
        self.delays_s.extend(other.delays_s);
        self.late_us.extend(other.late_us);
        self.wrong += other.wrong;
        self.broken += other.broken;
    }
}

/// When the request of a number is due; without a rate at once.
pub(crate) fn due(began: Instant, number: u64, rate: Option<f64>) -> Instant {
    began + rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(number as f64 / rate))
}

/// Waits until then. Timers are a millisecond late, so they bring it near and the rest is spun.
pub(crate) async fn wait_until(then: Instant) {
    let near = then.checked_sub(TIMER_LATE_MAX).unwrap_or(then);
    if Instant::now() < near {
        tokio::time::sleep_until(near.into()).await;
    }
    while Instant::now() < then {
        yield_now().await;
    }
}

/// Twice the resolution of the runtime's timers.
const TIMER_LATE_MAX: Duration = Duration::from_millis(2);

/// Does the work on this thread, which looks for what has arrived instead of waiting for it.
pub(crate) fn restlessly<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut restless = JoinSet::new();
        restless.spawn(async {
            loop {
                yield_now().await;
            }
        });
        work.await
    })
}

/// Sends so many requests of HTTP/1.1 a second for so long; `None`: as many as are answered.
pub(crate) async fn load(
    address: &str,
    requests: &Arc<Vec<Vec<u8>>>,
    connections: usize,
    rate: Option<f64>,
    time: Duration,
) -> Seen {
    let next = Arc::new(AtomicU64::new(0));
    let began = Instant::now() + HEAD_START;
    let mut senders = JoinSet::new();
    for _ in 0..connections {
        let (next, address) = (Arc::clone(&next), address.to_string());
        let requests = Arc::clone(requests);
        senders.spawn(async move { send(&address, &requests, &next, rate, began, time).await });
    }
    let mut seen = Seen::default();
    while let Some(own) = senders.join_next().await {
        seen.add(own.unwrap());
    }
    seen
}

/// Time to make all connections' tasks before the first request is due.
pub(crate) const HEAD_START: Duration = Duration::from_millis(200);

async fn send(
    address: &str,
    requests: &[Vec<u8>],
    next: &AtomicU64,
    rate: Option<f64>,
    began: Instant,
    time: Duration,
) -> Seen {
    let mut seen = Seen::default();
    let mut stream: Option<TcpStream> = None;
    let mut buffer = vec![0; 16 << 10];
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let due = due(began, number, rate);
        let until = began + time;
        wait_until(due.min(until)).await;
        let sent = Instant::now();
        if due.max(sent) >= until {
            return seen;
        }
        seen.late_us.push((sent - due).as_micros() as u64);
        let request = &requests[number as usize % requests.len()];
        let outcome = match exchange(&mut stream, address, request, &mut buffer).await {
            Ok(Answer { status: 200 | 204, .. }) => Outcome::Accepted,
            Ok(Answer { status: 429 | 503, delay_s: Some(delay_s), .. }) => {
                Outcome::Refused(delay_s)
            }
            Ok(_) => Outcome::Wrong,
            Err(_) => {
                stream = None;
                Outcome::Broken
            }
        };
        seen.note(outcome, sent, began);
    }
}

/// The status, the delay that it asks for, and whether the connection ends with it.
struct Answer {
    status: u16,
    delay_s: Option<u64>,
    is_last: bool,
}

/// One request and its answer.
async fn exchange(
    kept: &mut Option<TcpStream>,
    address: &str,
    request: &[u8],
    buffer: &mut [u8],
) -> std::io::Result<Answer> {
    let mut is_reused = kept.is_some();
    loop {
        if kept.is_none() {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            *kept = Some(stream);
        }
        let stream = kept.as_mut().expect("just connected");
        match ask(stream, request, buffer).await? {
            Some(answer) => {
                if answer.is_last {
                    *kept = None;
                }
                return Ok(answer);
            }
            // A server may end a kept connection between two requests, as it says it does with idle
            // and old ones: every client then sends again, over a new one.
            None if is_reused => (*kept, is_reused) = (None, false),
            None => return Err(ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Writes a request and reads its answer; none where the connection ended before the first byte of it.
async fn ask(
    stream: &mut TcpStream,
    request: &[u8],
    buffer: &mut [u8],
) -> std::io::Result<Option<Answer>> {
    // Who ended the connection may have answered before.
    drop(stream.write_all(request).await);
    let mut filled = 0;
    loop {
        let count = stream.read(&mut buffer[filled..]).await.unwrap_or(0);
        match (count, filled) {
            (0, 0) => return Ok(None),
            (0, _) => return Err(ErrorKind::UnexpectedEof.into()),
            _ => filled += count,
        }
        let Some(end) = buffer[..filled].windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        let number =
            |name: &str| head.split_once(name)?.1.lines().next()?.trim().parse::<u64>().ok();
        if filled >= end + 4 + number("content-length:").unwrap_or(0) as usize {
            let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
            let is_last = head.contains("connection: close");
            let delay_s = number("retry-after:");
            return Ok(Some(Answer { status: status.unwrap_or(0), delay_s, is_last }));
        }
    }
}
