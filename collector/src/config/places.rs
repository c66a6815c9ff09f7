//! What may be set about places: whose word counts for an address, and which file for a place.
//!
//! Invariant: nothing a client sends is believed unless the peer is listed in
//! [`ProxyConfig::trusted`].

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use http::HeaderName;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{ConfigError, invalid};

/// Which peers may speak for somebody else's address.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProxyConfig {
    /// Networks of your own proxies, such as `10.0.0.0/8` or `::1/128`. Empty means that the
    /// peer is the client.
    pub trusted: Vec<String>,
    /// The one header your proxies set: `x-forwarded-for`, `forwarded`, or one of the same form
    /// as the first, such as `cf-connecting-ip`. Only one, since a client could send the other.
    pub client_header: String,
}

/// How an address becomes a place.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct GeoConfig {
    /// MaxMind-format files, asked in order; the first that knows the country answers. A list,
    /// because some vendors publish IPv4 and IPv6 apart. They replace the embedded one. Flat ones name
    /// a subdivision where nested ones have its ISO code, so there it is `US-California` instead of `US-CA`.
    pub databases: Vec<PathBuf>,
    /// Whether the country database inside the binary is used where `databases` is empty.
    pub embedded: bool,
    /// A header in which a trusted proxy states the country, such as `cf-ipcountry`.
    pub country_header: Option<String>,
    /// A header in which a trusted proxy states the subdivision, `QC` or `CA-QC`.
    pub subdivision_header: Option<String>,
    /// Your regions: `"GB" = "emea"`, `"US-CA" = "us-west"`. A subdivision beats its country; a
    /// country that is not listed is its own region.
    pub regions: BTreeMap<String, String>,
}

impl ProxyConfig {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.networks()?;
        check_header("proxy.client_header", &self.client_header)
    }

    /// The trusted networks, parsed. A bare address is a network of one.
    pub(crate) fn networks(&self) -> Result<Vec<IpNet>, ConfigError> {
        let parse = |text: &String| {
            let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            network.map_err(|_| {
                invalid("proxy.trusted", format!("{text:?} is not a network such as 10.0.0.0/8"))
            })
        };
        self.trusted.iter().map(parse).collect()
    }
}

impl GeoConfig {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let headers = [
            ("geo.country_header", &self.country_header),
            ("geo.subdivision_header", &self.subdivision_header),
        ];
        for (key, header) in headers {
            header.iter().try_for_each(|header| check_header(key, header))?;
        }
        for (place, region) in &self.regions {
            let country = place.split('-').next().unwrap_or_default();
            let is_place =
                country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_uppercase());
            if !is_place {
                let problem = format!(
                    "{place:?} is neither a country such as \"GB\" nor a subdivision such as \"US-CA\""
                );
                return Err(invalid("geo.regions", problem));
            }
            if region.is_empty() || region.len() > REGION_BYTES_MAX {
                let problem =
                    format!("the region of {place:?} must have 1 to {REGION_BYTES_MAX} bytes");
                return Err(invalid("geo.regions", problem));
            }
        }
        Ok(())
    }
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self {
            // Whoever connects over loopback is on this machine: a proxy beside the collector, or
            // the demo's world.
            trusted: vec![String::from("127.0.0.0/8"), String::from("::1/128")],
            client_header: String::from("x-forwarded-for"),
        }
    }
}

impl Default for GeoConfig {
    fn default() -> Self {
        Self {
            databases: Vec::new(),
            embedded: true,
            country_header: None,
            subdivision_header: None,
            regions: BTreeMap::new(),
        }
    }
}

/// A region is a grouping column and a metric label: a name, not a sentence.
const REGION_BYTES_MAX: usize = 64;

fn check_header(key: &str, name: &str) -> Result<(), ConfigError> {
    match HeaderName::from_bytes(name.as_bytes()) {
        Ok(_) => Ok(()),
        Err(_) => Err(invalid(key, format!("{name:?} is not a header name"))),
    }
}
