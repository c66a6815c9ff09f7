//! What the records of one resource share: who sent them, from where, by which clock.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::names::{Known, Name};
use super::value::{self, cut};
use crate::record::{Envelope, Source};
use crate::schema::{Attributes, Label, PageId, SessionId, TabId, Time, UNKNOWN};

/// The longest id that a sender chooses; ours have 32 letters, other SDKs' 36.
const ID_BYTES_MAX: usize = 256;

/// Nanoseconds in a day.
const DAY_NS: i64 = 24 * 3_600 * 1_000_000_000;

/// Up to here a repeated key is found by looking, beyond by hashing.
const LOOK_MAX: usize = 32;

/// One copy of each label of a record, so that its rows share them.
#[derive(Default)]
pub(super) struct Labels(RefCell<HashSet<Arc<str>>>);

impl Labels {
    /// The label of this text.
    pub(super) fn get(&self, text: &str) -> Label {
        let mut known = self.0.borrow_mut();
        if let Some(label) = known.get(text) {
            return Label(Arc::clone(label));
        }
        let label: Arc<str> = Arc::from(text);
        known.insert(Arc::clone(&label));
        Label(label)
    }

    /// The label of this text, or `unknown`.
    pub(super) fn or_unknown(&self, text: Option<Cow<'_, str>>) -> Label {
        self.get(text.as_deref().filter(|text| !text.is_empty()).unwrap_or(UNKNOWN))
    }
}

/// The sender of one resource's records.
pub(super) struct Sender<'a> {
    pub(super) labels: &'a Labels,
    pub(super) app: Label,
    pub(super) environment: Label,
    pub(super) service: Label,
    pub(super) service_version: Label,
    pub(super) cloud_region: Label,
    pub(super) layer: Label,
    pub(super) is_browser: bool,
    pub(super) verified: bool,
    pub(super) received: Time,
    pub(super) sent_at: Option<Time>,
    pub(super) resource: Attributes,
    envelope: &'a Envelope,
    is_beacon: bool,
    synthetic: bool,
    session_id: Option<SessionId>,
    user_id: Option<String>,
    page_id: Option<PageId>,
    tab_id: Option<TabId>,
}

impl<'a> Sender<'a> {
    /// What an envelope and a resource say.
    pub(super) fn new(
        envelope: &'a Envelope,
        resource: Option<&Resource>,
        labels: &'a Labels,
    ) -> Self {
        let sent = resource.map_or(&[][..], |resource| &resource.attributes);
        let known = Known::of(sent);
        let is_beacon = envelope.source == Source::Beacon;
        let is_browser = is_beacon || is_browser_sdk(sent, &known);
        let service = if is_beacon {
            Some(Cow::Borrowed(envelope.service.as_str()))
        } else {
            known.text(Name::Service)
        };
        let session = known.text(Name::RumSessionId).or_else(|| known.text(Name::SessionId));
        Self {
            labels,
            app: labels.or_unknown(Some(Cow::Borrowed(&envelope.app))),
            environment: labels.or_unknown(known.text(Name::Environment)),
            service: labels.or_unknown(service),
            service_version: labels.or_unknown(known.text(Name::ServiceVersion)),
            cloud_region: labels.or_unknown(known.text(Name::CloudRegion)),
            layer: labels.get(if is_browser { "browser" } else { "service" }),
            is_browser,
            verified: envelope.verified,
            received: Time(envelope.received_ns),
            sent_at: known.integer(Name::SentAt).filter(|sent| *sent > 0).map(Time),
            resource: attributes(sent),
            envelope,
            is_beacon,
            synthetic: known.text(Name::Synthetic).is_some(),
            session_id: session.and_then(|id| SessionId::new(cut(&id, ID_BYTES_MAX))),
            user_id: known.text(Name::UserId).map(|id| String::from(cut(&id, ID_BYTES_MAX))),
            page_id: page_id(&known, Name::PageId),
            tab_id: tab_id(&known),
        }
    }

    /// When it happened by the server's clock, as far as the record alone tells. The network's
    /// delay is in it; the join refines it per session.
    pub(super) fn time(&self, client: Time) -> Time {
        match self.sent_at {
            _ if !self.is_browser => client,
            Some(sent) => {
                let offset = self.received.0.saturating_sub(sent.0);
                Time(client.0.saturating_add(offset))
            }
            // A browser's clock of unknown error; at least nothing happens after it is received, and
            // no exporter holds on to a span for a day.
            None if !self.is_beacon && client.0 < self.received.0.saturating_sub(DAY_NS) => {
                self.received
            }
            None => client.min(self.received),
        }
    }

    /// The time on the wire; where none was sent, when it was received.
    pub(super) fn client_time(&self, unix_ns: u64) -> Time {
        match unix_ns {
            0 => self.received,
            ns => Time(i64::try_from(ns).unwrap_or(i64::MAX)),
        }
    }

    /// The record's own session, else the resource's, else the one in baggage that reached it.
    pub(super) fn session(&self, known: &Known<'_>) -> Option<SessionId> {
        let id = |text: Cow<'_, str>| SessionId::new(cut(&text, ID_BYTES_MAX));
        let own = known.text(Name::SessionId).or_else(|| known.text(Name::RumSessionId));
        own.and_then(id)
            .or_else(|| self.session_id.clone())
            .or_else(|| known.text(Name::BaggageSessionId).and_then(id))
            .or_else(|| baggage_member(&known.text(Name::Baggage)?, "session.id").and_then(id))
    }

    /// The record's own user, else the resource's.
    pub(super) fn user(&self, known: &Known<'_>) -> Option<String> {
        let own = known.text(Name::UserId);
        own.map(|id| String::from(cut(&id, ID_BYTES_MAX))).or_else(|| self.user_id.clone())
    }

    /// The record's own page, else the resource's.
    pub(super) fn page(&self, known: &Known<'_>) -> Option<PageId> {
        page_id(known, Name::PageId).or_else(|| self.page_id.clone())
    }

    /// The record's own tab, else the resource's.
    pub(super) fn tab(&self, known: &Known<'_>) -> Option<TabId> {
        tab_id(known).or_else(|| self.tab_id.clone())
    }

    /// Whether a bot or a test sent it.
    pub(super) fn synthetic(&self, known: &Known<'_>) -> bool {
        self.synthetic || known.text(Name::Synthetic).is_some()
    }

    /// Country, subdivision and region: of a beacon, the envelope's; of anything else, what the
    /// record says (or the collector found by its client address), else the envelope's.
    pub(super) fn place(&self, known: &Known<'_>) -> [Label; 3] {
        let said = known.text(Name::Country).filter(|_| !self.is_beacon);
        let [country, subdivision, region] = match said {
            Some(country) => {
                let region = known.text(Name::Region).unwrap_or_else(|| country.clone());
                [Some(country), known.text(Name::Subdivision), Some(region)]
            }
            None => [&self.envelope.country, &self.envelope.subdivision, &self.envelope.region]
                .map(|text| Some(Cow::Borrowed(text.as_str()))),
        };
        [country, subdivision, region].map(|text| self.labels.or_unknown(text))
    }
}

/// The value of a member of a baggage header, percent-decoded; its properties are left out.
fn baggage_member<'a>(header: &str, key: &str) -> Option<Cow<'a, str>> {
    let members = header.split(',').filter_map(|member| member.split_once('='));
    let (_, value) = members.into_iter().find(|(name, _)| name.trim() == key)?;
    let value = value.split(';').next().unwrap_or_default().trim();
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte.filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    Some(Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()))
}

/// A page that an attribute names.
pub(super) fn page_id(known: &Known<'_>, name: Name) -> Option<PageId> {
    known.text(name).and_then(|id| PageId::new(cut(&id, ID_BYTES_MAX)))
}

fn tab_id(known: &Known<'_>) -> Option<TabId> {
    known.text(Name::TabId).and_then(|id| TabId::new(cut(&id, ID_BYTES_MAX)))
}

/// Whether a resource is that of a browser SDK other than ours.
fn is_browser_sdk(resource: &[KeyValue], known: &Known<'_>) -> bool {
    known.text(Name::SdkLanguage).as_deref() == Some("webjs")
        || known.text(Name::RumSessionId).is_some()
        || resource.iter().any(|attribute| attribute.key.starts_with("browser."))
}

/// The attributes as text in the sender's names and order; of a repeated key, the last value in
/// the place of the first.
pub(super) fn attributes(sent: &[KeyValue]) -> Attributes {
    let mut kept: Vec<&KeyValue> = Vec::with_capacity(sent.len());
    let mut places: HashMap<&str, usize> = HashMap::new();
    for attribute in sent {
        let place = if sent.len() <= LOOK_MAX {
            kept.iter().position(|other| other.key == attribute.key)
        } else {
            let place = *places.entry(&attribute.key).or_insert(kept.len());
            (place < kept.len()).then_some(place)
        };
        match place {
            Some(place) => kept[place] = attribute,
            None => kept.push(attribute),
        }
    }
    let absent = AnyValue { value: None };
    kept.into_iter()
        .map(|attribute| {
            let value = value::text(attribute.value.as_ref().unwrap_or(&absent));
            (attribute.key.clone(), value.into_owned())
        })
        .collect()
}
