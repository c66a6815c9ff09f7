//! A key opens the doors of its zone, and no other.

use std::process::Command;

use tokio::net::TcpStream;
use tonic::Code;

use crate::harness::otlp::{beacon_request, server_span};
use crate::harness::{Ethogram, Request, binary};
use crate::http2::{self, EXPORT, framed};

/// A key of the command, and the lines for the configuration it comes with.
fn drawn() -> (String, toml::Table) {
    let output = Command::new(binary()).arg("key").output().expect("the binary starts");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    let (key, lines): (Vec<_>, Vec<_>) = text.lines().partition(|line| line.starts_with("eth_"));
    let lines = toml::from_str(&lines.join("\n")).expect("lines of a configuration");
    (key.concat(), lines)
}

fn flag(lines: &toml::Table, list: &str) -> String {
    let one = lines[list][0].to_string().replace("NAME", "drawn");
    format!(
        "--collector-{list}=[{one}, {}]",
        match list {
            "keys" => r#"{ id = "drawn", key = "page", app = "default", service = "web" }"#,
            _ => r#"{ id = "drawn", token = "service", app = "default" }"#,
        }
    )
}

/// Every kind of key, shown at every door in every way: only a key of the door's zone, shown in the
/// door's way, opens it.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_opens_its_own_doors() {
    let ((page, page_lines), (service, service_lines)) = (drawn(), drawn());
    assert_ne!(page, service, "each is drawn anew");
    let ethogram = Ethogram::start(&[
        &flag(&page_lines, "keys"),
        &flag(&service_lines, "tokens"),
        "--collector-beacon-origins=https://shop.example",
    ]);
    let hash = |lines: &toml::Table, list: &str, field: &str| {
        lines[list][0][field].as_str().expect("text").to_owned()
    };
    let shown = [
        // Whose it is, and the text that is shown. Two of each are active, as in a rotation.
        ("page", page),
        ("page", "page".to_owned()),
        ("service", service),
        ("service", "service".to_owned()),
        // A hash opens nothing: whoever reads the configuration has no key.
        ("nobody", hash(&page_lines, "keys", "key")),
        ("nobody", hash(&service_lines, "tokens", "token")),
        ("nobody", "drawn".to_owned()),
        ("nobody", String::new()),
    ];
    for (owner, text) in &shown {
        at_the_beacon(&ethogram, owner, text);
        at_otlp(&ethogram, owner, text).await;
        // The doors of operators and readers take nothing in, whatever is shown.
        for (address, status) in [(&ethogram.at.admin, 404), (&ethogram.at.query, 405)] {
            let request = Request::post("/v1/traces").header("Authorization", &bearer(text));
            assert_eq!(request.send(address).status, status, "{owner} {text} at {address}");
        }
    }
}

fn bearer(text: &str) -> String {
    format!("Bearer {text}")
}

fn at_the_beacon(ethogram: &Ethogram, owner: &str, text: &str) {
    let status = |path: &str, origin: &str| {
        Request::post(path)
            .header("Content-Type", "text/plain")
            .header("Origin", origin)
            .header("Authorization", &bearer(text))
            .body(beacon_request("s1", 5, 0).to_string())
            .send(&ethogram.at.beacon)
            .status
    };
    let in_query = format!("/v1/ethogram?key={text}");
    let (ours, theirs) = ("https://shop.example", "https://evil.test");
    let expected = if owner == "page" { 204 } else { 401 };
    assert_eq!(status(&in_query, ours), expected, "{owner} {text} at the beacon's door");
    assert_eq!(status("/v1/ethogram", ours), 401, "{owner} {text} in a header");
    assert_eq!(status(&in_query, theirs), 403, "{owner} {text} from another site");
}

async fn at_otlp(ethogram: &Ethogram, owner: &str, text: &str) {
    let bearer = bearer(text);
    let expected = if owner == "service" { 200 } else { 401 };
    for (path, authorization, expected) in [
        ("/v1/traces".to_owned(), bearer.clone(), expected),
        (format!("/v1/traces?key={text}"), String::new(), 401),
        ("/v1/traces".to_owned(), format!("Basic {text}"), 401),
    ] {
        let answer = Request::post(&path)
            .header("Content-Type", "application/json")
            .header("Authorization", &authorization)
            .body(server_span("keys", 9).to_string())
            .send(&ethogram.at.otlp_http);
        assert_eq!(answer.status, expected, "{owner} {path} {authorization}");
        assert_eq!(answer.header("www-authenticate").is_some(), expected == 401, "{owner}");
    }
    let stream = TcpStream::connect(&ethogram.at.otlp_grpc).await.expect("it listens");
    let headers = [("content-type", "application/grpc"), ("authorization", &bearer)];
    let answer = http2::post(stream, EXPORT, &headers, framed(false, &[])).await;
    let code = answer.expect("an answer").grpc().code();
    let expected = if owner == "service" { Code::Ok } else { Code::Unauthenticated };
    assert_eq!(code, expected, "{owner} {text} by gRPC");
}
