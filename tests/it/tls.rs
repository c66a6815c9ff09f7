//! TLS on the doors: who gets in, who does not, and that nobody who fails disturbs the others.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rcgen::ExtendedKeyUsagePurpose;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::rustls::version;

use crate::descriptors;
use crate::harness::authority::{Authority, BOTH, Issued, connect};
use crate::harness::otlp::server_span;
use crate::harness::{Ethogram, Request, binary, wait_for};
use crate::http2::{self, EXPORT, framed};

struct Stand {
    authority: Authority,
    server: Issued,
    folder: tempfile::TempDir,
    ethogram: Ethogram,
}

impl Stand {
    /// A collector with one certificate on all its doors.
    fn new(further: impl FnOnce(&Path) -> Vec<String>) -> Self {
        let authority = Authority::new();
        let server = authority.server();
        let folder = tempfile::tempdir().expect("a directory");
        let (certificate, key) = server.write(folder.path());
        let mut arguments = further(folder.path());
        for door in ["beacon", "otlp"] {
            let flag = format!("--collector-{door}-tls");
            arguments.push(format!("{flag}-certificate-file={}", certificate.display()));
            arguments.push(format!("{flag}-key-file={}", key.display()));
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let ethogram = Ethogram::start(&arguments);
        Self { authority, server, folder, ethogram }
    }

    fn log(&self) -> String {
        let path = self.ethogram.directory.path().join("stderr.log");
        std::fs::read_to_string(path).expect("its log")
    }

    fn metric(&self, sample: &str) -> f64 {
        let page = self.ethogram.get(&self.ethogram.at.admin, "/metrics").text();
        let line = page.lines().find_map(|line| line.strip_prefix(sample));
        line.and_then(|value| value.trim().parse().ok())
            .unwrap_or_else(|| panic!("{sample}\n{page}"))
    }
}

/// Posts a span over TLS and HTTP/1.1; the status line.
async fn post(
    client: &std::sync::Arc<tokio_rustls::rustls::ClientConfig>,
    address: &str,
) -> std::io::Result<String> {
    let mut stream = connect(client, address).await?;
    let body = server_span("tls", 4711).to_string();
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await?;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer).await;
    if answer.is_empty() {
        read?;
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn doors_speak_tls_and_nothing_else() {
    let stand = Stand::new(|_| Vec::new());
    let at = &stand.ethogram.at;
    for versions in [&[&version::TLS13][..], &[&version::TLS12]] {
        let client = stand.authority.trusting(versions, None, &[]);
        let said = post(&client, &at.otlp_http).await.expect("an answer");
        assert_eq!(said, "HTTP/1.1 200 OK", "{versions:?}");
    }
    // What is agreed on by ALPN; `None` is no handshake.
    for (door, offered, expected) in [
        (&at.otlp_http, &["h2", "http/1.1"][..], Some("h2")),
        (&at.otlp_http, &["http/1.1"], Some("http/1.1")),
        (&at.beacon, &["http/1.1", "h2"], Some("h2")),
        (&at.otlp_grpc, &["h2"], Some("h2")),
        (&at.otlp_grpc, &["http/1.1"], None),
        (&at.otlp_http, &["smtp"], None),
    ] {
        let client = stand.authority.trusting(BOTH, None, offered);
        let agreed = connect(&client, door).await.ok().map(|stream| {
            let protocol = stream.get_ref().1.alpn_protocol().expect("one was agreed on");
            String::from_utf8_lossy(protocol).into_owned()
        });
        assert_eq!(agreed.as_deref(), expected, "{door} {offered:?}");
    }
    // A whole call of gRPC.
    let client = stand.authority.trusting(BOTH, None, &["h2"]);
    let stream = connect(&client, &at.otlp_grpc).await.expect("a handshake");
    let headers = [("content-type", "application/grpc"), ("te", "trailers")];
    let answer =
        http2::post(stream, EXPORT, &headers, framed(false, &[])).await.expect("an answer");
    assert_eq!(answer.grpc().code(), tonic::Code::Ok);
    // Who speaks plain text is not understood, and who trusts nobody here does not shake hands.
    let plain = Request::get("/ethogram.js").try_send(&at.beacon);
    assert!(plain.is_err(), "{plain:?}");
    let stranger = Authority::new().trusting(BOTH, None, &[]);
    assert!(connect(&stranger, &at.beacon).await.is_err());
    let failed = r#"ethogram_collector_connections_ended_total{reason="handshake",door="beacon"}"#;
    wait_for("both to be counted", || (stand.metric(failed) == 2.0).then_some(()));
    stand.ethogram.wait_for_value("SELECT count(*) FROM spans WHERE service = 'tls'", 1);
}

/// A ClientHello as clients sent it before TLS 1.3: the version stands in its second field.
fn old_hello(version: u8) -> Vec<u8> {
    let mut hello = vec![3, version];
    hello.extend([7; 32]); // Random.
    hello.push(0); // No session.
    // ECDHE with AES and SHA of TLS 1.0, with GCM of TLS 1.2.
    hello.extend([0, 8, 0xc0, 0x09, 0xc0, 0x13, 0xc0, 0x2b, 0xc0, 0x2f]);
    hello.extend([1, 0]); // No compression.
    let extensions: &[&[u8]] = &[
        &[0, 10, 0, 4, 0, 2, 0, 23],      // Groups: P-256.
        &[0, 11, 0, 2, 1, 0],             // Points: uncompressed.
        &[0, 13, 0, 6, 0, 4, 4, 3, 8, 4], // Signatures: ECDSA and RSA-PSS with SHA-256.
        &[0, 23, 0, 0],                   // Extended master secret.
    ];
    let extensions = extensions.concat();
    hello.extend(u16::try_from(extensions.len()).expect("short").to_be_bytes());
    hello.extend(extensions);
    let length = u8::try_from(hello.len()).expect("short");
    [&[22, 3, 1, 0, length + 4, 1, 0, 0, length][..], &hello].concat()
}

#[test]
fn old_versions_are_refused() {
    let stand = Stand::new(|_| Vec::new());
    let answer_to = |version: u8| {
        let mut stream = TcpStream::connect(&stand.ethogram.at.beacon).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        stream.write_all(&old_hello(version)).expect("it is read");
        let mut answer = [0; 7];
        let count = stream.read(&mut answer).expect("an answer");
        answer[..count].to_vec()
    };
    const ALERT: u8 = 21;
    const HANDSHAKE: u8 = 22;
    for (name, version) in [("SSL 3", 0), ("TLS 1.0", 1), ("TLS 1.1", 2)] {
        let answer = answer_to(version);
        assert_eq!((answer[0], &answer[5..]), (ALERT, &[2, 70][..]), "{name}: fatal, the version");
    }
    assert_eq!(answer_to(3)[0], HANDSHAKE, "the same hello of TLS 1.2 is answered");
}

/// A thousand who never finish shaking hands, of three kinds, while others are served.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_shake_hands_disturbs_nobody() {
    let count: usize = 1_000;
    let _room = descriptors::for_connections(count as u64).await;
    let stand = Stand::new(|_| vec![String::from("--collector-limits-first-request-s=3")]);
    let address = &stand.ethogram.at.otlp_http;
    let client = stand.authority.trusting(BOTH, None, &[]);
    let mut hanging = Vec::new();
    for index in 0..count {
        let mut stream = TcpStream::connect(address).expect("it listens");
        let bytes: &[u8] = match index % 3 {
            0 => b"\x16\x03\x01\xff\xff\x00 nothing that is TLS \xff\xfe",
            1 => &old_hello(3)[..40],
            _ => b"",
        };
        stream.write_all(bytes).expect("a socket's buffer takes it");
        hanging.push(stream);
        if index % 50 == 0 {
            let said = post(&client, address).await.expect("others are served");
            assert_eq!(said, "HTTP/1.1 200 OK");
        }
    }
    let ended = |reason: &str| {
        let sample = format!(
            "ethogram_collector_connections_ended_total{{reason=\"{reason}\",door=\"otlp_http\"}}"
        );
        stand.metric(&sample) as usize
    };
    wait_for("the end of all handshakes", || {
        let ended = (ended("handshake"), ended("slow_handshake"));
        (ended.0 + ended.1 >= count).then_some(())
    });
    assert_eq!(
        (ended("handshake"), ended("slow_handshake")),
        (count.div_ceil(3), count - count.div_ceil(3))
    );
    let open = r#"ethogram_collector_connections{door="otlp_http"}"#;
    wait_for("every connection's end", || (stand.metric(open) == 0.0).then_some(()));
    drop(hanging);
    assert_eq!(post(&client, address).await.expect("still served"), "HTTP/1.1 200 OK");
    assert!(!stand.log().contains("panicked"), "{}", stand.log());
}

/// Shaking hands takes a place like anything else: of the listener, and of the client's address.
#[tokio::test(flavor = "multi_thread")]
async fn half_handshakes_take_places() {
    let stand = Stand::new(|_| {
        let flags = [
            "--collector-proxy-trusted=[]",
            "--collector-limits-connections-per-address-max=10",
            "--collector-limits-first-request-s=600",
        ];
        flags.map(String::from).to_vec()
    });
    let address = &stand.ethogram.at.beacon;
    let hanging: Vec<TcpStream> =
        (0..15).map(|_| TcpStream::connect(address).expect("the system accepts for it")).collect();
    let refused = r#"ethogram_collector_connections_refused_total{reason="address",door="beacon"}"#;
    wait_for("five to be refused", || (stand.metric(refused) == 5.0).then_some(()));
    let client = stand.authority.trusting(BOTH, None, &[]);
    assert!(connect(&client, address).await.is_err(), "its address has no place left");
    drop(hanging);
    let open = r#"ethogram_collector_connections{door="beacon"}"#;
    wait_for("all places to be free", || (stand.metric(open) == 0.0).then_some(()));
    connect(&client, address).await.expect("a handshake");
}

#[tokio::test(flavor = "multi_thread")]
async fn services_show_a_certificate_of_theirs() {
    let ours = Authority::new();
    let stand = Stand::new(|folder| {
        let path = ours.write(&folder.join("clients.pem"));
        vec![format!("--collector-otlp-client-ca-file={}", path.display())]
    });
    let other = Authority::new();
    let at = &stand.ethogram.at;
    let shown: [(&str, Option<Issued>, bool); 5] = [
        ("right", Some(ours.client()), true),
        ("none", None, false),
        ("of another authority", Some(other.client()), false),
        ("expired", Some(ours.issue(ExtendedKeyUsagePurpose::ClientAuth, 2021)), false),
        ("of a server", Some(ours.server()), false),
    ];
    for (what, own, expected) in shown {
        for versions in [&[&version::TLS13][..], &[&version::TLS12]] {
            let client = stand.authority.trusting(versions, own.as_ref(), &[]);
            let said = post(&client, &at.otlp_http).await;
            assert_eq!(said.is_ok(), expected, "{what} {versions:?}: {said:?}");
        }
    }
    // Browsers have none, and the beacon's door asks for none.
    let client = stand.authority.trusting(BOTH, None, &[]);
    connect(&client, &at.beacon).await.expect("a handshake");
    assert!(!stand.log().contains("panicked"), "{}", stand.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_taken() {
    let stand = Stand::new(|_| Vec::new());
    let address = &stand.ethogram.at.beacon;
    let client = stand.authority.trusting(BOTH, None, &[]);
    let shown = async || {
        let stream = connect(&client, address).await.expect("a handshake");
        stream.get_ref().1.peer_certificates().expect("its chain")[0].clone()
    };
    assert_eq!(&shown().await, stand.server.certificate.der());
    // Half of a renewal fits nothing: the log says so, and the former one stays in use.
    let renewed = stand.authority.server();
    std::fs::write(stand.folder.path().join("certificate.pem"), renewed.certificate.pem())
        .expect("a writable directory");
    while !stand.log().contains("the former certificate stays in use") {
        assert_eq!(&shown().await, stand.server.certificate.der());
        tokio::task::yield_now().await;
    }
    renewed.write(stand.folder.path());
    while &shown().await != renewed.certificate.der() {
        tokio::task::yield_now().await;
    }
}

#[test]
fn files_that_are_wrong_are_named() {
    let folder = tempfile::tempdir().expect("a directory");
    let authority = Authority::new();
    let (certificate, key) = authority.server().write(folder.path());
    let other = folder.path().join("other");
    std::fs::create_dir(&other).expect("a writable directory");
    let (_, other_key) = authority.server().write(&other);
    let broken = folder.path().join("broken.pem");
    std::fs::write(&broken, "-----BEGIN CERTIFICATE-----\n!\n").expect("a writable directory");
    let missing = folder.path().join("missing.pem");
    let check = |certificate: &Path, key: &Path, authorities: Option<&Path>, expected: &[&str]| {
        let mut flags = vec![
            format!("--collector-otlp-tls-certificate-file={}", certificate.display()),
            format!("--collector-otlp-tls-key-file={}", key.display()),
        ];
        flags.extend(
            authorities.map(|path| format!("--collector-otlp-client-ca-file={}", path.display())),
        );
        let listeners = ["admin", "beacon", "otlp-grpc", "otlp-http"];
        let output = Command::new(binary())
            .arg("collector")
            .args(listeners.map(|name| format!("--{name}-listen=127.0.0.1:0")))
            .arg(format!("--data-dir={}", folder.path().join("data").display()))
            .args(flags)
            .output()
            .expect("the binary starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        for part in expected {
            assert!(said.contains(part), "{said} does not say {part}");
        }
    };
    let in_certificate = "collector.otlp.tls.certificate_file";
    let in_key = "collector.otlp.tls.key_file";
    check(&missing, &key, None, &[in_certificate, "missing.pem", "cannot be read"]);
    check(&key, &key, None, &[in_certificate, "key.pem", "no certificate"]);
    check(&broken, &key, None, &[in_certificate, "broken.pem", "not PEM"]);
    check(&certificate, &missing, None, &[in_key, "missing.pem", "cannot be read"]);
    check(&certificate, &certificate, None, &[in_key, "certificate.pem", "no private key"]);
    check(&certificate, &other_key, None, &[in_key, "other/key.pem", "does not fit"]);
    let in_authorities = "collector.otlp.client_ca_file";
    check(&certificate, &key, Some(&missing), &[in_authorities, "missing.pem", "cannot be read"]);
    check(&certificate, &key, Some(&key), &[in_authorities, "key.pem", "no certificate"]);
}
