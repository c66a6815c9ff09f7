//! OTLP over gRPC, one request on one connection.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use tonic::metadata::MetadataMap;

/// What is sent.
pub enum Export {
    Traces(ExportTraceServiceRequest),
    Logs(ExportLogsServiceRequest),
    Metrics(ExportMetricsServiceRequest),
}

/// Sends it with these headers; panics unless it is acknowledged.
pub fn export(address: &str, what: Export, headers: &[(&'static str, &str)]) {
    let mut metadata = MetadataMap::new();
    for (name, value) in headers {
        metadata.insert(*name, value.parse().expect("a header's value"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.expect("a runtime").block_on(async {
        let address = format!("http://{address}");
        match what {
            Export::Traces(message) => {
                let mut client = TraceServiceClient::connect(address).await.expect("it listens");
                client.export(with(&metadata, message)).await.map(drop)
            }
            Export::Logs(message) => {
                let mut client = LogsServiceClient::connect(address).await.expect("it listens");
                client.export(with(&metadata, message)).await.map(drop)
            }
            Export::Metrics(message) => {
                let mut client = MetricsServiceClient::connect(address).await.expect("it listens");
                client.export(with(&metadata, message)).await.map(drop)
            }
        }
    });
    result.expect("it is acknowledged");
}

fn with<T>(metadata: &MetadataMap, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().clone_from(metadata);
    request
}
