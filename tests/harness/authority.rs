//! Certificates for a test, and TLS clients that believe in them.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, date_time_ymd,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};

/// Both versions that are spoken.
pub(crate) const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];

/// An authority that signs certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key.
pub(crate) struct Issued {
    pub(crate) certificate: rcgen::Certificate,
    key: KeyPair,
}

fn key() -> KeyPair {
    KeyPair::generate().expect("random bits")
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Without a name of its own OpenSSL takes what it signs for self-signed.
        params.distinguished_name.push(DnType::CommonName, "the test's authority");
        Self(CertifiedIssuer::self_signed(params, key()).expect("it signs itself"))
    }

    /// A certificate of this machine as a server, or of a client, that ends with that year.
    pub(crate) fn issue(&self, purpose: ExtendedKeyUsagePurpose, until_year: i32) -> Issued {
        let names = vec![String::from("localhost"), Ipv4Addr::LOCALHOST.to_string()];
        let mut params = CertificateParams::new(names).expect("names");
        params.extended_key_usages = vec![purpose];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until_year, 12, 31);
        let key = key();
        let certificate = params.signed_by(&key, &self.0).expect("it signs");
        Issued { certificate, key }
    }

    pub(crate) fn server(&self) -> Issued {
        self.issue(ExtendedKeyUsagePurpose::ServerAuth, 2090)
    }

    pub(crate) fn client(&self) -> Issued {
        self.issue(ExtendedKeyUsagePurpose::ClientAuth, 2090)
    }

    /// Writes the authority's own certificate.
    pub(crate) fn write(&self, path: &Path) -> PathBuf {
        std::fs::write(path, self.0.pem()).expect("a writable directory");
        path.to_path_buf()
    }

    /// A client that believes in this authority, shows `own` and asks for `protocols`.
    pub(crate) fn trusting(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        own: Option<&Issued>,
        protocols: &[&str],
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("an authority");
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("ring speaks them")
            .with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let key = PrivatePkcs8KeyDer::from(own.key.serialize_der());
                let chain = vec![own.certificate.der().clone()];
                builder.with_client_auth_cert(chain, PrivateKeyDer::from(key)).expect("its key")
            }
        };
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

impl Issued {
    /// Writes certificate and key; their paths.
    pub(crate) fn write(&self, folder: &Path) -> (PathBuf, PathBuf) {
        let paths = (folder.join("certificate.pem"), folder.join("key.pem"));
        std::fs::write(&paths.0, self.certificate.pem()).expect("a writable directory");
        std::fs::write(&paths.1, self.key.serialize_pem()).expect("a writable directory");
        paths
    }
}

/// Connects and shakes hands.
pub(crate) async fn connect(
    config: &Arc<ClientConfig>,
    address: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::from(IpAddr::V4(Ipv4Addr::LOCALHOST));
    TlsConnector::from(Arc::clone(config)).connect(name, stream).await
}
