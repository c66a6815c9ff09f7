//! Requests that are sent when they are due, over connections that are kept, and what came back.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

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

/// Sends so many requests a second for so long; `None`: as many as are answered.
pub(crate) fn load(
    address: &str,
    requests: &Arc<Vec<Vec<u8>>>,
    connections: usize,
    rate: Option<f64>,
    time: Duration,
) -> Seen {
    let (next, seen) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Seen::default())));
    let began = Instant::now() + Duration::from_millis(200);
    let threads: Vec<_> = (0..connections)
        .map(|_| {
            let (next, seen, address) = (Arc::clone(&next), Arc::clone(&seen), address.to_string());
            let requests = Arc::clone(requests);
            let work = move || {
                let own = send(&address, &requests, &next, rate, began, time);
                let mut all = seen.lock().unwrap();
                all.accepted_us.extend(own.accepted_us);
                all.accepted_at_s.extend(own.accepted_at_s);
                all.refused_us.extend(own.refused_us);
                all.delays_s.extend(own.delays_s);
                all.late_us.extend(own.late_us);
                all.wrong += own.wrong;
                all.broken += own.broken;
            };
            std::thread::Builder::new().stack_size(128 << 10).spawn(work).unwrap()
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    Arc::into_inner(seen).unwrap().into_inner().unwrap()
}

fn send(
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
        let due = began
            + rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(number as f64 / rate));
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let sent = Instant::now();
        if due.max(sent) >= began + time {
            return seen;
        }
        seen.late_us.push((sent - due).as_micros() as u64);
        let answer = exchange(
            &mut stream,
            address,
            &requests[number as usize % requests.len()],
            &mut buffer,
        );
        let took_us = sent.elapsed().as_micros() as u64;
        match answer {
            Ok((200, _)) => {
                seen.accepted_us.push(took_us);
                seen.accepted_at_s.push((Instant::now() - began).as_secs());
            }
            Ok((429 | 503, Some(delay_s))) => {
                seen.refused_us.push(took_us);
                seen.delays_s.push(delay_s);
            }
            Ok(_) => seen.wrong += 1,
            Err(_) => {
                stream = None;
                seen.broken += 1;
            }
        }
    }
}

/// One request and its answer: the status, and the delay that it asks for.
fn exchange(
    kept: &mut Option<TcpStream>,
    address: &str,
    request: &[u8],
    buffer: &mut [u8],
) -> std::io::Result<(u16, Option<u64>)> {
    if kept.is_none() {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        *kept = Some(stream);
    }
    let stream = kept.as_mut().expect("just connected");
    stream.write_all(request)?;
    let mut filled = 0;
    loop {
        let count = stream.read(&mut buffer[filled..])?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        filled += count;
        let Some(end) = buffer[..filled].windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        let number =
            |name: &str| head.split_once(name)?.1.lines().next()?.trim().parse::<u64>().ok();
        if filled >= end + 4 + number("content-length:").unwrap_or(0) as usize {
            let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
            if head.contains("connection: close") {
                *kept = None;
            }
            return Ok((status.unwrap_or(0), number("retry-after:")));
        }
    }
}
