//! The place of a sender: country, subdivision and the operator's region.
//!
//! Flow: `forwarded` (whose address is it) → a trusted proxy's header or `database` (where is
//! it) → the operator's regions (what is it called).
//!
//! It is not geolocation of people: nothing finer than a subdivision is read, and the address
//! itself goes no further than this module and the scrubber that cuts it.
//!
//! Invariants:
//! * What is not known is `unknown`, never empty.
//! * `region` is a function of country and subdivision alone, so it does not change when a finer
//!   database is loaded, unless the operator maps subdivisions.

mod database;
mod forwarded;

pub use database::GeoError;
pub(crate) use forwarded::Proxies;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};

use crate::config::GeoConfig;
use database::{Database, Found};

/// What is not known, in every column of place.
pub(crate) const UNKNOWN: &str = "unknown";

/// Where a sender is, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// ISO 3166-1 alpha-2, or `unknown`.
    pub(crate) country: String,
    /// ISO 3166-2 with its country prefix, or `unknown`.
    pub(crate) subdivision: String,
    /// The operator's region, by default the country, or `unknown`.
    pub(crate) region: String,
    /// The database (with its day) or `header`, or empty.
    pub(crate) source: Arc<str>,
}

/// Turns addresses into places.
pub(crate) struct Geo {
    databases: Vec<Database>,
    country_header: Option<HeaderName>,
    subdivision_header: Option<HeaderName>,
    regions: BTreeMap<String, String>,
    header_source: Arc<str>,
    no_source: Arc<str>,
}

impl Geo {
    /// Opens the databases; a file that does not open is the operator's to mend.
    pub(crate) fn open(config: &GeoConfig) -> Result<Self, GeoError> {
        let databases = match (config.databases.is_empty(), config.embedded) {
            (false, _) => config
                .databases
                .iter()
                .map(|path| Database::open(path))
                .collect::<Result<_, _>>()?,
            (true, true) => vec![Database::embedded()?],
            (true, false) => Vec::new(),
        };
        let header = |name: &Option<String>| name.as_ref().and_then(|name| name.parse().ok());
        Ok(Self {
            databases,
            country_header: header(&config.country_header),
            subdivision_header: header(&config.subdivision_header),
            regions: config.regions.clone(),
            header_source: Arc::from("header"),
            no_source: Arc::from(""),
        })
    }

    /// The place of `client`. `headers` are given only where a trusted proxy sent them.
    pub(crate) fn place(&self, client: Option<IpAddr>, headers: Option<&HeaderMap>) -> Place {
        if let Some(place) = headers.and_then(|headers| self.stated(headers)) {
            return place;
        }
        client.and_then(|client| self.lookup(client)).unwrap_or_else(|| self.nowhere())
    }

    /// The place of an address by the databases, or `None` where none knows its country.
    pub(crate) fn lookup(&self, address: IpAddr) -> Option<Place> {
        let address = address.to_canonical();
        self.databases.iter().find_map(|database| {
            let found = database.find(address)?;
            Some(self.named(found, database.source()))
        })
    }

    /// The place of an address as text, as in an attribute of a span.
    pub(crate) fn lookup_text(&self, address: &str) -> Option<Place> {
        forwarded::address_of(address).and_then(|address| self.lookup(address))
    }

    /// The databases in use, each with the day it was built.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &str> {
        self.databases.iter().map(|database| &**database.source())
    }

    fn stated(&self, headers: &HeaderMap) -> Option<Place> {
        let text = |name: &Option<HeaderName>| {
            name.as_ref().and_then(|name| headers.get(name)).and_then(|value| value.to_str().ok())
        };
        let country = country_code(text(&self.country_header)?)?;
        let subdivision =
            text(&self.subdivision_header).and_then(|code| subdivision_code(&country, code));
        Some(self.named(Found { country, subdivision }, &self.header_source))
    }

    fn named(&self, found: Found, source: &Arc<str>) -> Place {
        let mapped =
            found.subdivision.as_ref().and_then(|subdivision| self.regions.get(subdivision));
        let region =
            mapped.or_else(|| self.regions.get(&found.country)).unwrap_or(&found.country).clone();
        Place {
            country: found.country,
            subdivision: found.subdivision.unwrap_or_else(|| String::from(UNKNOWN)),
            region,
            source: Arc::clone(source),
        }
    }

    fn nowhere(&self) -> Place {
        let unknown = || String::from(UNKNOWN);
        Place {
            country: unknown(),
            subdivision: unknown(),
            region: unknown(),
            source: Arc::clone(&self.no_source),
        }
    }
}

/// The country code in `text`, upper case; `None` for what edges write when they do not know
/// (`XX`), for Tor (`T1`) and for anything that is not a code.
fn country_code(text: &str) -> Option<String> {
    let text = text.trim();
    let is_code = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphabetic());
    (is_code && !text.eq_ignore_ascii_case("XX") && !text.eq_ignore_ascii_case("ZZ"))
        .then(|| text.to_ascii_uppercase())
}

/// ISO 3166-2 of a subdivision: databases say `QC`, some edges say `CA-QC`, the column says
/// `CA-QC`. Flat databases give a name instead of a code; it is kept behind the prefix, since
/// `GB-England` still groups and can still be mapped.
fn subdivision_code(country: &str, text: &str) -> Option<String> {
    let text = text.trim();
    let own = text.strip_prefix(country).and_then(|rest| rest.strip_prefix('-')).unwrap_or(text);
    let is_fit =
        !own.is_empty() && own.len() <= SUBDIVISION_BYTES_MAX && !own.chars().any(char::is_control);
    is_fit.then(|| format!("{country}-{own}"))
}

/// The longest subdivision name in use is about 60 bytes; a header may hold anything.
const SUBDIVISION_BYTES_MAX: usize = 80;

#[cfg(test)]
mod tests;
