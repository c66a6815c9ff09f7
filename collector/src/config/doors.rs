//! What may be set about the doors, and the limits that hold for all of them.
//!
//! It is not policy about places (see the sibling module) nor about the log.
//!
//! Invariant: every limit is above zero; zero never means "none".

use std::path::PathBuf;

use ethogram_timeline::record::BODY_BYTES_MAX;
use serde::{Deserialize, Serialize};

use super::{ConfigError, TlsConfig, invalid};
use crate::beacon::script::kept::is_versioned;
use crate::beacon::script::{DEFAULT_PATH, is_taken};

/// The beacon's door: public, write-only, made for bodies of a few kilobytes.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BeaconConfig {
    /// Where browsers post. The default is no name that lists of ad blockers know, as `beacon` is;
    /// a path of the site's own, behind its proxy, is the robust set-up.
    pub path: String,
    /// Where bodies are taken as well: a path that has come onto a list is left in steps, while
    /// pages that are cached still post there.
    pub paths_also: Vec<String>,
    /// Where pages load the script. Its versioned name, which may be cached for ever and pinned by
    /// `integrity`, stands beside it: `/ethogram.js` gives `/ethogram-<version>.<hash>.js`.
    pub script_path: String,
    /// By what short-lived names it is known as well, for the same reason.
    pub script_paths_also: Vec<String>,
    /// Scripts of earlier versions that stay under their names: they are in the data directory's
    /// `scripts`, where each version leaves its own. A version has two, of 170 KiB with their
    /// maps each, so 64 are 32 versions and 11 MiB; at the limit the first that came go.
    pub scripts_kept_max: usize,
    /// Exact origins whose pages may send, such as `https://shop.example`. Empty means any, which
    /// is allowed on a loopback address only.
    pub origins: Vec<String>,
    /// Share of sessions whose pages tell a timeline, 0 to 1, told to pages with every answer; the
    /// others send counts only. 0 switches timelines off, also of running sessions. Without it
    /// each page's own share holds.
    pub sample_ratio: Option<f64>,
    /// Bytes of one body on the wire. 64 KiB is what browsers let a page have in flight at
    /// unload, so an honest beacon is never larger.
    pub wire_bytes_max: usize,
    /// Bytes of one body after inflation. Telemetry deflates about ten times; 1 MiB leaves
    /// room for sixteen and stops a bomb early.
    pub inflated_bytes_max: usize,
    /// Bodies per second from one /24 or /56 network, sustained. An office of ten thousand open
    /// pages behind one address sends about a thousand. Loopback clients are exempt.
    pub prefix_bodies_per_second: u32,
    /// Bodies from one network at once: ten seconds' worth, since a recovering network releases
    /// what its clients had queued.
    pub prefix_burst: u32,
    /// Networks remembered for the quota. One costs about 64 bytes, so all cost about 4 MiB; at
    /// the limit idle ones are forgotten, and if none is idle a new network is refused as
    /// `quota`.
    pub prefixes_max: usize,
    /// Bodies per second of one write key, sustained: ten times a network's. It keeps one
    /// application from using up the collector of all. Loopback clients are exempt.
    pub key_bodies_per_second: u32,
    /// Bodies of one write key at once: ten seconds' worth.
    pub key_burst: u32,
    /// Records (spans and events) per second of one session, sustained. A page in a retry storm
    /// makes about ten. Loopback clients are exempt.
    pub session_records_per_second: u32,
    /// Records of one session at once: a minute's worth, which a page offline for ten had queued.
    pub session_burst: u32,
    /// Sessions remembered for the quota. One costs about 32 bytes, so all cost about 8 MiB; at
    /// the limit idle ones are forgotten, and if none is idle a new session has no quota of its own.
    pub sessions_max: usize,
    /// The door's certificate. Browsers on `https` pages send to `https` only.
    pub tls: TlsConfig,
}

/// The OTLP doors: authenticated services, bodies of any honest size.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct OtlpConfig {
    /// Bytes of one body, on the wire and again after inflation. OTLP recommends 64 MiB, and it
    /// can be no more.
    pub body_bytes_max: usize,
    /// Origins whose pages may use OTLP/HTTP directly; `https://*.example.com` matches one or
    /// more labels. Empty switches CORS off, as OTLP's default is.
    pub cors_origins: Vec<String>,
    /// Bodies per second of one token, sustained: a fleet of a thousand services that export every
    /// five seconds sends two hundred. Beyond it: 429.
    pub token_bodies_per_second: u32,
    /// Bodies of one token at once: ten seconds' worth.
    pub token_burst: u32,
    /// Names of query parameters that stay, of services' spans, as `url.query`: those that say what was
    /// asked for and not by whom, such as `page`. Of all others a checksum of 12 bits stays at most.
    pub query_parameters: Vec<String>,
    /// The certificate of both OTLP doors.
    pub tls: TlsConfig,
    /// PEM file of the authorities whose certificates services must show. It needs `tls`. Tokens, where
    /// there are any, are asked for as well.
    pub client_ca_file: Option<PathBuf>,
}

/// Limits that hold for all doors.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Bytes of bodies between arrival and answer: wire, inflated and decoded bytes together.
    /// 256 MiB is the largest body in all its forms, or a thousand beacons. Beyond it: 503.
    pub in_flight_bytes_max: usize,
    /// Milliseconds after which a larger body is no more decoded: as many are at once as there are
    /// processors. With the work itself and two commits after it an acknowledgement stays below a quarter
    /// of a second. Beyond it: 503, at once where it can be foreseen, else when its turn comes.
    pub decode_wait_ms: u64,
    /// Records (spans, log records or data points) of one request, and as many resources, scopes
    /// and metrics. SDKs send batches of 512 and collectors of 8,192; 65,536 is eight of those, and
    /// what makes a bomb of empty spans end after 128 KiB. Beyond it: 400.
    pub records_max: u64,
    /// Estimated bytes of one request's structs. A usual span is 1.5 KiB of them, so 128 MiB is more
    /// than `records_max` usual spans. Beyond it: 413.
    pub decoded_bytes_max: u64,
    /// Connections per listener. A connection costs about 20 KiB, so 4,096 cost 80 MiB. Beyond
    /// it a new connection is closed at once and counted.
    pub connections_max: usize,
    /// Connections of one client address (of IPv6, one /64) per listener. Browsers open six at most
    /// and exporters one; 64 leaves room for a few behind one address. Networks in `proxy.trusted`
    /// are exempt, which by default are those of loopback. Beyond it: as above.
    pub connections_per_address_max: usize,
    /// Concurrent HTTP/2 streams per connection: OTLP exporters use fewer than ten.
    pub streams_max: u32,
    /// Bytes of one request's head, of HTTP/1 at least 8 KiB. A traceparent, a token and cookies fit ten
    /// times over. Beyond it: 431.
    pub head_bytes_max: u32,
    /// Requests that a client may break off whatever else it does: its user left, or its deadline passed
    /// while the disk was in trouble. Beyond it, it must have let twice as many be answered, else its
    /// connection is ended and counted.
    pub broken_off_max: u64,
    /// HTTP/2 streams that a client reset before they were looked at. Honest ones reset what they have
    /// waited for, so hardly any; a proxy that many share may more. Beyond it the connection is closed.
    pub resets_unseen_max: usize,
    /// HTTP/2 streams that the collector reset since the client broke the protocol on them. Beyond it the
    /// connection is closed.
    pub resets_by_error_max: usize,
    /// Seconds a new connection has to shake hands and to send its first whole request head. Longer ones
    /// are slow-loris; 10 s covers bad mobile networks.
    pub first_request_s: u64,
    /// Seconds a connection may be without a request, and the interval of HTTP/2 pings. Metrics exporters
    /// send every 60 s, so below that each export would pay for a new connection.
    pub idle_s: u64,
    /// Seconds a connection may live, a tenth more or less: what it has begun by then is answered, and
    /// the next request comes over a new one, to whichever machine a balancer then chooses.
    pub connection_age_s: u64,
    /// Seconds one body may take. 64 KiB in 15 s is 4 KiB/s, slower than any network that
    /// could load the page.
    pub body_s: u64,
    /// Bytes per second that a body must have come at, at any moment after `body_grace_s`. 1 KiB/s is
    /// a bad day of a mobile network; one byte a second is no network at all.
    pub body_bytes_per_second_min: u64,
    /// Seconds a body may take whatever its rate: a lost packet or two, and the seconds in which a
    /// phone changes its cell.
    pub body_grace_s: u64,
    /// Seconds an answer waits for the disk. A commit takes milliseconds; after 5 s the disk is
    /// in trouble and the sender, who will retry, should know.
    pub commit_s: u64,
    /// Seconds the role waits for requests in flight when it is asked to stop. Supervisors
    /// commonly kill after 30 s.
    pub drain_s: u64,
}

impl BeaconConfig {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        check_path("beacon.path", &self.path)?;
        self.paths_also.iter().try_for_each(|path| check_path("beacon.paths_also", path))?;
        check_script_path("beacon.script_path", &self.script_path)?;
        let also = &self.script_paths_also;
        also.iter().try_for_each(|path| check_script_path("beacon.script_paths_also", path))?;
        check_apart("beacon.path", &self.path, self)?;
        let paths = &self.paths_also;
        paths.iter().try_for_each(|path| check_apart("beacon.paths_also", path, self))?;
        above_zero("beacon.scripts_kept_max", self.scripts_kept_max as u64)?;
        for origin in &self.origins {
            check_origin("beacon.origins", origin, false)?;
        }
        if !self.sample_ratio.is_none_or(|ratio| (0.0..=1.0).contains(&ratio)) {
            return Err(invalid("beacon.sample_ratio", "must be from 0 to 1"));
        }
        above_zero("beacon.wire_bytes_max", self.wire_bytes_max as u64)?;
        above_zero("beacon.inflated_bytes_max", self.inflated_bytes_max as u64)?;
        above_zero("beacon.prefix_bodies_per_second", u64::from(self.prefix_bodies_per_second))?;
        above_zero("beacon.prefix_burst", u64::from(self.prefix_burst))?;
        above_zero("beacon.prefixes_max", self.prefixes_max as u64)?;
        above_zero("beacon.key_bodies_per_second", u64::from(self.key_bodies_per_second))?;
        above_zero("beacon.key_burst", u64::from(self.key_burst))?;
        above_zero(
            "beacon.session_records_per_second",
            u64::from(self.session_records_per_second),
        )?;
        above_zero("beacon.session_burst", u64::from(self.session_burst))?;
        above_zero("beacon.sessions_max", self.sessions_max as u64)?;
        self.tls.check("beacon.tls")
    }
}

impl OtlpConfig {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        for origin in &self.cors_origins {
            check_origin("otlp.cors_origins", origin, true)?;
        }
        above_zero("otlp.body_bytes_max", self.body_bytes_max as u64)?;
        if self.body_bytes_max > BODY_BYTES_MAX {
            let problem =
                format!("must be at most {BODY_BYTES_MAX}: a larger record is not read again");
            return Err(invalid("otlp.body_bytes_max", problem));
        }
        above_zero("otlp.token_bodies_per_second", u64::from(self.token_bodies_per_second))?;
        above_zero("otlp.token_burst", u64::from(self.token_burst))?;
        self.tls.check("otlp.tls")?;
        if self.client_ca_file.is_some() && self.tls.files().is_none() {
            let problem = "certificates are shown over TLS, so otlp.tls needs its two files";
            return Err(invalid("otlp.client_ca_file", problem));
        }
        Ok(())
    }
}

impl LimitsConfig {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        above_zero("limits.in_flight_bytes_max", self.in_flight_bytes_max as u64)?;
        above_zero("limits.decode_wait_ms", self.decode_wait_ms)?;
        above_zero("limits.records_max", self.records_max)?;
        above_zero("limits.decoded_bytes_max", self.decoded_bytes_max)?;
        above_zero("limits.connections_max", self.connections_max as u64)?;
        above_zero("limits.connections_per_address_max", self.connections_per_address_max as u64)?;
        above_zero("limits.streams_max", u64::from(self.streams_max))?;
        if self.head_bytes_max < HEAD_BYTES_MIN {
            let problem = format!("must be at least {HEAD_BYTES_MIN}: so much is read at once");
            return Err(invalid("limits.head_bytes_max", problem));
        }
        above_zero("limits.broken_off_max", self.broken_off_max)?;
        above_zero("limits.resets_unseen_max", self.resets_unseen_max as u64)?;
        above_zero("limits.resets_by_error_max", self.resets_by_error_max as u64)?;
        above_zero("limits.first_request_s", self.first_request_s)?;
        above_zero("limits.idle_s", self.idle_s)?;
        above_zero("limits.connection_age_s", self.connection_age_s)?;
        above_zero("limits.body_s", self.body_s)?;
        above_zero("limits.body_bytes_per_second_min", self.body_bytes_per_second_min)?;
        above_zero("limits.body_grace_s", self.body_grace_s)?;
        above_zero("limits.commit_s", self.commit_s)?;
        above_zero("limits.drain_s", self.drain_s)
    }
}

impl Default for BeaconConfig {
    fn default() -> Self {
        Self {
            path: String::from(DEFAULT_PATH),
            paths_also: vec![String::from("/v1/beacon")],
            script_path: String::from("/ethogram.js"),
            script_paths_also: vec![String::from("/beacon.js")],
            scripts_kept_max: 64,
            origins: Vec::new(),
            sample_ratio: None,
            wire_bytes_max: 64 << 10,
            inflated_bytes_max: 1 << 20,
            prefix_bodies_per_second: 1_000,
            prefix_burst: 10_000,
            prefixes_max: 65_536,
            key_bodies_per_second: 10_000,
            key_burst: 100_000,
            session_records_per_second: 50,
            session_burst: 3_000,
            sessions_max: 262_144,
            tls: TlsConfig::default(),
        }
    }
}

impl Default for OtlpConfig {
    fn default() -> Self {
        Self {
            body_bytes_max: 64 << 20,
            cors_origins: Vec::new(),
            token_bodies_per_second: 10_000,
            token_burst: 100_000,
            query_parameters: Vec::new(),
            tls: TlsConfig::default(),
            client_ca_file: None,
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            in_flight_bytes_max: 256 << 20,
            decode_wait_ms: 100,
            records_max: 65_536,
            decoded_bytes_max: 128 << 20,
            connections_max: 4_096,
            connections_per_address_max: 64,
            streams_max: 100,
            head_bytes_max: 64 << 10,
            broken_off_max: 100,
            resets_unseen_max: 20,
            resets_by_error_max: 100,
            first_request_s: 10,
            idle_s: 75,
            connection_age_s: 600,
            body_s: 15,
            body_bytes_per_second_min: 1 << 10,
            body_grace_s: 5,
            commit_s: 5,
            drain_s: 10,
        }
    }
}

/// The least that a head may have: the HTTP library reads so much of HTTP/1 at once.
const HEAD_BYTES_MIN: u32 = 8 << 10;

fn above_zero(key: &str, value: u64) -> Result<(), ConfigError> {
    if value == 0 { Err(invalid(key, "must be above zero")) } else { Ok(()) }
}

fn check_path(key: &str, path: &str) -> Result<(), ConfigError> {
    let is_plain = path.starts_with('/')
        && path.len() > 1
        && path.chars().all(|c| c.is_ascii_alphanumeric() || "/-_.~".contains(c));
    if is_plain {
        return Ok(());
    }
    Err(invalid(
        key,
        format!("{path:?} must start with / and hold letters, digits and - _ . ~ only"),
    ))
}

fn check_script_path(key: &str, path: &str) -> Result<(), ConfigError> {
    check_path(key, path)?;
    if !path.ends_with(".js") || path.ends_with("/.js") {
        return Err(invalid(key, "must end in a name and .js"));
    }
    if is_versioned(path) {
        let problem = "names a version, and would answer with another; keep it in data_dir/scripts";
        return Err(invalid(key, problem));
    }
    Ok(())
}

fn check_apart(key: &str, path: &str, config: &BeaconConfig) -> Result<(), ConfigError> {
    if is_taken(config, path) {
        let problem = format!("{path:?} is a script's; bodies need a path of their own");
        return Err(invalid(key, problem));
    }
    Ok(())
}

/// An origin is a scheme, a host and perhaps a port, never a path: browsers send it that way, and
/// a trailing slash would match nothing for ever.
fn check_origin(key: &str, origin: &str, pattern: bool) -> Result<(), ConfigError> {
    let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    let is_right = host.is_some_and(|host| {
        let host = if pattern { host.strip_prefix("*.").unwrap_or(host) } else { host };
        !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || ".-_:[]".contains(c))
    });
    if is_right {
        return Ok(());
    }
    let kinds = if pattern { " or \"https://*.example.com\"" } else { "" };
    Err(invalid(
        key,
        format!("{origin:?} is not an origin such as \"https://shop.example\"{kinds}"),
    ))
}
