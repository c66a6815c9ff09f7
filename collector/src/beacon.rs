//! The browsers' door: `POST /v1/ethogram`, and in [`script`] what pages load.
//!
//! A page at its end can send only what needs no permission asked beforehand: `text/plain`, no
//! headers of its own, the key in the query. So compression is told from the first bytes, and
//! the answer to success is 204 without a body.
//!
//! It is public. Invariants: a body is at most 64 KiB on the wire and 1 MiB inflated; nothing a
//! client sends is reflected, and nothing it names is fetched; `X-Forwarded-For` counts only
//! from a trusted proxy.

pub(crate) mod script;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::routing::any;
use ethogram_timeline::decode::json::BeaconBody;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use serde::Deserialize;

use crate::admit::{
    Coding, Collector, Delivery, Encoding, Pace, Reason, Refusal, Sender, discard, handle, read,
};
use crate::counters::Door;
use crate::cross_origin::{self, Origins, Stated};
use crate::http::media_type;
use crate::listen::Peer;

/// How a page hears what share of sessions it shall tell of. Not standard: nothing fits.
const SAMPLE_RATIO: HeaderName = HeaderName::from_static("ethogram-sample-ratio");

/// The paths of this door. `kept` are the scripts of earlier versions, which stay under their names.
pub(crate) fn router(collector: &Arc<Collector>, kept: Vec<script::Edition>) -> Router {
    let config = &collector.config.beacon;
    let paths: BTreeSet<_> = std::iter::once(&config.path).chain(&config.paths_also).collect();
    paths
        .into_iter()
        .fold(Router::new(), |router, path| router.route(path, any(receive)))
        .merge(script::router(config, kept))
        .fallback(unknown_path)
        .with_state(Arc::clone(collector))
}

async fn receive(State(collector): State<Arc<Collector>>, request: Request) -> Response<Body> {
    collector.counters.request(Door::Beacon);
    let (parts, mut body) = request.into_parts();
    let origin = match allowed_origin(&collector, &parts.headers) {
        Ok(origin) => origin,
        Err(refusal) => return refuse(&collector, &refusal),
    };
    let mut response = if cross_origin::is_preflight(&parts.method, &parts.headers) {
        cross_origin::preflight(cross_origin::BEACON_HEADERS)
    } else {
        match accept(&collector, &parts, &mut body).await {
            Ok(()) => no_content(collector.config.beacon.sample_ratio),
            Err(refusal) => {
                discard(&mut body, collector.config.beacon.inflated_bytes_max).await;
                refuse(&collector, &refusal)
            }
        }
    };
    if let Some(origin) = origin {
        cross_origin::expose(&mut response, origin);
    }
    response
}

async fn accept(collector: &Arc<Collector>, parts: &Parts, body: &mut Body) -> Result<(), Refusal> {
    if parts.method != Method::POST {
        return Err(Refusal::new(Reason::Method, "only POST is allowed here"));
    }
    if !is_speakable(&parts.headers) {
        return Err(Refusal::new(
            Reason::MediaType,
            "the content type must be text/plain or application/json",
        ));
    }
    let peer = parts
        .extensions
        .get::<Peer>()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
    let client = collector.proxies.client(peer, &parts.headers);
    let edge = collector.proxies.trusts(peer).then_some(&parts.headers);
    let key = Query::<Parameters>::try_from_uri(&parts.uri).ok().and_then(|query| query.0.key);
    let sender = Sender::page(collector, key.as_deref(), collector.geo.place(client, edge))?;
    let client = client.unwrap_or(peer);
    collector.quota.take(client, sender.key_id(), collector.clock.wall_ns())?;

    let mut held = collector.budget.reserve();
    let limits = &collector.config.beacon;
    let pace = Pace::new(&collector.config.limits);
    let wire = read(body, limits.wire_bytes_max, pace, &mut held).await?;
    let delivery = Delivery {
        door: Door::Beacon,
        sender,
        encoding: Encoding::Json,
        coding: Coding::of_magic(&wire),
        wire,
        inflated_bytes_max: limits.inflated_bytes_max,
        is_exempt: client.is_loopback(),
        held,
    };
    handle::<BeaconBody>(collector, delivery).await?;
    Ok(())
}

#[derive(Deserialize)]
struct Parameters {
    key: Option<String>,
}

/// The origin to echo; an error where the page may not send here. A browser states the origin of
/// every POST, so where origins are listed a request without one is not from a page of ours.
fn allowed_origin(
    collector: &Collector,
    headers: &HeaderMap,
) -> Result<Option<HeaderValue>, Refusal> {
    let listed = &collector.config.beacon.origins;
    let origins = if listed.is_empty() { Origins::Any } else { Origins::Listed(listed.clone()) };
    match (cross_origin::stated(headers), origins) {
        (Stated::One(origin), origins) if origins.allows(origin) => Ok(Some(origin.clone())),
        (Stated::None, Origins::Any) => Ok(None),
        _ => Err(Refusal::new(Reason::Origin, "pages of this origin may not send here")),
    }
}

/// Bodies without a type are what `sendBeacon` makes of an `ArrayBuffer`.
fn is_speakable(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return true };
    let value = value.to_str().map(media_type).unwrap_or_default();
    matches!(value.as_str(), "text/plain" | "application/json")
}

fn no_content(sample_ratio: Option<f64>) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    if let Some(ratio) = sample_ratio {
        let value = HeaderValue::try_from(ratio.to_string()).expect("a number is plain text");
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from(SAMPLE_RATIO));
        headers.insert(SAMPLE_RATIO, value);
    }
    response
}

fn refuse(collector: &Collector, refusal: &Refusal) -> Response<Body> {
    collector.counters.refuse(Door::Beacon, refusal.reason);
    let mut response = refusal.http(None, &collector.jitter);
    if refusal.reason == Reason::Method {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST, OPTIONS"));
    }
    response
}

async fn unknown_path(State(collector): State<Arc<Collector>>) -> Response<Body> {
    let message =
        format!("there is nothing here; beacons go to POST {}", collector.config.beacon.path);
    refuse(&collector, &Refusal::new(Reason::NotFound, message))
}

#[cfg(test)]
mod tests;
