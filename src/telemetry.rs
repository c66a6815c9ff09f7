//! What this program says about itself, as OTLP, to whoever the operator names.
//!
//! Off unless `telemetry.otlp_endpoint` is set. It is not the data: what users and services did
//! goes through the log. Beware of naming our own collector as the endpoint of a busy
//! installation; it works, and its rows stand beside the users'.
//!
//! Invariant: nothing here can fail or delay a role. An endpoint that is away costs dropped
//! batches and a bounded wait at the end.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Meter, MeterProvider};
use opentelemetry::trace::{Span, SpanKind, Tracer, TracerProvider};
use opentelemetry_otlp::{MetricExporter, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::time::Instant;

use crate::config::TelemetryConfig;

/// How long one export may take, and the last flush at the end. A stop must not wait longer for
/// somebody else's collector than for our own clients.
const EXPORT: Duration = Duration::from_secs(3);

/// Clock ticks per second in `/proc`. The kernel's interface fixes it at 100 on every
/// architecture we build for, whatever the kernel's own rate is.
const TICKS_PER_S: f64 = 100.0;

/// Our own traces and metrics, or nothing. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Telemetry(Option<Arc<Exporters>>);

struct Exporters {
    traces: SdkTracerProvider,
    metrics: SdkMeterProvider,
    tracer: SdkTracer,
    up: Gauge<u64>,
    restarts: Counter<u64>,
    began: std::time::SystemTime,
}

impl Telemetry {
    /// Starts exporting as `part` (`supervisor` or a role's name) if there is an endpoint. Needs a
    /// Tokio runtime.
    pub(crate) fn start(config: &TelemetryConfig, part: &'static str) -> anyhow::Result<Self> {
        if config.otlp_endpoint.is_empty() {
            return Ok(Self(None));
        }
        let began = std::time::SystemTime::now();
        let resource = Resource::builder()
            .with_service_name(format!("ethogram-{part}"))
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .with_attribute(KeyValue::new("process.pid", i64::from(std::process::id())))
            .build();
        let traces = traces(config, resource.clone()).context("telemetry.otlp_endpoint: traces")?;
        let metrics = metrics(config, resource).context("telemetry.otlp_endpoint: metrics")?;
        let meter = metrics.meter("ethogram");
        observe_process(&meter);
        let up = meter
            .u64_gauge("ethogram.role.up")
            .with_description("1 while a role serves, else 0")
            .build();
        let restarts = meter
            .u64_counter("ethogram.role.restarts")
            .with_description("starts of a role after its first one")
            .build();
        let tracer = traces.tracer("ethogram");
        Ok(Self(Some(Arc::new(Exporters { traces, metrics, tracer, up, restarts, began }))))
    }

    /// A role of this process serves: its start becomes a span, from our start until now.
    pub(crate) fn role_started(&self, role: &'static str) {
        self.role_up(role);
        if let Some(exporters) = &self.0 {
            exporters
                .tracer
                .span_builder("start")
                .with_kind(SpanKind::Internal)
                .with_start_time(exporters.began)
                .with_attributes([KeyValue::new("ethogram.role", role)])
                .start(&exporters.tracer)
                .end();
        }
    }

    /// A role serves.
    pub(crate) fn role_up(&self, role: &'static str) {
        if let Some(exporters) = &self.0 {
            exporters.up.record(1, &[KeyValue::new("ethogram.role", role)]);
        }
    }

    /// A role ended.
    pub(crate) fn role_down(&self, role: &'static str) {
        if let Some(exporters) = &self.0 {
            exporters.up.record(0, &[KeyValue::new("ethogram.role", role)]);
        }
    }

    /// A role is started again.
    pub(crate) fn role_restarted(&self, role: &'static str) {
        if let Some(exporters) = &self.0 {
            exporters.restarts.add(1, &[KeyValue::new("ethogram.role", role)]);
        }
    }

    /// Exports what is left, within a bound.
    pub(crate) async fn stop(&self) {
        let Some(exporters) = self.0.clone() else { return };
        // The exporters block their thread and need this runtime to go on meanwhile.
        let flush = tokio::task::spawn_blocking(move || {
            let traces = exporters.traces.shutdown_with_timeout(EXPORT);
            let metrics = exporters.metrics.shutdown_with_timeout(EXPORT);
            traces.and(metrics)
        });
        if !matches!(tokio::time::timeout(EXPORT * 2, flush).await, Ok(Ok(Ok(())))) {
            tracing::warn!("the last of our own telemetry could not be exported");
        }
    }
}

fn traces(config: &TelemetryConfig, resource: Resource) -> anyhow::Result<SdkTracerProvider> {
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(&config.otlp_endpoint)
        .with_timeout(EXPORT)
        .build()?;
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}

fn metrics(config: &TelemetryConfig, resource: Resource) -> anyhow::Result<SdkMeterProvider> {
    let exporter = MetricExporter::builder()
        .with_tonic()
        .with_endpoint(&config.otlp_endpoint)
        .with_timeout(EXPORT)
        .build()?;
    let reader = PeriodicReader::builder(exporter)
        .with_interval(Duration::from_secs(config.interval_s))
        .build();
    Ok(SdkMeterProvider::builder().with_reader(reader).with_resource(resource).build())
}

/// What the kernel knows about this process; absent where there is no `/proc`.
fn observe_process(meter: &Meter) {
    let began = Instant::now();
    meter
        .f64_observable_gauge("process.uptime")
        .with_unit("s")
        .with_callback(move |observer| observer.observe(began.elapsed().as_secs_f64(), &[]))
        .build();
    meter
        .u64_observable_gauge("process.memory.usage")
        .with_unit("By")
        .with_callback(|observer| {
            if let Some(bytes) = proc_file("status").as_deref().and_then(memory_bytes) {
                observer.observe(bytes, &[]);
            }
        })
        .build();
    meter
        .f64_observable_counter("process.cpu.time")
        .with_unit("s")
        .with_callback(|observer| {
            if let Some(seconds) = proc_file("stat").as_deref().and_then(cpu_s) {
                observer.observe(seconds, &[]);
            }
        })
        .build();
}

fn proc_file(name: &str) -> Option<String> {
    std::fs::read_to_string(format!("/proc/self/{name}")).ok()
}

/// The resident set in `/proc/self/status`, which gives it in kB.
fn memory_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// User and system time in `/proc/self/stat`: fields 14 and 15. Field 2 is the program's name in
/// parentheses and may hold spaces, so counting begins behind it.
fn cpu_s(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    let user = times.next()?.ok()?;
    let system = times.next()?.ok()?;
    Some((user + system) as f64 / TICKS_PER_S)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_read() {
        assert_eq!(memory_bytes("Name:\tx\nVmRSS:\t   12 kB\n"), Some(12 * 1024));
        assert_eq!(memory_bytes("Name:\tx\n"), None);
        let stat = "7 (a b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 1 0 5";
        assert_eq!(cpu_s(stat), Some(3.0));
        assert_eq!(cpu_s(""), None);
    }

    #[tokio::test]
    async fn without_an_endpoint_it_does_nothing() {
        let telemetry = Telemetry::start(&TelemetryConfig::default(), "query").expect("it is off");
        telemetry.role_started("query");
        telemetry.role_restarted("query");
        telemetry.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_endpoint_that_is_away_delays_the_end_by_a_bounded_time() {
        // Port 1 of loopback refuses at once.
        let config =
            TelemetryConfig { otlp_endpoint: "http://127.0.0.1:1".to_owned(), interval_s: 1 };
        let telemetry = Telemetry::start(&config, "query").expect("it connects lazily");
        telemetry.role_started("query");
        tokio::time::timeout(EXPORT * 3, telemetry.stop()).await.expect("it is bounded");
    }
}
