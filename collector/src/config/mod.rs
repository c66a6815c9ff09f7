//! The collector's part of the configuration.
//!
//! It is plain data with defaults that serve a laptop: loopback only, one write key, no tokens.
//! It reads no file and no environment; the root does. Unknown keys are errors, since a
//! misspelt limit that silently keeps its default is worse than a refusal to start.
//!
//! Invariants: [`Config::check`] passes on the default; a configuration which passes it and
//! [`Config::check_binds`] makes the role start as far as configuration can.

mod doors;
mod places;
mod secret;
mod tls;

pub use doors::{BeaconConfig, LimitsConfig, OtlpConfig};
pub use places::{GeoConfig, ProxyConfig};
pub use secret::Secret;
pub(crate) use secret::Shown;
pub use tls::TlsConfig;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use ethogram_timeline::decode::admit::Sizes;
use ethogram_timeline::log::LogConfig;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Everything that may be set about the collector role.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Write keys of browser applications. They are public by nature: they only write.
    pub keys: Vec<WriteKey>,
    /// Tokens of services. While empty, the OTLP doors serve loopback only.
    pub tokens: Vec<Token>,
    /// The beacon's door.
    pub beacon: BeaconConfig,
    /// The OTLP doors.
    pub otlp: OtlpConfig,
    /// Limits that hold for all doors.
    pub limits: LimitsConfig,
    /// How much of one record is let in.
    pub records: Sizes,
    /// Which peers may speak for somebody else's address.
    pub proxy: ProxyConfig,
    /// How an address becomes a place.
    pub geo: GeoConfig,
    /// The log's limits.
    pub log: LogConfig,
}

/// A write key: what a browser application shows, and whose rows it writes.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WriteKey {
    /// Names the key in rows and counters, so that the key itself is stored nowhere. Two keys may
    /// have one id, for as long as one takes over from the other.
    pub id: String,
    /// What the browser sends as the query parameter `key`, or its hash.
    pub key: Secret,
    /// The application of its rows; the client cannot choose it.
    #[serde(default = "default_app")]
    pub app: String,
    /// The service of its rows; the client cannot choose it.
    #[serde(default = "default_service")]
    pub service: String,
}

/// A service's token, sent as `Authorization: Bearer`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Names the token in rows and counters. Two tokens may have one id, as keys may.
    pub id: String,
    /// The secret, or its hash.
    pub token: Secret,
    /// The application of its rows.
    #[serde(default = "default_app")]
    pub app: String,
}

/// The addresses the doors are bound to, as far as a rule depends on them.
#[derive(Clone, Copy, Debug)]
pub struct Binds {
    /// The beacon's address.
    pub beacon: SocketAddr,
    /// The OTLP/gRPC address.
    pub otlp_grpc: SocketAddr,
    /// The OTLP/HTTP address.
    pub otlp_http: SocketAddr,
}

/// A configuration that cannot be served. The operator's to mend; the message names the key.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// A value that is out of its range, or contradicts another one.
    #[error("collector.{key}: {problem}")]
    Invalid {
        /// The key below `collector`.
        key: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// The OTLP doors would take anybody's rows as verified.
    #[error(
        "collector.tokens is empty, so {flag} may only be a loopback address, not {address}: \
         without tokens every sender is taken for a service of yours. Add a token, set \
         collector.otlp.client_ca_file or bind to 127.0.0.1"
    )]
    OpenServices {
        /// The flag whose address is at fault.
        flag: &'static str,
        /// The address.
        address: SocketAddr,
    },
    /// The beacon's door would take pages of any site.
    #[error(
        "collector.beacon.origins is empty, so --beacon-listen may only be a loopback address, not \
         {address}: list the exact origins of your pages, such as \"https://shop.example\""
    )]
    OpenBeacon {
        /// The address.
        address: SocketAddr,
    },
}

impl Config {
    /// Checks all that can be checked without opening anything.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_keys()?;
        self.check_tokens()?;
        self.beacon.check()?;
        self.otlp.check()?;
        self.limits.check()?;
        self.records.check().map_err(|problem| invalid("records", problem))?;
        self.proxy.check()?;
        self.geo.check()?;
        self.log.check().map_err(|problem| invalid("log", problem))?;
        Ok(())
    }

    /// Checks the rules that depend on where the doors are bound.
    pub fn check_binds(&self, binds: &Binds) -> Result<(), ConfigError> {
        let services =
            [("--otlp-grpc-listen", binds.otlp_grpc), ("--otlp-http-listen", binds.otlp_http)];
        // Whoever shows a certificate of the operator's authority is a service of theirs.
        let is_open = self.tokens.is_empty() && self.otlp.client_ca_file.is_none();
        for (flag, address) in services {
            if is_open && !address.ip().to_canonical().is_loopback() {
                return Err(ConfigError::OpenServices { flag, address });
            }
        }
        if self.beacon.origins.is_empty() && !binds.beacon.ip().to_canonical().is_loopback() {
            return Err(ConfigError::OpenBeacon { address: binds.beacon });
        }
        Ok(())
    }

    /// Forgets the keys and tokens; what is left of them are their hashes. Whoever has read a
    /// configuration does so before it serves; the role itself does it in any case.
    pub fn seal(&mut self) {
        for key in &mut self.keys {
            key.key = key.key.hashed();
        }
        for token in &mut self.tokens {
            token.token = token.token.hashed();
        }
    }

    fn check_keys(&self) -> Result<(), ConfigError> {
        let mut seen = BTreeSet::new();
        for key in &self.keys {
            for (field, value) in [("id", &key.id), ("app", &key.app), ("service", &key.service)] {
                check_name("keys", field, value)?;
            }
            check_secret("keys", "key", &key.key)?;
            if !seen.insert(key.key.hash()) {
                return Err(invalid(
                    "keys",
                    format!("the key with id {:?} is listed twice", key.id),
                ));
            }
        }
        let owners = self.keys.iter().map(|key| (key.id.as_str(), (&key.app, &key.service)));
        check_rotation("keys", owners)
    }

    fn check_tokens(&self) -> Result<(), ConfigError> {
        let mut seen = BTreeSet::new();
        for token in &self.tokens {
            for (field, value) in [("id", &token.id), ("app", &token.app)] {
                check_name("tokens", field, value)?;
            }
            check_secret("tokens", "token", &token.token)?;
            if !seen.insert(token.token.hash()) {
                return Err(invalid(
                    "tokens",
                    format!("the token with id {:?} is listed twice", token.id),
                ));
            }
        }
        check_rotation("tokens", self.tokens.iter().map(|token| (token.id.as_str(), &token.app)))
    }
}

impl Default for Config {
    fn default() -> Self {
        let local = WriteKey {
            id: String::from("local"),
            key: Secret::from("local"),
            app: default_app(),
            service: default_service(),
        };
        Self {
            keys: vec![local],
            tokens: Vec::new(),
            beacon: BeaconConfig::default(),
            otlp: OtlpConfig::default(),
            limits: LimitsConfig::default(),
            records: Sizes::default(),
            proxy: ProxyConfig::default(),
            geo: GeoConfig::default(),
            log: LogConfig::default(),
        }
    }
}

/// An error at `key`, which is named below `collector`.
pub(crate) fn invalid(key: &str, problem: impl Into<String>) -> ConfigError {
    ConfigError::Invalid { key: String::from(key), problem: problem.into() }
}

/// Ids, keys and names travel in every record: long ones are mistakes, and control characters
/// would break the text formats they end up in.
const NAME_BYTES_MAX: usize = 256;

fn check_name(key: &str, field: &str, value: &str) -> Result<(), ConfigError> {
    if value.is_empty() || value.len() > NAME_BYTES_MAX || value.chars().any(char::is_control) {
        let problem =
            format!("{field} must have 1 to {NAME_BYTES_MAX} bytes and no control characters");
        return Err(invalid(key, problem));
    }
    Ok(())
}

fn check_secret(key: &str, field: &str, secret: &Secret) -> Result<(), ConfigError> {
    if secret.is_mistyped() {
        let problem =
            format!("{field} begins with sha256: and must go on with 64 hexadecimal digits");
        return Err(invalid(key, problem));
    }
    secret.plain().map_or(Ok(()), |text| check_name(key, field, text))
}

/// An id names one owner, and has at most the two secrets that a rotation needs: a third would be one
/// that somebody forgot to take away.
fn check_rotation<'a, O: PartialEq>(
    key: &str,
    all: impl Iterator<Item = (&'a str, O)>,
) -> Result<(), ConfigError> {
    let mut known: BTreeMap<&str, (O, usize)> = BTreeMap::new();
    for (id, owner) in all {
        let Some((first, count)) = known.get_mut(id) else {
            known.insert(id, (owner, 1));
            continue;
        };
        *count += 1;
        if *count > 2 {
            let problem = format!("id {id:?} is listed more than twice; two are enough to rotate");
            return Err(invalid(key, problem));
        }
        if *first != owner {
            let problem = format!("id {id:?} is listed for different owners; ids name rows");
            return Err(invalid(key, problem));
        }
    }
    Ok(())
}

fn default_app() -> String {
    String::from("default")
}

fn default_service() -> String {
    String::from("web")
}

#[cfg(test)]
mod tests;
