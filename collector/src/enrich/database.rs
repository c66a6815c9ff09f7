//! One database of places, in MaxMind's format.
//!
//! Two schemas are in the wild: nested (`country.iso_code`, `subdivisions[0].iso_code`) and flat
//! (`country_code`, `state1`). Fields are read by path, one at a time, so that a file whose
//! `country` is a string does not fail as a whole.
//!
//! It is not a cache: a lookup is a walk of at most 128 nodes in memory, below a microsecond.
//!
//! Invariant: a lookup never fails. What a file cannot answer (an IPv6 address in an IPv4 file, a
//! damaged record) it does not know, and the next file is asked.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use maxminddb::{LookupResult, MaxMindDbError, PathElement, Reader};
use thiserror::Error;

use super::{country_code, subdivision_code};

/// The country database inside the binary; `collector/data/README.md` says whence and how good.
static EMBEDDED: &[u8] = include_bytes!("../../data/iptoasn-country.mmdb.zst");

/// The embedded file inflates to 5.2 MB. It is ours, so the limit only guards against a mistake
/// when it is replaced.
const EMBEDDED_BYTES_MAX: usize = 64 << 20;

/// A database that does not open. The operator's to mend: the role does not start without a file
/// it was told to use.
#[derive(Debug, Error)]
pub enum GeoError {
    /// The file is missing, unreadable or not in MaxMind's format.
    #[error("collector.geo.databases: {path}: {source}", path = .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the reader says.
        source: MaxMindDbError,
    },
    /// The embedded database does not inflate: the binary is damaged.
    #[error("the embedded country database does not inflate: {0}")]
    Inflate(std::io::Error),
    /// The embedded database is not in MaxMind's format: the binary is damaged.
    #[error("the embedded country database: {0}")]
    Embedded(MaxMindDbError),
}

/// What a database knows of an address.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) country: String,
    pub(super) subdivision: Option<String>,
}

/// An open database.
pub(super) struct Database {
    reader: Reader<Vec<u8>>,
    source: Arc<str>,
}

impl Database {
    /// Opens the file at `path` and holds it in memory, so that replacing it on disk cannot
    /// change what the running role answers.
    pub(super) fn open(path: &Path) -> Result<Self, GeoError> {
        let reader = Reader::open_readfile(path)
            .map_err(|source| GeoError::Open { path: path.to_path_buf(), source })?;
        let name = reader.metadata().database_type.clone();
        Ok(Self::named(reader, &name))
    }

    /// The database inside the binary.
    pub(super) fn embedded() -> Result<Self, GeoError> {
        let bytes =
            zstd::bulk::decompress(EMBEDDED, EMBEDDED_BYTES_MAX).map_err(GeoError::Inflate)?;
        let reader = Reader::from_source(bytes).map_err(GeoError::Embedded)?;
        Ok(Self::named(reader, "iptoasn-country (embedded)"))
    }

    fn named(reader: Reader<Vec<u8>>, name: &str) -> Self {
        let source = Arc::from(format!("{name} {}", day_of(reader.metadata().build_epoch)));
        Self { reader, source }
    }

    /// The name of the database and the day it was built.
    pub(super) fn source(&self) -> &Arc<str> {
        &self.source
    }

    /// What the file knows of `address`; `None` where it does not know the country.
    pub(super) fn find(&self, address: IpAddr) -> Option<Found> {
        if address.is_ipv6() && self.reader.metadata().ip_version == 4 {
            return None;
        }
        let result = self.reader.lookup(address).ok()?;
        let nested = text(&result, &[PathElement::Key("country"), PathElement::Key("iso_code")]);
        let country = nested.or_else(|| text(&result, &[PathElement::Key("country_code")]));
        let country = country_code(country?)?;
        let nested =
            [PathElement::Key("subdivisions"), PathElement::Index(0), PathElement::Key("iso_code")];
        let subdivision =
            text(&result, &nested).or_else(|| text(&result, &[PathElement::Key("state1")]));
        let subdivision = subdivision.and_then(|code| subdivision_code(&country, code));
        Some(Found { country, subdivision })
    }
}

fn text<'a>(result: &LookupResult<'a, Vec<u8>>, path: &[PathElement<'_>]) -> Option<&'a str> {
    result.decode_path(path).ok().flatten()
}

/// The day of `epoch_s`, as `2026-06-17`. Days are counted from 1 March of year 0, where leap days
/// come last and need no special case (Howard Hinnant's `civil_from_days`).
fn day_of(epoch_s: u64) -> String {
    let days = epoch_s / 86_400 + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days() {
        for (epoch_s, expected) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_735_689_599, "2024-12-31"),
            (1_781_654_400, "2026-06-17"),
        ] {
            assert_eq!(day_of(epoch_s), expected);
        }
    }
}
