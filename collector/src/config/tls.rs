//! Which files a door's TLS is made of.
//!
//! It reads none of them; `listen::tls` does, when the role starts and whenever they change.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{ConfigError, invalid};

/// The certificate of a door. Both files or none: with them the door speaks TLS and nothing else.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM file of the certificate and those it is signed by, the server's own first.
    pub certificate_file: Option<PathBuf>,
    /// PEM file of the certificate's private key, not encrypted.
    pub key_file: Option<PathBuf>,
}

impl TlsConfig {
    /// Both files, where the door speaks TLS.
    pub(crate) fn files(&self) -> Option<(&PathBuf, &PathBuf)> {
        self.certificate_file.as_ref().zip(self.key_file.as_ref())
    }

    /// `key` names this part of the configuration.
    pub(super) fn check(&self, key: &str) -> Result<(), ConfigError> {
        let (has, lacks) = match (&self.certificate_file, &self.key_file) {
            (Some(_), None) => ("certificate_file", "key_file"),
            (None, Some(_)) => ("key_file", "certificate_file"),
            _ => return Ok(()),
        };
        Err(invalid(key, format!("{has} is set but {lacks} is not; TLS needs both")))
    }
}
