//! The scripts that pages load: built in `sdk-js`, embedded, served under two names each.
//!
//! The *alias* (`/beacon.js`) is short-lived, so that a corrected script reaches every page the
//! same day. The *versioned name* (`/beacon-0.1.0.<hash>.js`) says what its content is: it may be
//! kept for ever and pinned by `integrity`. After an upgrade the old name answers 404; who pins a
//! version and upgrades the collector first serves the old file himself, from the npm package.
//!
//! It is not the door for bodies. Invariants: a versioned name never answers with other bytes; all
//! names derive from the one configured path, which may be any first-party path.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use serde::Deserialize;

use crate::config::BeaconConfig;

/// An hour: a corrected beacon reaches every page the same day, and a page of a busy session does
/// not ask again.
const ALIAS_CACHE: &str = "public, max-age=3600";

/// A year, which is what browsers and proxies take for ever.
const VERSIONED_CACHE: &str = "public, max-age=31536000, immutable";

/// Where browsers post unless they are told otherwise; the script derives it from its own address.
const DEFAULT_PATH: &str = "/v1/beacon";

/// What a build of `sdk-js` leaves: a script and its source map.
struct Built {
    file: &'static str,
    text: &'static str,
    map: &'static str,
}

static BUILT: [Built; 2] = [
    Built {
        file: "beacon.js",
        text: include_str!("../../../sdk-js/dist/beacon.js"),
        map: include_str!("../../../sdk-js/dist/beacon.js.map"),
    },
    // The same with web vitals.
    Built {
        file: "beacon-vitals.js",
        text: include_str!("../../../sdk-js/dist/beacon-vitals.js"),
        map: include_str!("../../../sdk-js/dist/beacon-vitals.js.map"),
    },
];

/// What the build says of each script. The hashes are made there and checked against the files.
#[derive(Deserialize)]
struct Named {
    file: String,
    version: String,
    hash: String,
    integrity: String,
}

static NAMED: LazyLock<Vec<Named>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../../sdk-js/dist/scripts.json"))
        .expect("the build writes this file")
});

/// A script under its three names.
struct Script {
    built: &'static Built,
    named: &'static Named,
    alias: String,
    versioned: String,
    map: String,
}

/// All scripts, named after the configured path: `/beacon.js` gives `/beacon-vitals.js` as well.
fn scripts(config: &BeaconConfig) -> impl Iterator<Item = Script> {
    let stem = config.script_path.trim_end_matches(".js");
    BUILT.iter().filter_map(move |built| {
        let named = NAMED.iter().find(|named| named.file == built.file)?;
        let variant = built.file.trim_start_matches("beacon").trim_end_matches(".js");
        let versioned = format!("{stem}{variant}-{}.{}.js", named.version, named.hash);
        let map = format!("{versioned}.map");
        Some(Script { built, named, alias: format!("{stem}{variant}.js"), versioned, map })
    })
}

/// Whether the collector serves a script of its own at this path.
pub(crate) fn is_taken(config: &BeaconConfig, path: &str) -> bool {
    scripts(config).any(|script| {
        [&script.alias, &script.versioned, &script.map].into_iter().any(|taken| taken == path)
    })
}

/// The paths of all scripts.
pub(super) fn router<S: Clone + Send + Sync + 'static>(config: &BeaconConfig) -> Router<S> {
    let mut router = Router::new();
    for script in scripts(config) {
        let script = Arc::new(script);
        let (alias, versioned, map) =
            (Arc::clone(&script), Arc::clone(&script), Arc::clone(&script));
        router = router
            .route(
                &script.alias,
                get(move |headers: HeaderMap| async move { answer(&alias, ALIAS_CACHE, &headers) }),
            )
            .route(
                &script.versioned,
                get(move |headers: HeaderMap| async move {
                    answer(&versioned, VERSIONED_CACHE, &headers)
                }),
            )
            .route(&script.map, get(move || async move { source_map(map.built.map) }));
    }
    router
}

fn answer(script: &Script, cache: &'static str, asked: &HeaderMap) -> Response<Body> {
    let tag = format!("\"{}\"", script.named.hash);
    let is_known =
        asked.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok()).is_some_and(|tags| {
            tags.split(',').any(|known| known.trim().trim_start_matches("W/") == tag)
        });
    let mut response =
        Response::new(if is_known { Body::empty() } else { Body::from(script.built.text) });
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.extend(fixed("text/javascript; charset=utf-8", cache));
    let named = [(header::ETAG, &tag), (HeaderName::from_static("sourcemap"), &script.map)];
    for (name, text) in named {
        let value = HeaderValue::try_from(text).expect("a checked path, or digits in quotes");
        headers.insert(name, value);
    }
    response
}

fn source_map(text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    response.headers_mut().extend(fixed("application/json", VERSIONED_CACHE));
    response
}

/// A page of any origin may load it, read it as `crossorigin` with `integrity` asks, embed it under
/// a policy that isolates the page, and see how long it took.
fn fixed(media_type: &'static str, cache: &'static str) -> [(HeaderName, HeaderValue); 6] {
    [
        (header::CONTENT_TYPE, media_type),
        (header::CACHE_CONTROL, cache),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (HeaderName::from_static("cross-origin-resource-policy"), "cross-origin"),
        (HeaderName::from_static("timing-allow-origin"), "*"),
    ]
    .map(|(name, value)| (name, HeaderValue::from_static(value)))
}

/// The script tag for pages that reach this collector's beacon listener at `origin`, pinned to this
/// version; `more` stands among its attributes.
pub fn script_tag(config: &BeaconConfig, origin: &str, key: &str, more: &str) -> String {
    let script = scripts(config).next().expect("there is one script at least");
    let origin = origin.trim_end_matches('/');
    let endpoint = if config.path == DEFAULT_PATH {
        String::new()
    } else {
        format!(" data-endpoint=\"{}\"", escaped(&format!("{origin}{}", config.path)))
    };
    format!(
        "<script {more}src=\"{}\" integrity=\"{}\" crossorigin=\"anonymous\" data-key=\"{}\"{endpoint}></script>",
        escaped(&format!("{origin}{}", script.versioned)),
        script.named.integrity,
        escaped(key),
    )
}

/// Text as it may stand in an attribute's quotes.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests;
