//! Whose records a beacon's body holds.
//!
//! It is not the join's session, which may be learnt through a trace: it is what the page states.

use std::borrow::Cow;

use opentelemetry_proto::tonic::resource::v1::Resource;

use crate::decode::json::BeaconBody;
use crate::decode::names::{Known, Name};

/// The sessions that the body's resources state, each with the number of its records; a session
/// comes as often as there are resources of it.
pub fn sessions(body: &BeaconBody) -> impl Iterator<Item = (Cow<'_, str>, u64)> {
    let spans = body.traces.resource_spans.iter().map(|group| {
        let count = group.scope_spans.iter().map(|scope| scope.spans.len() as u64).sum();
        (group.resource.as_ref(), count)
    });
    let records = body.logs.resource_logs.iter().map(|group| {
        let count = group.scope_logs.iter().map(|scope| scope.log_records.len() as u64).sum();
        (group.resource.as_ref(), count)
    });
    spans.chain(records).filter_map(|(resource, count)| Some((stated(resource?)?, count)))
}

fn stated(resource: &Resource) -> Option<Cow<'_, str>> {
    Known::of(&resource.attributes).text(Name::SessionId)
}
