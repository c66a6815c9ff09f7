//! The one table of names: what a column is called on the wire, today and in older conventions.
//!
//! Rows keep every attribute under the name it was sent with; only columns are found through this
//! table. Where a sender gives two names of one thing, the first in the table wins.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};

use super::value;

/// Writes the enum of known things and the table of their names.
macro_rules! names {
    ( $( $(#[doc = $doc:literal])* $name:ident: $( $wire:literal ),+ ; )+ ) => {
        /// A thing that rows want to know, whatever it is called on the wire.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Name { $( $(#[doc = $doc])* $name, )+ }

        /// How many there are.
        const NAMES: usize = [ $( Name::$name, )+ ].len();

        /// Every wire name, in order of preference for each thing.
        const TABLE: &[(Name, &[&str])] = &[ $( (Name::$name, &[ $( $wire ),+ ]), )+ ];
    };
}

names! {
    // Who and where from.
    Service: "service.name";
    ServiceVersion: "service.version";
    Environment: "deployment.environment.name", "deployment.environment";
    CloudRegion: "cloud.region";
    SdkLanguage: "telemetry.sdk.language";
    /// The second is an older name of Faro's.
    SessionId: "session.id", "session_id";
    /// HyperDX's and Splunk's, on the resource or the span.
    RumSessionId: "rum.sessionId", "splunk.rumSessionId";
    /// A member of propagated baggage, as Datadog's tracers tag it.
    BaggageSessionId: "baggage.session.id";
    /// The header as it came, where a server captures it.
    Baggage: "http.request.header.baggage";
    PreviousSessionId: "session.previous_id";
    UserId: "user.id", "enduser.id";
    PageId: "behavior.page_id";
    PreviousPageId: "behavior.previous_page_id";
    /// Splunk's name is per tab and survives a reload as ours does.
    TabId: "behavior.tab_id", "browser.instance.id";
    Sequence: "behavior.sequence";
    SentAt: "behavior.sent_at";
    Country: "geo.country.iso_code";
    Subdivision: "geo.region.iso_code";
    Region: "behavior.region";
    UserAgent: "user_agent.original", "http.user_agent";
    ClientAddress: "client.address", "http.client_ip";
    Synthetic: "user_agent.synthetic.type";

    // What was asked of whom.
    Method: "http.request.method", "http.method";
    StatusCode: "http.response.status_code", "http.status_code";
    ErrorType: "error.type";
    /// An answer whose status the page may not see: of `no-cors`, or a redirect it follows by itself.
    Opaque: "behavior.opaque";
    Route: "http.route";
    UrlTemplate: "url.template";
    UrlPath: "url.path", "http.target";
    UrlFull: "url.full", "http.url";
    UrlQuery: "url.query";
    /// What scrubbing left of a call's query.
    QueryTag: "behavior.query_tag";
    ServicePeer: "service.peer.name", "peer.service";
    ServerAddress: "server.address", "net.peer.name", "http.host";
    ServerPort: "server.port", "net.peer.port";
    DbSystem: "db.system.name", "db.system";
    DbNamespace: "db.namespace", "db.name";
    DbSummary: "db.query.summary";
    DbStatement: "db.query.text", "db.statement";
    DbOperation: "db.operation.name", "db.operation";
    DbCollection: "db.collection.name", "db.sql.table", "db.mongodb.collection";
    Destination: "messaging.destination.name", "messaging.destination";
    RpcService: "rpc.service";
    RpcMethod: "rpc.method";
    RpcStatus: "rpc.response.status_code", "rpc.status_code", "rpc.grpc.status_code",
        "rpc.connect_rpc.error_code";

    // Attempts and intents. Older conventions wrote a header's `-` as `_`.
    ResendCount: "http.request.resend_count", "http.resend_count";
    GrpcPreviousAttempts: "rpc.request.metadata.grpc-previous-rpc-attempts",
        "rpc.grpc.request.metadata.grpc-previous-rpc-attempts",
        "rpc.grpc.request.metadata.grpc_previous_rpc_attempts",
        "http.request.header.grpc-previous-rpc-attempts",
        "http.request.header.grpc_previous_rpc_attempts";
    EnvoyAttempt: "http.request.header.x-envoy-attempt-count",
        "http.request.header.x_envoy_attempt_count",
        "rpc.request.metadata.x-envoy-attempt-count",
        "rpc.grpc.request.metadata.x-envoy-attempt-count",
        "rpc.grpc.request.metadata.x_envoy_attempt_count";
    IdempotencyKey: "http.request.header.idempotency-key", "http.request.header.idempotency_key",
        "http.request.header.x-idempotency-key", "rpc.request.metadata.idempotency-key",
        "rpc.grpc.request.metadata.idempotency-key";
    Attempt: "behavior.attempt";
    AttemptKind: "behavior.attempt_kind";
    IntentId: "behavior.intent_id";
    Repeat: "behavior.repeat";
    RepeatCause: "behavior.repeat_cause";

    // Events.
    Event: "event.name", "otel.event.name";
    AbandonTarget: "behavior.abandon_target";
    AbandonTrigger: "behavior.abandon_trigger";
    WaitedUs: "behavior.waited_us";
    TotalWaitedUs: "behavior.total_waited_us";
    NavigationType: "browser.navigation.type";
    Visibility: "browser.document.visibility";
    /// An event's one number.
    EventValue: "browser.web_vital.value", "value", "behavior.click_count", "behavior.waited_us",
        "behavior.pending_requests", "behavior.requests";
}

/// A wire name's place: what it names (there may be two) and how much it is preferred (least is
/// first).
type Places = HashMap<&'static str, Vec<(Name, u8)>>;

static PLACES: LazyLock<Places> = LazyLock::new(|| {
    let mut places = Places::new();
    for (name, wires) in TABLE {
        for (rank, wire) in wires.iter().enumerate() {
            places.entry(wire).or_default().push((*name, rank as u8));
        }
    }
    places
});

/// The known things among some attributes. Of a key that is sent twice, the last value counts.
pub(super) struct Known<'a>([Option<(u8, &'a AnyValue)>; NAMES]);

impl<'a> Known<'a> {
    /// Looks through `attributes` once.
    pub(super) fn of(attributes: &'a [KeyValue]) -> Self {
        let mut known = Self([None; NAMES]);
        for attribute in attributes {
            let Some(places) = PLACES.get(attribute.key.as_str()) else { continue };
            let Some(value) = attribute.value.as_ref().and_then(first) else { continue };
            for (name, rank) in places {
                let slot = &mut known.0[*name as usize];
                if slot.is_none_or(|(held, _)| *rank <= held) {
                    *slot = Some((*rank, value));
                }
            }
        }
        known
    }

    /// The value as text, never empty.
    pub(super) fn text(&self, name: Name) -> Option<Cow<'a, str>> {
        self.get(name).map(value::text).filter(|text| !text.is_empty())
    }

    /// The value as an integer.
    pub(super) fn integer(&self, name: Name) -> Option<i64> {
        self.get(name).and_then(value::integer)
    }

    /// The value as a number.
    pub(super) fn number(&self, name: Name) -> Option<f64> {
        self.get(name).and_then(value::number)
    }

    fn get(&self, name: Name) -> Option<&'a AnyValue> {
        self.0[name as usize].map(|(_, value)| value)
    }
}

/// The value itself, or the first of a list (captured headers are lists); `None` where it says
/// nothing, so that an empty new name does not hide an old one.
fn first(value: &AnyValue) -> Option<&AnyValue> {
    match value.value.as_ref()? {
        Value::ArrayValue(array) => array.values.first().filter(|value| value.value.is_some()),
        Value::StringValue(text) if text.is_empty() => None,
        _ => Some(value),
    }
}

/// Every wire name, for tests that try them all.
#[cfg(test)]
pub(super) fn wire_names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().flat_map(|(_, wires)| wires.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(pairs: &[(&str, &str)]) -> Vec<KeyValue> {
        let value = |text: &str| AnyValue { value: Some(Value::StringValue(String::from(text))) };
        pairs
            .iter()
            .map(|(key, text)| KeyValue {
                key: String::from(*key),
                value: Some(value(text)),
                ..KeyValue::default()
            })
            .collect()
    }

    #[test]
    fn new_names_win_over_old_ones() {
        for (pairs, name, expected) in [
            (&[("http.method", "GET")][..], Name::Method, Some("GET")),
            (&[("http.method", "GET"), ("http.request.method", "PUT")], Name::Method, Some("PUT")),
            (&[("http.request.method", "PUT"), ("http.method", "GET")], Name::Method, Some("PUT")),
            (&[("http.request.method", ""), ("http.method", "GET")], Name::Method, Some("GET")),
            (&[("http.method", "GET"), ("http.method", "PUT")], Name::Method, Some("PUT")),
            (&[("enduser.id", "7")], Name::UserId, Some("7")),
            (&[("peer.service", "shop")], Name::ServicePeer, Some("shop")),
            (&[("behavior.waited_us", "9")], Name::WaitedUs, Some("9")),
            (&[("behavior.waited_us", "9")], Name::EventValue, Some("9")),
            (&[("other", "x")], Name::Method, None),
        ] {
            let attributes = attributes(pairs);
            assert_eq!(Known::of(&attributes).text(name).as_deref(), expected, "{pairs:?}");
        }
    }

    #[test]
    fn a_wire_name_stands_in_one_place_of_a_thing() {
        for (wire, places) in PLACES.iter() {
            for (name, rank) in places {
                let same = places.iter().filter(|(other, _)| other == name).count();
                assert_eq!(same, 1, "{wire} {rank}");
            }
        }
    }
}
