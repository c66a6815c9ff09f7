//! Who sends: a service with a token, or a page with a write key.
//!
//! Invariants: a key of one zone opens no door of the other; the key itself is never stored; a
//! page is never `verified`, whatever it sends. A key of the other zone is answered like one that does not
//! exist (401), so that nobody learns from an answer that a key is good elsewhere.

use ethogram_timeline::record::Envelope;
use http::{HeaderMap, header};

use super::{Collector, Reason, Refusal};
use crate::config::{Secret, Shown};
use crate::enrich::Place;

/// An authenticated sender.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    app: String,
    service: String,
    key_id: String,
    verified: bool,
    place: Option<Place>,
}

impl Sender {
    /// The service behind a request. Where no tokens are configured the door is on loopback, and
    /// whoever is there is trusted with the machine already.
    pub(crate) fn service(collector: &Collector, headers: &HeaderMap) -> Result<Self, Refusal> {
        let sender = |app: &str, key_id: &str| Self {
            app: String::from(app),
            service: String::new(),
            key_id: String::from(key_id),
            verified: true,
            place: None,
        };
        let tokens = &collector.config.tokens;
        if tokens.is_empty() {
            return Ok(sender("default", ""));
        }
        let refused = || {
            Refusal::new(
                Reason::Unauthenticated,
                "send `Authorization: Bearer` with a token of this collector",
            )
        };
        let shown = bearer(headers).ok_or_else(refused)?;
        let known = find(tokens, |token| &token.token, shown);
        known.map(|token| sender(&token.app, &token.id)).ok_or_else(refused)
    }

    /// The page behind a beacon.
    pub(crate) fn page(
        collector: &Collector,
        key: Option<&str>,
        place: Place,
    ) -> Result<Self, Refusal> {
        let refused = || {
            Refusal::new(
                Reason::Unauthenticated,
                "the query parameter `key` is not a write key of this collector",
            )
        };
        let shown = key.ok_or_else(refused)?;
        let known = find(&collector.config.keys, |known| &known.key, shown.as_bytes())
            .ok_or_else(refused)?;
        Ok(Self {
            app: known.app.clone(),
            service: known.service.clone(),
            key_id: known.id.clone(),
            verified: false,
            place: Some(place),
        })
    }

    /// The id of the key, which is the sender's name in quotas.
    pub(crate) fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Writes who and where into the envelope.
    pub(super) fn sign(self, envelope: &mut Envelope) {
        envelope.app = self.app;
        envelope.service = self.service;
        envelope.key_id = self.key_id;
        envelope.verified = self.verified;
        if let Some(place) = self.place {
            envelope.geo_source = String::from(&*place.source);
            envelope.country = place.country;
            envelope.subdivision = place.subdivision;
            envelope.region = place.region;
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(BEARER.len())?;
    scheme.eq_ignore_ascii_case(BEARER).then(|| token.trim_ascii())
}

const BEARER: &[u8] = b"bearer ";

/// The one of `all` whose secret is shown. Every one is compared, so that the time says nothing about
/// which it was.
fn find<'a, T>(all: &'a [T], secret: impl Fn(&T) -> &Secret, shown: &[u8]) -> Option<&'a T> {
    let shown = Shown::new(shown);
    all.iter().fold(None, |known, one| if secret(one).is(&shown) { Some(one) } else { known })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stand::Stand;

    #[test]
    fn bearers() {
        let check = |value: &'static str, expected: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().expect("a header value"));
            assert_eq!(bearer(&headers), expected.map(str::as_bytes), "{value}");
        };
        check("Bearer abc", Some("abc"));
        check("bearer  abc ", Some("abc"));
        check("Basic abc", None);
        check("Bearer", None);
        check("", None);
    }

    #[test]
    fn a_key_opens_its_own_door_only() {
        let stand = Stand::new(
            r#"{"keys": [{"id": "web", "key": "old"}, {"id": "web", "key": "new"}],
                "tokens": [{"id": "team", "token": "first"}, {"id": "team", "token": "second"}]}"#,
        );
        let page = |key: &str| {
            Sender::page(&stand.collector, Some(key), stand.collector.geo.place(None, None))
        };
        let service = |token: &str| {
            let mut headers = HeaderMap::new();
            let value = format!("Bearer {token}").parse().expect("a header value");
            headers.insert(header::AUTHORIZATION, value);
            Sender::service(&stand.collector, &headers)
        };
        for key in ["old", "new"] {
            assert_eq!(page(key).expect("a key in rotation").key_id(), "web");
            assert_eq!(service(key).expect_err("a page's").reason, Reason::Unauthenticated);
        }
        for token in ["first", "second"] {
            assert_eq!(service(token).expect("a token in rotation").key_id(), "team");
            assert_eq!(page(token).expect_err("a service's").reason, Reason::Unauthenticated);
        }
        for wrong in ["", "ol", "oldd", "OLD", "firs", "web", "team"] {
            assert!(page(wrong).is_err() && service(wrong).is_err(), "{wrong}");
        }
    }
}
