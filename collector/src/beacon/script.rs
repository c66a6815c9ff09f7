//! The scripts that pages load: built in `sdk-js`, embedded, served under several names each.
//!
//! The *alias* (`/ethogram.js`) is short-lived, so that a corrected script reaches every page the
//! same day. The *versioned name* (`/ethogram-0.1.0.<hash>.js`) says what its content is: it may be
//! kept for ever and pinned by `integrity`. What earlier versions of the program served is in
//! [`kept`], so that a page which pinned one of them still finds it after an upgrade.
//!
//! It is not the door for bodies. Invariants: a versioned name never answers with other bytes; all
//! names derive from the configured paths, which may be any first-party paths.

pub(crate) mod kept;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use serde::Deserialize;

use crate::config::BeaconConfig;

/// An hour: a corrected beacon reaches every page the same day, and a page of a busy session does
/// not ask again.
const ALIAS_CACHE: &str = "public, max-age=3600";

/// A year, which is what browsers and proxies take for ever.
const VERSIONED_CACHE: &str = "public, max-age=31536000, immutable";

/// Where browsers post unless they are told otherwise; the script derives it from its own address.
pub(crate) const DEFAULT_PATH: &str = "/v1/ethogram";

/// What a build of `sdk-js` leaves: a script and its source map.
struct Built {
    file: &'static str,
    text: &'static str,
    map: &'static str,
}

static BUILT: [Built; 2] = [
    Built {
        file: "ethogram.js",
        text: include_str!("../../../sdk-js/dist/ethogram.js"),
        map: include_str!("../../../sdk-js/dist/ethogram.js.map"),
    },
    // The same with web vitals.
    Built {
        file: "ethogram-vitals.js",
        text: include_str!("../../../sdk-js/dist/ethogram-vitals.js"),
        map: include_str!("../../../sdk-js/dist/ethogram-vitals.js.map"),
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

/// A script of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edition {
    /// What is in it besides: nothing, or `-vitals`.
    variant: String,
    version: String,
    /// The first 16 hexadecimal digits of the text's SHA-256.
    hash: String,
    text: Bytes,
    /// Its source map.
    map: Bytes,
}

impl Edition {
    /// The name that stays, behind `stem`.
    fn versioned(&self, stem: &str) -> String {
        format!("{stem}{}-{}.{}.js", self.variant, self.version, self.hash)
    }
}

/// The scripts of this version, and what the build says of them.
fn current() -> impl Iterator<Item = (Edition, &'static Named)> {
    BUILT.iter().filter_map(|built| {
        let named = NAMED.iter().find(|named| named.file == built.file)?;
        let variant = built.file.trim_start_matches("ethogram").trim_end_matches(".js");
        let edition = Edition {
            variant: variant.to_owned(),
            version: named.version.clone(),
            hash: named.hash.clone(),
            text: Bytes::from_static(built.text.as_bytes()),
            map: Bytes::from_static(built.map.as_bytes()),
        };
        Some((edition, named))
    })
}

/// What is answered at one path.
struct Served {
    media_type: &'static str,
    cache: &'static str,
    body: Bytes,
    /// Of a script: its hash, and the path of its source map.
    script: Option<(String, String)>,
}

/// What a script's names begin with.
fn stem(path: &str) -> &str {
    path.trim_end_matches(".js")
}

/// The paths of one script and of its source map. The short-lived names, where it has any, are those
/// that are configured: `/ethogram.js` gives `/ethogram-vitals.js` as well. A page that has pinned a
/// script by a path that was left since finds it too.
fn paths(
    config: &BeaconConfig,
    edition: Edition,
    has_aliases: bool,
) -> impl Iterator<Item = (String, Served)> + use<'_> {
    let stems = std::iter::once(&config.script_path).chain(&config.script_paths_also);
    stems.map(|path| stem(path)).flat_map(move |stem| {
        let versioned = edition.versioned(stem);
        let map = format!("{versioned}.map");
        let script = |cache| Served {
            media_type: "text/javascript; charset=utf-8",
            cache,
            body: edition.text.clone(),
            script: Some((edition.hash.clone(), map.clone())),
        };
        let source_map = Served {
            media_type: "application/json",
            cache: VERSIONED_CACHE,
            body: edition.map.clone(),
            script: None,
        };
        let alias = format!("{stem}{}.js", edition.variant);
        let alias = has_aliases.then(|| (alias, script(ALIAS_CACHE)));
        let lasting = [(versioned, script(VERSIONED_CACHE)), (map.clone(), source_map)];
        lasting.into_iter().chain(alias)
    })
}

/// Whether the collector serves a script of its own at this path.
pub(crate) fn is_taken(config: &BeaconConfig, path: &str) -> bool {
    current().flat_map(|(edition, _)| paths(config, edition, true)).any(|(taken, _)| taken == path)
}

/// The paths of all scripts: of this version, and of the earlier ones in `kept`.
pub(super) fn router<S>(config: &BeaconConfig, kept: Vec<Edition>) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let earlier = kept.into_iter().flat_map(|edition| paths(config, edition, false));
    // A path has one answer, and that of this version is the last word.
    let mut served: BTreeMap<_, _> = earlier.collect();
    served.extend(current().flat_map(|(edition, _)| paths(config, edition, true)));
    let is_free = |path: &String| *path != config.path && !config.paths_also.contains(path);
    served.into_iter().filter(|(path, _)| is_free(path)).fold(
        Router::new(),
        |router, (path, served)| {
            let served = Arc::new(served);
            let answer = move |headers: HeaderMap| async move { served.answer(&headers) };
            router.route(&path, get(answer))
        },
    )
}

impl Served {
    fn answer(&self, asked: &HeaderMap) -> Response<Body> {
        let mut headers = HeaderMap::new();
        headers.extend(fixed(self.media_type, self.cache));
        let mut is_known = false;
        if let Some((hash, map)) = &self.script {
            let tag = format!("\"{hash}\"");
            is_known = is_among(asked, &tag);
            let named = [(header::ETAG, &tag), (HeaderName::from_static("sourcemap"), map)];
            for (name, text) in named {
                let value =
                    HeaderValue::try_from(text).expect("a checked path, or digits in quotes");
                headers.insert(name, value);
            }
        }
        let body = if is_known { Body::empty() } else { Body::from(self.body.clone()) };
        let mut response = Response::new(body);
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        *response.headers_mut() = headers;
        response
    }
}

/// Whether who asks has it already.
fn is_among(asked: &HeaderMap, tag: &str) -> bool {
    let tags = asked.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    tags.is_some_and(|tags| {
        tags.split(',').any(|known| known.trim().trim_start_matches("W/") == tag)
    })
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
    let (edition, named) = current().next().expect("there is one script at least");
    let path = edition.versioned(stem(&config.script_path));
    let origin = origin.trim_end_matches('/');
    let endpoint = if config.path == DEFAULT_PATH {
        String::new()
    } else {
        format!(" data-endpoint=\"{}\"", escaped(&format!("{origin}{}", config.path)))
    };
    format!(
        "<script {more}src=\"{}\" integrity=\"{}\" crossorigin=\"anonymous\" data-key=\"{}\"{endpoint}></script>",
        escaped(&format!("{origin}{path}")),
        named.integrity,
        escaped(key),
    )
}

/// Text as it may stand in an attribute's quotes.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests;
