//! What the collector's doors undo before anything is decoded: compression, and the frames of gRPC.

use ethogram_timeline::decode::json;
use prost::Message;
use tokio::net::TcpStream;
use tonic::Code;

use super::{WIRE_WORDS, example, words_of};
use crate::bombs::{gzip, zstd};
use crate::harness::mutate::Target;
use crate::harness::{Ethogram, Request, memory_bytes};
use crate::http2::{self, EXPORT, framed};

/// What the collector may use: bodies in flight (256 MiB), the log's queue (64 MiB), and as much as it
/// has at rest. One body after the other comes nowhere near it.
const MEMORY_BYTES_MAX: u64 = 448 << 20;

/// Magics, a stored block, a repeated byte, a window of a gigabyte, a frame to be skipped.
const CODING_WORDS: &[&[u8]] = &[
    &[0x1f, 0x8b, 0x08, 0x00],
    &[0x1f, 0x8b, 0x08, 0x1e],
    &[0x01, 0x00, 0x00, 0xff, 0xff],
    &[0x28, 0xb5, 0x2f, 0xfd],
    &[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa0],
    &[0x03, 0xff, 0xff, 0x12],
    &[0x50, 0x2a, 0x4d, 0x18, 0x04, 0x00, 0x00, 0x00],
    &[0x12, 0x00, 0x12, 0x00],
    &[0xff; 8],
    &[0x00; 8],
];

fn spans() -> Vec<u8> {
    json::traces(&example("trace.json")).expect("an example").encode_to_vec()
}

/// The collector is still the process that it was, and as small as it may be.
fn check_collector(ethogram: &Ethogram, process: Option<u32>) {
    assert_eq!(ethogram.role("collector"), process, "the collector has died");
    let most = process.and_then(|process| memory_bytes(process, "VmHWM"));
    assert!(most.expect("the kernel says") < MEMORY_BYTES_MAX, "{most:?} bytes");
}

/// Compresses bytes by one coding.
type Compress = fn(&[u8]) -> Vec<u8>;

#[test]
fn compressed_bodies() {
    let ethogram = Ethogram::start(&[]);
    let collector = ethogram.role("collector");
    let codings: [(&str, Compress); 2] = [("gzip", gzip), ("zstd", zstd)];
    for (name, compress) in codings {
        let whole = compress(&spans());
        let seeds = vec![whole.clone(), whole.repeat(2), compress(&[0x12, 0].repeat(50_000))];
        Target { name, seeds, words: CODING_WORDS, inputs: 300 }.fuzz(|input| {
            let request = Request::post("/v1/traces")
                .header("Content-Type", "application/x-protobuf")
                .header("Content-Encoding", name)
                .body(input);
            let answer = request.send(&ethogram.at.otlp_http);
            assert!(answer.status < 500 || answer.status == 503, "{}", answer.text());
            format!("{} {}", answer.status, words_of(&answer.text()))
        });
    }
    check_collector(&ethogram, collector);
}

/// The first byte says which encoding the call names, the others are its body.
#[test]
fn frames_of_grpc() {
    let ethogram = Ethogram::start(&[]);
    let collector = ethogram.role("collector");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let body = spans();
    let call = |coding: u8, framed: Vec<u8>| [vec![coding], framed].concat();
    let seeds = vec![
        call(0, framed(false, &body)),
        call(1, framed(true, &gzip(&body))),
        call(2, framed(true, &zstd(&body))),
        call(0, framed(false, &[]).repeat(2)),
    ];
    let words: &[&[u8]] =
        &[&[0; 5], &[1, 0, 0, 0, 0], &[2, 0, 0, 0, 1], &[0, 0xff, 0xff, 0xff, 0xff], &[0x12, 0]];
    let words = [words, WIRE_WORDS].concat();
    Target { name: "grpc-frames", seeds, words: &words, inputs: 300 }.fuzz(|input| {
        let (coding, framed) =
            input.split_first().map_or((0, &[][..]), |(first, rest)| (*first, rest));
        let coding = ["identity", "gzip", "zstd"][usize::from(coding) % 3];
        let answer = runtime.block_on(async {
            let stream = TcpStream::connect(&ethogram.at.otlp_grpc).await.expect("it listens");
            let headers = [("content-type", "application/grpc"), ("grpc-encoding", coding)];
            http2::post(stream, EXPORT, &headers, framed.to_vec()).await.expect("an answer")
        });
        let status = answer.grpc();
        assert!(!matches!(status.code(), Code::Internal | Code::Unknown), "{status}");
        format!("{:?} {}", status.code(), words_of(status.message()))
    });
    check_collector(&ethogram, collector);
}
