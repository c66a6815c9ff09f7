//! Personal data, taken out before a record reaches the log.
//!
//! Secrets and direct identifiers are removed by the names of attributes ([`keys`]), URLs lose
//! credentials, query, fragment and the ids in their path ([`text`]), addresses are cut to their
//! network once their place is known, user agents to family and major version ([`agent`]), and
//! every other text loses what looks like one of these ([`free`]). A browser may not say where it is
//! or which service it belongs to; a service may.
//!
//! It does not know names of people, and it leaves `user.id` and `session.id` as the operator chose
//! them: an erasure is asked for by them.
//!
//! Invariants:
//! * No attribute holds a full client address afterwards, at any depth.
//! * Scrubbing twice (without a geo database) is scrubbing once.
//! * No record is removed.

mod agent;
mod free;
mod keys;
mod secrets;
#[cfg(test)]
mod tests;
mod text;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::Exemplar;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use self::keys::{Verdict, verdict};
use super::names::{Known, Name};

/// Who sent a request, which decides what it may say of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Anyone with the public write key.
    Browser,
    /// An authenticated service.
    Service,
}

/// What is scrubbed, beside what always is.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// Who sent the request.
    pub trust: Trust,
    /// Parameters of queries that the operator keeps, by name: those of a service's calls and of the
    /// requests it serves stay as `url.query`, but for what is personal in their values.
    pub query_parameters: &'a [String],
}

impl From<Trust> for Policy<'_> {
    fn from(trust: Trust) -> Self {
        Self { trust, query_parameters: &[] }
    }
}

/// Where an address is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// ISO 3166-1 alpha-2; empty where unknown.
    pub country: String,
    /// ISO 3166-2 with its country prefix; empty where unknown.
    pub subdivision: String,
    /// The operator's region; empty where unknown.
    pub region: String,
}

/// Looks up the place of an IP address, given as text.
pub type Geo<'a> = dyn FnMut(&str) -> Option<Place> + 'a;

/// Scrubs spans. Of a service's span, the place of its client address is looked up through `geo`
/// and set on the span before the address is cut.
pub fn traces<'a>(
    request: &mut ExportTraceServiceRequest,
    policy: impl Into<Policy<'a>>,
    geo: &mut Geo<'_>,
) {
    let policy = policy.into();
    let trust = policy.trust;
    for resource in &mut request.resource_spans {
        let inner = Scrub { trust, calls: false };
        inner.attributes(resource.resource.as_mut().map(|resource| &mut resource.attributes));
        for scope in &mut resource.scope_spans {
            inner.scope(scope.scope.as_mut());
            for span in &mut scope.spans {
                scrub_span(span, policy, geo);
            }
        }
    }
}

/// Scrubs log records, bodies included; places as in [`traces`].
pub fn logs(request: &mut ExportLogsServiceRequest, trust: Trust, geo: &mut Geo<'_>) {
    let scrub = Scrub { trust, calls: false };
    for resource in &mut request.resource_logs {
        scrub.attributes(resource.resource.as_mut().map(|resource| &mut resource.attributes));
        for scope in &mut resource.scope_logs {
            scrub.scope(scope.scope.as_mut());
            for record in &mut scope.log_records {
                free_text(&mut record.event_name);
                scrub.located(&mut record.attributes, geo);
                if let Some(body) = &mut record.body {
                    scrub.nested(body);
                }
            }
        }
    }
}

/// Scrubs data points and their exemplars. Metrics have no place.
pub fn metrics(request: &mut ExportMetricsServiceRequest, trust: Trust) {
    // A metric may describe calls in either direction; the peer's address is cut in both.
    let scrub = Scrub { trust, calls: false };
    for resource in &mut request.resource_metrics {
        scrub.attributes(resource.resource.as_mut().map(|resource| &mut resource.attributes));
        for scope in &mut resource.scope_metrics {
            scrub.scope(scope.scope.as_mut());
            for metric in &mut scope.metrics {
                free_text(&mut metric.name);
                free_text(&mut metric.description);
                scrub.attributes(Some(&mut metric.metadata));
                if let Some(data) = &mut metric.data {
                    scrub.points(data);
                }
            }
        }
    }
}

/// Whether a user agent is a browser's, scrubbed or not.
pub(super) fn is_browser(agent: &str) -> bool {
    agent::is_browser(agent)
}

fn scrub_span(span: &mut Span, policy: Policy<'_>, geo: &mut Geo<'_>) {
    let calls = span.kind == SpanKind::Client as i32 || span.kind == SpanKind::Producer as i32;
    let scrub = Scrub { trust: policy.trust, calls };
    free_text(&mut span.name);
    text::trace_state(&mut span.trace_state);
    if let Some(status) = &mut span.status {
        free_text(&mut status.message);
    }
    let tag = if calls { query_tag(&span.attributes) } else { None };
    let query = kept_query(&span.attributes, policy.query_parameters);
    scrub.located(&mut span.attributes, geo);
    if let Some(query) = query {
        set(&mut span.attributes, "url.query", query);
    }
    if let Some(tag) = tag {
        set(&mut span.attributes, "behavior.query_tag", tag);
    }
    for event in &mut span.events {
        free_text(&mut event.name);
        scrub.attributes(Some(&mut event.attributes));
    }
    for link in &mut span.links {
        text::trace_state(&mut link.trace_state);
        scrub.attributes(Some(&mut link.attributes));
    }
}

/// What stays of the query of the URL that is called.
fn query_tag(attributes: &[KeyValue]) -> Option<String> {
    let known = Known::of(attributes);
    let url = known.text(Name::UrlFull).or_else(|| known.text(Name::UrlPath))?;
    text::query(&url).map(free::tag)
}

/// The parameters of these names in the query of the URL, as a query.
fn kept_query(attributes: &[KeyValue], names: &[String]) -> Option<String> {
    if names.is_empty() {
        return None;
    }
    let known = Known::of(attributes);
    let query = known.text(Name::UrlQuery).or_else(|| {
        let url = known.text(Name::UrlFull).or_else(|| known.text(Name::UrlPath))?;
        text::query(&url).map(|query| String::from(query).into())
    })?;
    let kept = query.split('&').filter_map(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let value = free::scrubbed(value).unwrap_or_else(|| String::from(value));
        names.iter().any(|kept| kept == name).then(|| format!("{name}={value}"))
    });
    let kept = kept.collect::<Vec<_>>().join("&");
    (!kept.is_empty()).then_some(kept)
}

/// Gives an attribute this value, whatever was sent under its name.
fn set(attributes: &mut Vec<KeyValue>, key: &str, value: String) {
    attributes.retain(|attribute| attribute.key != key);
    let value = Some(AnyValue { value: Some(Value::StringValue(value)) });
    attributes.push(KeyValue { key: String::from(key), value, ..KeyValue::default() });
}

fn free_text(text: &mut String) {
    if let Some(scrubbed) = free::scrubbed(text) {
        *text = scrubbed;
    }
}

/// How to scrub one record.
#[derive(Clone, Copy)]
struct Scrub {
    trust: Trust,
    /// Whether the record is a call to another service, whose address is no user's.
    calls: bool,
}

impl Scrub {
    /// Scrubs attributes, and sets the place of the client address they held.
    fn located(self, attributes: &mut Vec<KeyValue>, geo: &mut Geo<'_>) {
        let place = (self.trust == Trust::Service)
            .then(|| Known::of(attributes).text(Name::ClientAddress))
            .flatten()
            .and_then(|address| text::address(&address))
            .and_then(|address| geo(&address.to_string()));
        self.attributes(Some(attributes));
        let Some(place) = place else { return };
        // All three together, so that no row has the country of one source and the region of
        // another.
        for (key, value) in [
            ("geo.country.iso_code", place.country),
            ("geo.region.iso_code", place.subdivision),
            ("behavior.region", place.region),
        ] {
            if value.is_empty() {
                attributes.retain(|attribute| attribute.key != key);
            } else {
                set(attributes, key, value);
            }
        }
    }

    fn attributes(self, attributes: Option<&mut Vec<KeyValue>>) {
        let Some(attributes) = attributes else { return };
        attributes.retain_mut(|attribute| {
            let verdict = verdict(&attribute.key, self.trust, self.calls);
            if attribute.key.contains('@') {
                free_text(&mut attribute.key);
            }
            let Some(value) = &mut attribute.value else { return verdict != Verdict::Remove };
            match verdict {
                Verdict::Keep => self.nested(value),
                Verdict::Name => self.lists(value),
                Verdict::Remove => return false,
                Verdict::Agent => self.texts(value, &|text| *text = agent::reduced(text)),
                Verdict::Baggage => self.texts(value, &text::baggage),
                Verdict::Url => self.texts(value, &|url| *url = text::url(url)),
                Verdict::Address => return cut_address(value),
            }
            true
        });
    }

    fn scope(self, scope: Option<&mut InstrumentationScope>) {
        let Some(scope) = scope else { return };
        free_text(&mut scope.name);
        self.attributes(Some(&mut scope.attributes));
    }

    /// Scrubs texts, and the lists inside a value.
    fn nested(self, value: &mut AnyValue) {
        if let Some(Value::BytesValue(bytes)) = &mut value.value {
            if let Some(scrubbed) = str::from_utf8(bytes).ok().and_then(free::scrubbed) {
                *bytes = scrubbed.into_bytes();
            }
            return;
        }
        self.texts(value, &free_text);
    }

    /// Scrubs the lists of attributes inside a value, which have names of their own.
    fn lists(self, value: &mut AnyValue) {
        self.texts(value, &|_| {});
    }

    /// Scrubs the texts of a value and of the arrays in it. Captured headers are arrays.
    fn texts(self, value: &mut AnyValue, change: &dyn Fn(&mut String)) {
        match &mut value.value {
            Some(Value::StringValue(text)) => change(text),
            Some(Value::KvlistValue(pairs)) => self.attributes(Some(&mut pairs.values)),
            Some(Value::ArrayValue(array)) => {
                array.values.iter_mut().for_each(|value| self.texts(value, change));
            }
            _ => {}
        }
    }

    fn points(self, data: &mut Data) {
        let points: Vec<(&mut Vec<KeyValue>, &mut [Exemplar])> = match data {
            Data::Gauge(gauge) => {
                parts(&mut gauge.data_points, |point| (&mut point.attributes, &mut point.exemplars))
            }
            Data::Sum(sum) => {
                parts(&mut sum.data_points, |point| (&mut point.attributes, &mut point.exemplars))
            }
            Data::Histogram(histogram) => parts(&mut histogram.data_points, |point| {
                (&mut point.attributes, &mut point.exemplars)
            }),
            Data::ExponentialHistogram(histogram) => parts(&mut histogram.data_points, |point| {
                (&mut point.attributes, &mut point.exemplars)
            }),
            Data::Summary(summary) => {
                parts(&mut summary.data_points, |point| (&mut point.attributes, &mut []))
            }
        };
        for (attributes, exemplars) in points {
            self.attributes(Some(attributes));
            for exemplar in exemplars {
                self.attributes(Some(&mut exemplar.filtered_attributes));
            }
        }
    }
}

/// What of each data point can hold personal data.
fn parts<P>(
    points: &mut [P],
    each: impl Fn(&mut P) -> (&mut Vec<KeyValue>, &mut [Exemplar]),
) -> Vec<(&mut Vec<KeyValue>, &mut [Exemplar])> {
    points.iter_mut().map(each).collect()
}

/// Cuts an address; false where the value is none and so may be a host that names its owner.
fn cut_address(value: &mut AnyValue) -> bool {
    let Some(Value::StringValue(text)) = &mut value.value else { return false };
    let Some(address) = text::address(text) else { return false };
    *text = text::network(address).to_string();
    true
}
