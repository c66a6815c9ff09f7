//! Bodies that are small on the wire and large in memory, by both transports: refused before they cost
//! anything. Memory and processor time are bounded; the latter closely where it is built for release.

use std::io::Write;

use tokio::net::TcpStream;
use tonic::Code;

use crate::harness::{Ethogram, Request, is_held};
use crate::http2::{self, EXPORT, framed};
use crate::watch::Watch;

/// What a bomb may add to the peak of memory.
const GROWN_BYTES_MAX: u64 = 16 << 20;

/// What a bomb may cost of a processor, in milliseconds. It is the process's own time, which a busy
/// machine makes little longer.
const USED_MS_MAX: u64 = 100;

/// The same without optimisation: everything takes some ten times as long, but a bomb that were
/// inflated whole would take most of a minute.
const USED_MS_MAX_UNOPTIMISED: u64 = 2_000;

/// One compressed mebibyte, repeated: both formats read a concatenation as what it holds, so a bomb is
/// made without holding what it inflates to.
const PIECE_BYTES: usize = 1 << 20;

type Compress = fn(&[u8]) -> Vec<u8>;

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 3).expect("compresses")
}

/// A message field with a body of that length, which follows.
fn field(number: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    prost::encode_length_delimiter(length, &mut bytes).expect("memory takes all");
    bytes
}

/// A trace request of 63 MiB: one scope with 33 million spans of two bytes.
fn spans(compress: Compress) -> Vec<u8> {
    let length = 63 * PIECE_BYTES;
    let scope = field(2, length);
    let head = [field(1, scope.len() + length), scope].concat();
    let pieces = compress(&[0x12, 0].repeat(PIECE_BYTES / 2)).repeat(63);
    [compress(&head), pieces].concat()
}

fn zeros(compress: Compress) -> Vec<u8> {
    compress(&vec![0; PIECE_BYTES]).repeat(1024)
}

/// A trace request whose one attribute is a value in a value in a value.
fn deep_value(depth: usize) -> Vec<u8> {
    let mut value = Vec::new();
    let within = |number, body: Vec<u8>| [field(number, body.len()), body].concat();
    for _ in 1..depth {
        value = within(5, within(1, value)); // array_value { values }
    }
    within(1, within(1, within(1, within(2, value)))) // resource { attributes { value } }
}

fn deep_json(depth: usize) -> Vec<u8> {
    let nested = ["[".repeat(depth), "]".repeat(depth)].concat();
    format!(r#"{{"resourceSpans":{nested}}}"#).into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn bombs_cost_little_by_both_transports() {
    let ethogram = Ethogram::start(&[]);
    let bombs: [(&str, &str, Vec<u8>); 5] = [
        ("33 million spans in gzip", "gzip", spans(gzip)),
        ("33 million spans in zstd", "zstd", spans(zstd)),
        ("1 GiB of zeros in gzip", "gzip", zeros(gzip)),
        ("1 GiB of zeros in zstd", "zstd", zeros(zstd)),
        ("a value 10,000 deep", "identity", deep_value(10_000)),
    ];
    for (name, coding, body) in bombs {
        let watch = Watch::role(&ethogram, "collector");
        let request = Request::post("/v1/traces")
            .header("Content-Type", "application/x-protobuf")
            .header("Content-Encoding", coding)
            .body(body.clone());
        let answer = request.send(&ethogram.at.otlp_http);
        assert_eq!(answer.status, 400, "{name}: {}", answer.text());
        assert_eq!(answer.header("retry-after"), None, "{name}");
        tell(name, "HTTP", body.len(), &watch);

        let watch = Watch::role(&ethogram, "collector");
        let stream = TcpStream::connect(&ethogram.at.otlp_grpc).await.expect("it listens");
        let headers = [("content-type", "application/grpc"), ("grpc-encoding", coding)];
        let framed = framed(coding != "identity", &body);
        let answer = http2::post(stream, EXPORT, &headers, framed).await.expect("an answer");
        let status = answer.grpc();
        assert_eq!((status.code(), status.details()), (Code::InvalidArgument, &[][..]), "{status}");
        tell(name, "gRPC", body.len(), &watch);
    }
    let json = deep_json(100_000);
    let doors = [
        ("OTLP", &ethogram.at.otlp_http, "/v1/traces", json.clone()),
        ("OTLP, in gzip", &ethogram.at.otlp_http, "/v1/traces", gzip(&json)),
        ("beacon, in gzip", &ethogram.at.beacon, "/v1/ethogram?key=local", gzip(&json)),
    ];
    for (door, address, path, body) in doors {
        let watch = Watch::role(&ethogram, "collector");
        let bytes = body.len();
        let request = Request::post(path).header("Content-Type", "application/json");
        let coding = if door == "OTLP, in gzip" { "gzip" } else { "identity" };
        let answer = request.header("Content-Encoding", coding).body(body).send(address);
        assert_eq!(answer.status, 400, "{door}: {}", answer.text());
        tell("JSON 100,000 deep", door, bytes, &watch);
    }
}

fn tell(name: &str, transport: &str, bytes: usize, watch: &Watch) {
    let (grown, used) = (watch.grown_bytes(), watch.used_ms());
    eprintln!(
        "{name} by {transport}, {bytes} bytes: {} KiB more resident, {used} ms of CPU",
        grown >> 10
    );
    assert!(grown <= GROWN_BYTES_MAX, "{name} by {transport}: {grown} bytes more");
    let used_max = if is_held() { USED_MS_MAX } else { USED_MS_MAX_UNOPTIMISED };
    assert!(used <= used_max, "{name} by {transport}: {used} ms of CPU");
}
