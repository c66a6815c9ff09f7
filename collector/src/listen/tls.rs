//! TLS of one door: the files it is made of, and the handshake.
//!
//! It decides nothing about who may send; where a client authority is configured, a handshake without a
//! certificate of it fails, and that is all.
//!
//! Invariants: TLS 1.2 and 1.3 only; a renewed certificate is taken without a restart, and where the new
//! files do not fit together the old ones stay in use; a handshake never outlives its connection's time.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig, version};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::Config;
use crate::counters::Door;

/// Files that TLS cannot be made of. The operator's to mend.
#[derive(Debug, Error)]
#[error("collector.{key}: {path}: {problem}", path = .path.display())]
pub struct TlsError {
    key: String,
    path: PathBuf,
    problem: String,
}

/// One door's TLS.
pub(crate) struct Tls {
    files: Files,
    /// What clients may ask for by ALPN, the best first.
    protocols: Vec<Vec<u8>>,
    state: Mutex<State>,
}

struct Files {
    /// Names the files in errors: the key of the door's part of the configuration.
    key: &'static str,
    certificate: PathBuf,
    private_key: PathBuf,
    client_ca: Option<PathBuf>,
}

struct State {
    config: Arc<ServerConfig>,
    /// The files as they were when they were last read, whether or not they fitted.
    stamps: Stamps,
    looked: Instant,
}

/// When each file was changed, and how long it is.
type Stamps = [Option<(SystemTime, u64)>; 3];

/// How often the files are looked at: three calls of a microsecond each, and a renewal that is in use
/// before whoever renewed looks.
const LOOK_EVERY: Duration = Duration::from_secs(2);

impl Tls {
    /// The TLS that `config` asks for at `door`; `None` where it speaks plain text.
    pub(crate) fn open(config: &Config, door: Door) -> Result<Option<Self>, TlsError> {
        let (key, tls, client_ca) = match door {
            Door::Beacon => ("beacon", &config.beacon.tls, None),
            Door::Grpc | Door::Http => {
                ("otlp", &config.otlp.tls, config.otlp.client_ca_file.clone())
            }
            Door::Admin => return Ok(None),
        };
        let Some((certificate, private_key)) = tls.files() else { return Ok(None) };
        let files = Files {
            key,
            certificate: certificate.clone(),
            private_key: private_key.clone(),
            client_ca,
        };
        let protocols: &[&[u8]] = if door == Door::Grpc { &[b"h2"] } else { &[b"h2", b"http/1.1"] };
        let protocols: Vec<Vec<u8>> = protocols.iter().map(|name| name.to_vec()).collect();
        // Before they are read: what is changed in between is then read again.
        let stamps = files.stamps();
        let config = Arc::new(files.read(&protocols)?);
        let state = Mutex::new(State { config, stamps, looked: Instant::now() });
        Ok(Some(Self { files, protocols, state }))
    }

    /// Shakes hands.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        TlsAcceptor::from(self.current()).accept(stream).await
    }

    /// What the files say now, as far as it can be used.
    fn current(&self) -> Arc<ServerConfig> {
        let mut state = self.state.lock();
        if state.looked.elapsed() < LOOK_EVERY {
            return Arc::clone(&state.config);
        }
        state.looked = Instant::now();
        let stamps = self.files.stamps();
        if stamps != state.stamps {
            state.stamps = stamps;
            match self.files.read(&self.protocols) {
                Ok(config) => {
                    tracing::info!(part = self.files.key, "the certificate was renewed");
                    state.config = Arc::new(config);
                }
                // Half of a renewal, most likely; the other half changes the files once more.
                Err(error) => tracing::warn!(%error, "the former certificate stays in use"),
            }
        }
        Arc::clone(&state.config)
    }
}

impl Files {
    fn stamps(&self) -> Stamps {
        let stamp = |path: &Path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        let authorities = self.client_ca.as_deref().and_then(stamp);
        [stamp(&self.certificate), stamp(&self.private_key), authorities]
    }

    fn read(&self, protocols: &[Vec<u8>]) -> Result<ServerConfig, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            .expect("ring has cipher suites of both versions");
        let chain = certificates(&self.certificate, &self.named("tls.certificate_file"))?;
        let key_named = self.named("tls.key_file");
        let private_key = private_key(&self.private_key, &key_named)?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => builder.with_client_cert_verifier(self.verifier(path)?),
        };
        let mut config = builder.with_single_cert(chain, private_key).map_err(|error| {
            let problem = format!("it does not fit {}: {error}", self.certificate.display());
            wrong(&key_named, &self.private_key, problem)
        })?;
        config.alpn_protocols = protocols.to_vec();
        Ok(config)
    }

    fn verifier(&self, path: &Path) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let key = self.named("client_ca_file");
        let mut roots = RootCertStore::empty();
        for certificate in certificates(path, &key)? {
            roots.add(certificate).map_err(|error| {
                wrong(&key, path, format!("a certificate in it is no authority: {error}"))
            })?;
        }
        let provider = Arc::new(ring::default_provider());
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| wrong(&key, path, error.to_string()))
    }

    fn named(&self, file: &str) -> String {
        format!("{}.{file}", self.key)
    }
}

fn certificates(path: &Path, key: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = text(path, key)?;
    let chain: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|error| wrong(key, path, format!("it is not PEM: {error}")))?;
    if chain.is_empty() {
        let problem = "there is no certificate in it (-----BEGIN CERTIFICATE-----)";
        return Err(wrong(key, path, problem));
    }
    Ok(chain)
}

fn private_key(path: &Path, key: &str) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&text(path, key)?).map_err(|error| match error {
        pem::Error::NoItemsFound => {
            wrong(key, path, "there is no private key in it, or it is encrypted")
        }
        error => wrong(key, path, format!("it is not PEM: {error}")),
    })
}

fn text(path: &Path, key: &str) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| wrong(key, path, format!("it cannot be read: {error}")))
}

fn wrong(key: &str, path: &Path, problem: impl Into<String>) -> TlsError {
    TlsError { key: String::from(key), path: path.to_path_buf(), problem: problem.into() }
}
