//! That inflation ends at the first limit, not after it.

use std::io::Write;

use ethogram_timeline::decode::scan::{Limits, Signal};

use super::super::Budget;
use super::*;
use crate::stand::bomb;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 3).expect("compresses")
}

/// A scanner that lets everything pass.
fn any() -> Scanner {
    Scanner::json(Limits { records_max: u64::MAX, decoded_bytes_max: u64::MAX })
}

/// What the thread has spent of a processor, in milliseconds: told, never asserted.
fn spent_ms() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1e6
}

/// Resident bytes of the process: told, never asserted, for other tests run beside this one.
fn resident_bytes() -> i64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<i64>().ok()).unwrap_or(0) * 4096
}

/// 33 million empty spans in 65 KiB: the budget of 1 MiB would be met first if inflation went on
/// past the last span that is allowed.
#[test]
fn a_bomb_of_spans_ends_at_the_span_too_many() {
    for (name, coding, wire) in
        [("gzip", Coding::Gzip, bomb::gzip_spans()), ("zstd", Coding::Zstd, bomb::zstd_spans())]
    {
        assert!(wire.len() < 80 << 10, "{name}: {} bytes", wire.len());
        let limits = Limits { records_max: 65_536, decoded_bytes_max: 128 << 20 };
        let budget = Budget::new(1 << 20);
        let mut held = budget.reserve();
        let (before_ms, before) = (spent_ms(), resident_bytes());
        let scanner = Scanner::protobuf(Signal::Traces, limits);
        let refusal =
            coding.inflate(Bytes::from(wire), 64 << 20, scanner, &mut held).expect_err(name);
        eprintln!(
            "{name}: {:.1} ms, {} KiB more resident, {} KiB inflated",
            spent_ms() - before_ms,
            (resident_bytes() - before) >> 10,
            budget.used() >> 10
        );
        assert_eq!(refusal.reason, Reason::TooMany, "{name}");
        assert!(budget.used() <= 256 << 10, "{name}: {} bytes were inflated", budget.used());
    }
}

/// A gigabyte of zeros is no protobuf, which shows at once, and no JSON, which shows at the limit.
#[test]
fn a_gigabyte_of_zeros_ends_at_the_limit() {
    for (coding, wire) in [(Coding::Gzip, bomb::gzip_zeros()), (Coding::Zstd, bomb::zstd_zeros())] {
        let wire = Bytes::from(wire);
        assert!(wire.len() < 2 << 20, "{coding:?}: {} bytes", wire.len());
        let budget = Budget::new(8 << 20);
        let mut held = budget.reserve();
        let limits = Limits { records_max: 65_536, decoded_bytes_max: 128 << 20 };
        let scanner = Scanner::protobuf(Signal::Logs, limits);
        let outcome = coding.inflate(wire.clone(), 64 << 20, scanner, &mut held);
        assert_eq!(outcome.expect_err("zeros").reason, Reason::Undecodable);
        assert_eq!(budget.used(), 0, "not one step was kept");
        let (before_ms, before) = (spent_ms(), resident_bytes());
        let outcome = coding.inflate(wire, 4 << 20, Scanner::json(limits), &mut held);
        assert_eq!(outcome.expect_err("zeros").reason, Reason::TooLarge);
        eprintln!(
            "{coding:?}: {:.1} ms, {} KiB more resident",
            spent_ms() - before_ms,
            (resident_bytes() - before) >> 10
        );
        assert!(budget.used() <= 4 << 20, "{}", budget.used());
    }
}

#[test]
fn what_the_structs_need_is_reserved() {
    let body = crate::stand::traces(&[crate::stand::SPAN; 100]);
    let check = |bytes_max: usize, expected: Option<Reason>| {
        let budget = Budget::new(bytes_max);
        let mut held = budget.reserve();
        let outcome =
            Coding::Identity.inflate(Bytes::from(body.clone()), 1 << 20, any(), &mut held);
        assert_eq!(outcome.err().map(|refusal| refusal.reason), expected);
        if expected.is_none() {
            assert!(budget.used() > 100 * 264, "{}", budget.used());
        }
    };
    check(1 << 20, None);
    check(100 * 264, Some(Reason::InFlightBytes));
}

#[test]
fn inflation_is_bounded() {
    let check =
        |coding: Coding, wire: Vec<u8>, bytes_max: usize, expected: Result<usize, Reason>| {
            let budget = Budget::new(1 << 20);
            let mut held = budget.reserve();
            let inflated = coding.inflate(Bytes::from(wire), bytes_max, any(), &mut held);
            let outcome = inflated.map(|bytes| bytes.len()).map_err(|refusal| refusal.reason);
            assert_eq!(outcome, expected, "{coding:?} {bytes_max}");
        };
    let plain = b"ethogram ".repeat(1_000);
    for (coding, wire) in [(Coding::Gzip, gzip(&plain)), (Coding::Zstd, zstd(&plain))] {
        check(coding, wire.clone(), 9_000, Ok(9_000));
        check(coding, wire.clone(), 8_999, Err(Reason::TooLarge));
        check(coding, wire[..wire.len() - 4].to_vec(), 9_000, Err(Reason::Undecodable));
        check(coding, b"no such thing".to_vec(), 9_000, Err(Reason::Undecodable));
    }
    check(Coding::Gzip, [gzip(&plain), gzip(&plain)].concat(), 18_000, Ok(18_000));
    let bomb = vec![0; 64 << 20];
    for (coding, wire) in [(Coding::Gzip, gzip(&bomb)), (Coding::Zstd, zstd(&bomb))] {
        check(coding, wire.clone(), 512 << 10, Err(Reason::TooLarge));
        check(coding, wire, 32 << 20, Err(Reason::InFlightBytes));
    }
}

#[test]
fn codings() {
    assert_eq!(Coding::named("GZIP"), Some(Coding::Gzip));
    assert_eq!(Coding::named("zstd"), Some(Coding::Zstd));
    assert_eq!(Coding::named("identity"), Some(Coding::Identity));
    assert_eq!(Coding::named("gzip, gzip"), None);
    assert_eq!(Coding::named("br"), None);
    assert_eq!(Coding::of_magic(&gzip(b"x")), Coding::Gzip);
    assert_eq!(Coding::of_magic(b"{}"), Coding::Identity);
}
