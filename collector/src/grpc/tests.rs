//! The gRPC door: codes that senders retry and codes that they do not.

use prost::Message;
use tonic::Code;

use super::*;
use crate::stand::{Answer, SPAN, Stand, bomb, send, traces};

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const GRPC: (&str, &str) = ("content-type", "application/grpc");

async fn call(
    stand: &Stand,
    path: &str,
    headers: &[(&str, &str)],
    compressed: bool,
    message: &[u8],
) -> Answer {
    let mut frame = vec![u8::from(compressed)];
    frame.extend(u32::try_from(message.len()).expect("small").to_be_bytes());
    frame.extend(message);
    let mut request = http::Request::builder().method("POST").uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(
        router(&stand.collector),
        "127.0.0.1:9",
        request.body(Body::from(frame)).expect("a request"),
    )
    .await
}

fn code(answer: &Answer) -> Code {
    let status = Status::from_header_map(&answer.headers)
        .or_else(|| Status::from_header_map(&answer.trailers));
    status.expect("a gRPC status").code()
}

fn has_delay(answer: &Answer) -> bool {
    Status::from_header_map(&answer.headers).is_some_and(|status| !status.details().is_empty())
}

fn message(spans: &[&str]) -> Vec<u8> {
    ethogram_timeline::decode::json::traces(traces(spans).as_bytes())
        .expect("right JSON")
        .encode_to_vec()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

/// Path, headers, the frame's compression flag, message; the code, and the reason that is counted.
type Case = (&'static str, Vec<(&'static str, &'static str)>, bool, Vec<u8>, Code, &'static str);

#[tokio::test]
async fn code_by_request() {
    let stand = Stand::new(r#"{"otlp": {"body_bytes_max": 4096}}"#);
    let span = message(&[SPAN]);
    let gz = ("grpc-encoding", "gzip");
    let zstd = ("grpc-encoding", "zstd");
    let compressed = zstd::bulk::compress(&span, 3).expect("compresses");
    let cases: Vec<Case> = vec![
        (EXPORT, vec![GRPC], false, span.clone(), Code::Ok, ""),
        (EXPORT, vec![GRPC, gz], true, gzip(&span), Code::Ok, ""),
        (EXPORT, vec![GRPC, zstd], true, compressed, Code::Ok, ""),
        (
            EXPORT,
            vec![("content-type", "application/grpc+proto")],
            false,
            span.clone(),
            Code::Ok,
            "",
        ),
        (EXPORT, vec![GRPC], false, Vec::new(), Code::Ok, ""),
        (EXPORT, vec![GRPC], false, vec![0; 4097], Code::ResourceExhausted, "too_large"),
        (
            EXPORT,
            vec![GRPC, gz],
            true,
            gzip(&vec![0; 1 << 20]),
            Code::ResourceExhausted,
            "too_large",
        ),
        (EXPORT, vec![GRPC], false, vec![0xff; 9], Code::InvalidArgument, "undecodable"),
        (EXPORT, vec![GRPC, gz], true, vec![7; 9], Code::InvalidArgument, "undecodable"),
        (
            EXPORT,
            vec![GRPC, ("grpc-encoding", "snappy")],
            true,
            span.clone(),
            Code::Unimplemented,
            "content_encoding",
        ),
        ("/a.b.C/Export", vec![GRPC], false, span.clone(), Code::Unimplemented, "not_found"),
    ];
    for (path, headers, compressed, message, expected, reason) in cases {
        let before = stand.collector.counters.read().refused;
        let answer = call(&stand, path, &headers, compressed, &message).await;
        let case = format!("{path} {headers:?} {} bytes", message.len());
        assert_eq!((answer.status.as_u16(), code(&answer)), (200, expected), "{case}");
        assert!(!has_delay(&answer), "{case}");
        let after = stand.collector.counters.read().refused;
        let count = |refused: &[(Reason, Door, u64)]| {
            refused
                .iter()
                .filter(|(known, ..)| known.name() == reason)
                .map(|(_, _, count)| count)
                .sum::<u64>()
        };
        assert_eq!(count(&after) - count(&before), u64::from(expected != Code::Ok), "{case}");
    }
    assert_eq!(stand.records().len(), 4, "empty requests leave no record");
    let plain = call(&stand, EXPORT, &[("content-type", "application/json")], false, b"").await;
    assert_eq!(plain.status.as_u16(), 415);
}

#[tokio::test]
async fn bombs_are_refused_before_they_are_decoded() {
    let stand = Stand::new("{}");
    let (gz, zstd) = (("grpc-encoding", "gzip"), ("grpc-encoding", "zstd"));
    let cases = [
        (vec![GRPC, gz], true, bomb::gzip_spans(), "more than 65536 records"),
        (vec![GRPC, zstd], true, bomb::zstd_spans(), "more than 65536 records"),
        (vec![GRPC, gz], true, bomb::gzip_zeros(), "not valid protobuf"),
        (vec![GRPC, zstd], true, bomb::zstd_zeros(), "not valid protobuf"),
        (vec![GRPC], false, bomb::deep_value(33), "nests deeper than 32 levels"),
        (vec![GRPC], false, bomb::deep_value(10_000), "nests deeper than 32 levels"),
        (vec![GRPC], true, message(&[SPAN]), "no encoding is named"),
    ];
    for (headers, compressed, body, expected) in cases {
        let answer = call(&stand, EXPORT, &headers, compressed, &body).await;
        let status = Status::from_header_map(&answer.headers).expect("a gRPC status");
        assert_eq!(
            (status.code(), has_delay(&answer)),
            (Code::InvalidArgument, false),
            "{expected}"
        );
        assert!(status.message().contains(expected), "{}", status.message());
        assert_eq!(stand.collector.budget.used(), 0, "{expected}");
    }
}

#[tokio::test]
async fn what_may_be_retried_says_when() {
    let full = Stand::new(r#"{"limits": {"in_flight_bytes_max": 10}}"#);
    let closed = Stand::new("{}");
    closed.collector.log.close();
    for stand in [full, closed] {
        let answer = call(&stand, EXPORT, &[GRPC], false, &message(&[SPAN])).await;
        assert_eq!((code(&answer), has_delay(&answer)), (Code::Unavailable, true));
        assert_eq!(stand.collector.budget.used(), 0, "what was reserved is given back");
    }
}

#[tokio::test]
async fn tokens_and_partial_success() {
    let stand = Stand::new(r#"{"tokens": [{"id": "team-a", "token": "secret"}]}"#);
    let bad = r#"{"traceId":"","spanId":"","name":"bad"}"#;
    let body = message(&[SPAN, bad]);
    let answer = call(&stand, EXPORT, &[GRPC], false, &body).await;
    assert_eq!((code(&answer), has_delay(&answer)), (Code::Unauthenticated, false));
    let answer =
        call(&stand, EXPORT, &[GRPC, ("authorization", "Bearer secret")], false, &body).await;
    assert_eq!(code(&answer), Code::Ok);
    let response = ExportResponse::decode(&answer.body[5..]).expect("an export response");
    let partial = format!("{response:?}");
    assert!(partial.contains("rejected: 1"), "{partial}");
    assert_eq!(stand.records()[0].key_id, "team-a");
}
