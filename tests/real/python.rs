//! OpenTelemetry's SDK for Python: what its exporters report as exported stands in `spans`, once,
//! with every attribute.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::harness::authority::{Authority, Issued};
use crate::harness::{Ethogram, tree};
use crate::program;

/// The variable that names a Python with `tests/python/requirements.txt` installed.
const PYTHON: &str = "ETHOGRAM_TEST_PYTHON";

/// Sending takes a second; exporters try again for a minute where a collector does not answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// Fewer would be fewer requests than make a test of batches.
const SPANS_MIN: usize = 300;

#[test]
fn every_exported_span_is_one_row() {
    let ethogram = Ethogram::start(&[]);
    for (protocol, compression) in
        [("grpc", "gzip"), ("grpc", "none"), ("http", "gzip"), ("http", "none")]
    {
        let address =
            if protocol == "grpc" { &ethogram.at.otlp_grpc } else { &ethogram.at.otlp_http };
        check(&ethogram, address, protocol, compression, &[]);
    }
}

/// Over TLS both sides show a certificate, which the SDK finds by variables that every SDK has.
#[test]
fn tls_is_what_exporters_speak() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().expect("a directory");
    let written = |issued: Issued, name: &str| {
        let own = folder.path().join(name);
        std::fs::create_dir(&own).expect("a writable directory");
        let (certificate, key) = issued.write(&own);
        [certificate, key].map(|path| path.display().to_string())
    };
    let ca = authority.write(&folder.path().join("ca.pem")).display().to_string();
    let [certificate, key] = written(authority.server(), "server");
    let ethogram = Ethogram::start(&[
        &format!("--collector-otlp-tls-certificate-file={certificate}"),
        &format!("--collector-otlp-tls-key-file={key}"),
        &format!("--collector-otlp-client-ca-file={ca}"),
    ]);
    let [certificate, key] = written(authority.client(), "client");
    let variables = [
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", ca.as_str()),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &certificate),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", &key),
    ];
    check(&ethogram, &ethogram.at.otlp_grpc, "grpc", "gzip", &variables);
    check(&ethogram, &ethogram.at.otlp_http, "http", "gzip", &variables);
}

/// Variables are the SDK's for TLS; without any it speaks plain text.
fn check(
    ethogram: &Ethogram,
    address: &str,
    protocol: &str,
    compression: &str,
    variables: &[(&str, &str)],
) {
    let service = format!("python-{protocol}-{compression}");
    let exported = send(address, protocol, compression, &service, variables);
    assert!(exported.len() >= SPANS_MIN, "{service}: {} spans exported", exported.len());
    let count = format!("SELECT count(*) FROM spans WHERE service = '{service}'");
    ethogram.wait_for_value(&count, exported.len());
    let rows = ethogram.sql(&format!(
        "SELECT trace_id, span_id, parent_span_id, name, kind, status, duration_us, attributes, resource \
         FROM spans WHERE service = '{service}'"
    ));
    assert_eq!(rows.len(), exported.len(), "{service}");
    let by_id: BTreeMap<(&str, &str), &Value> = rows.iter().map(|row| (ids(row), row)).collect();
    for span in &exported {
        let row = by_id.get(&ids(span)).unwrap_or_else(|| panic!("{service}: no row is {span}"));
        for field in ["parent_span_id", "name", "kind", "status", "duration_us"] {
            assert_eq!(row[field], span[field], "{service}: {field} of {span}");
        }
        for map in ["attributes", "resource"] {
            check_map(&row[map], &span[map], &service);
        }
    }
}

/// One of our scripts, run by a Python that has OpenTelemetry's packages.
pub(crate) fn script(path: &str) -> Command {
    let python = std::env::var(PYTHON).unwrap_or_else(|_| {
        panic!(
            "{PYTHON} is not set: it names a Python with tests/python/requirements.txt installed. \
             `tests/run` makes one and sets it"
        )
    });
    let mut command = Command::new(python);
    command.arg(tree(path));
    command
}

/// Sends spans and gives those that the exporter answered with success.
fn send(
    address: &str,
    protocol: &str,
    compression: &str,
    service: &str,
    variables: &[(&str, &str)],
) -> Vec<Value> {
    let mut command = script("tests/python/send.py");
    for (option, value) in [
        ("--protocol", protocol),
        ("--endpoint", address),
        ("--compression", compression),
        ("--service", service),
    ] {
        command.args([option, value]);
    }
    // A machine that has them set for its user means other servers, and `requests` would prefer them.
    command.env_remove("REQUESTS_CA_BUNDLE").env_remove("CURL_CA_BUNDLE");
    command.args((!variables.is_empty()).then_some("--tls")).envs(variables.iter().copied());
    let ended = program::run(&mut command, b"", PATIENCE);
    assert!(ended.status.success(), "{service}: {}", ended.everything());
    let line = ended.stdout.lines().last().unwrap_or_default();
    let said: Value = serde_json::from_str(line)
        .unwrap_or_else(|error| panic!("{error}: {}", ended.everything()));
    let exported = said["exported"].as_array().expect("a list of spans").clone();
    let created = said["created"].as_u64().and_then(|created| usize::try_from(created).ok());
    // A collector that refuses some would otherwise make this test easier.
    assert_eq!(created, Some(exported.len()), "{service} created and exported: {}", ended.stderr);
    exported
}

fn ids(row: &Value) -> (&str, &str) {
    let id = |name: &str| row[name].as_str().expect("an id");
    (id("trace_id"), id("span_id"))
}

/// Text stands as it is, any other value as JSON; nothing is missing, and nothing was added.
fn check_map(row: &Value, sent: &Value, service: &str) {
    let (row, sent) = (row.as_object().expect("a map"), sent.as_object().expect("a map"));
    let names = |map: &serde_json::Map<String, Value>| {
        let mut names: Vec<String> = map.keys().cloned().collect();
        names.sort();
        names
    };
    assert_eq!(names(row), names(sent), "{service}");
    for (name, value) in sent {
        let text =
            row[name].as_str().unwrap_or_else(|| panic!("{service}: {name} is {}", row[name]));
        let is_same = match value {
            Value::String(sent) => text == sent,
            sent => serde_json::from_str(text).is_ok_and(|read: Value| read == *sent),
        };
        assert!(is_same, "{service}: {name} was sent as {value} and stands as {text:?}");
    }
}
