//! Log records with an event name → rows of `events`.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::LogRecord;

use super::admit::EVENT_NAME_BYTES_MAX;
use super::hints;
use super::names::{Known, Name};
use super::route;
use super::sender::{Labels, Sender, attributes};
use super::value::{self, cut};
use crate::record::Envelope;
use crate::schema::{Event, EventRow, SpanId, TraceId};

/// The rows of a request that has been admitted.
pub(super) fn rows(
    request: &ExportLogsServiceRequest,
    envelope: &Envelope,
    labels: &Labels,
) -> Vec<Event> {
    let mut rows = Vec::new();
    for resource in &request.resource_logs {
        let sender = Sender::new(envelope, resource.resource.as_ref(), labels);
        for record in resource.scope_logs.iter().flat_map(|scope| &scope.log_records) {
            rows.extend(row(record, &sender));
        }
    }
    rows
}

/// The row of one record; `None` where it has no event name, which admission has refused before.
fn row(record: &LogRecord, sender: &Sender<'_>) -> Option<Event> {
    let known = Known::of(&record.attributes);
    let said = known.text(Name::Event);
    let name = if record.event_name.is_empty() { said.as_deref()? } else { &record.event_name };
    let sent_time = match record.time_unix_nano {
        0 => record.observed_time_unix_nano,
        time => time,
    };
    let time_client = sender.client_time(sent_time);
    let [country, subdivision, region] = sender.place(&known);
    let body = record.body.as_ref().filter(|body| body.value.is_some());
    let row = EventRow {
        time: sender.time(time_client),
        time_client,
        time_received: sender.received,
        app: sender.app.clone(),
        environment: sender.environment.clone(),
        service: sender.service.clone(),
        service_version: sender.service_version.clone(),
        event_name: sender.labels.get(cut(name, EVENT_NAME_BYTES_MAX)),
        layer: sender.layer.clone(),
        session_id: sender.session(&known),
        user_id: sender.user(&known),
        country,
        subdivision,
        region,
        cloud_region: sender.cloud_region.clone(),
        synthetic: sender.synthetic(&known),
        verified: sender.verified,
        sample_weight: 1.0,
        trace_id: TraceId::from_bytes(&record.trace_id),
        span_id: SpanId::from_bytes(&record.span_id),
        page_id: sender.page(&known),
        tab_id: sender.tab(&known),
        sequence: known.integer(Name::Sequence),
        value: known.number(Name::EventValue),
        body: body.map(|body| value::text(body).into_owned()),
        attributes: attributes(&record.attributes),
        resource: sender.resource.clone(),
        route: sender.labels.or_unknown(route::of(&known).map(Into::into)),
    };
    Some(Event { row, hints: hints::of_event(&known, sender) })
}
