//! The configuration, in two stages: what was written (`layers`), and what it means ([`Config`]).
//!
//! Flow: defaults < `ethogram.toml` < `ETHOGRAM_*` < the command's own defaults < flags → typed →
//! checked. `shape` reads the keys off the default, `arguments` makes flags of them, `help` takes
//! their help from `ethogram.example.toml`.
//!
//! It is not a place for policy: each role owns its section and checks it.
//!
//! Invariants:
//! * A key is a field of a struct and nothing else; flag, variable and file key follow from it.
//! * A value that was written is used or is an error; nothing written is ignored.

mod arguments;
mod error;
mod help;
mod layers;
mod shape;

pub(crate) use arguments::{Written, with_arguments};
pub(crate) use error::ConfigError;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Everything that can be set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Where everything is kept.
    pub(crate) data_dir: PathBuf,
    /// The collector's own health, metrics and deletions.
    pub(crate) admin_listen: SocketAddr,
    /// What browsers send to.
    pub(crate) beacon_listen: SocketAddr,
    /// What services send OTLP over gRPC to.
    pub(crate) otlp_grpc_listen: SocketAddr,
    /// What services send OTLP over HTTP to.
    pub(crate) otlp_http_listen: SocketAddr,
    /// The page and the SQL interface.
    pub(crate) query_listen: SocketAddr,
    /// Connections that the kernel keeps for each address until they are accepted.
    pub(crate) listen_queue_max: u32,
    /// Where the bound addresses are written once all listeners serve; `-` is standard output.
    pub(crate) ready_file: Option<PathBuf>,
    /// Which of our messages are written to standard error, in the notation of `EnvFilter`.
    pub(crate) log_level: String,
    /// Our own telemetry.
    pub(crate) telemetry: TelemetryConfig,
    /// The collector role.
    pub(crate) collector: ethogram_collector::Config,
    /// The query role.
    pub(crate) query: ethogram_query::Config,
}

/// Our own telemetry: where to, how often.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TelemetryConfig {
    /// An OTLP/gRPC endpoint; empty means that nothing is exported.
    pub(crate) otlp_endpoint: String,
    /// Seconds between two exports of the metrics.
    pub(crate) interval_s: u64,
}

impl Default for Config {
    fn default() -> Self {
        // Loopback: nothing is open to the network until somebody says so.
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            data_dir: PathBuf::from("data"),
            admin_listen: loopback(4315),
            beacon_listen: loopback(4316),
            // 4317 and 4318 are OTLP's own ports; ours stand around them.
            otlp_grpc_listen: loopback(4317),
            otlp_http_listen: loopback(4318),
            query_listen: loopback(4319),
            // After a restart every client comes back at once; a short queue would turn that into
            // retries of a whole second.
            listen_queue_max: 4096,
            ready_file: None,
            log_level: "info".to_owned(),
            telemetry: TelemetryConfig::default(),
            collector: ethogram_collector::Config::default(),
            query: ethogram_query::Config::default(),
        }
    }
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        // 10 s: a role that dies and comes back shows as a gap, and the cost is one small request.
        Self { otlp_endpoint: String::new(), interval_s: 10 }
    }
}

impl Config {
    /// Checks what no single value can tell. Opens nothing.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let together = |reason: String| ConfigError::Together(reason);
        tracing_subscriber::EnvFilter::try_new(&self.log_level)
            .map_err(|error| together(format!("log_level {:?}: {error}", self.log_level)))?;
        if self.telemetry.interval_s == 0 {
            return Err(together("telemetry.interval_s must be above zero".to_owned()));
        }
        let endpoint = &self.telemetry.otlp_endpoint;
        if !endpoint.is_empty() && !endpoint.starts_with("http://") {
            return Err(together(format!(
                "telemetry.otlp_endpoint is {endpoint:?}; allowed: an endpoint without TLS such as http://127.0.0.1:4317"
            )));
        }
        self.collector.check().map_err(|error| together(error.to_string()))?;
        self.collector.log.check().map_err(|reason| together(format!("collector.log.{reason}")))?;
        self.collector.check_binds(&self.binds()).map_err(|error| together(error.to_string()))
    }

    fn binds(&self) -> ethogram_collector::Binds {
        ethogram_collector::Binds {
            beacon: self.beacon_listen,
            otlp_grpc: self.otlp_grpc_listen,
            otlp_http: self.otlp_http_listen,
        }
    }
}

#[cfg(test)]
mod tests;
