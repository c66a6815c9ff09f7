//! The scripts' names, and what caches and browsers are told of each.

use super::*;
use crate::stand::{Answer, Stand, send};

async fn get(stand: &Stand, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = http::Request::builder().uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).expect("a request");
    send(crate::beacon::router(&stand.collector, Vec::new()), "127.0.0.1:9", request).await
}

/// The names of the first script.
struct Names {
    alias: String,
    versioned: String,
    map: String,
    named: &'static Named,
}

fn first(config: &BeaconConfig) -> Names {
    let (edition, named) = current().next().expect("a script");
    let versioned = edition.versioned(stem(&config.script_path));
    Names { alias: config.script_path.clone(), map: format!("{versioned}.map"), versioned, named }
}

#[tokio::test]
async fn each_name_says_how_long_it_may_be_kept() {
    let stand = Stand::new("{}");
    let Names { alias, versioned, map, named, .. } = first(&BeaconConfig::default());
    assert_eq!(alias, "/ethogram.js");
    assert_eq!(versioned, format!("/ethogram-{}.{}.js", named.version, named.hash));
    let cases = [
        (&alias, "text/javascript; charset=utf-8", "public, max-age=3600", BUILT[0].text),
        (
            &versioned,
            "text/javascript; charset=utf-8",
            "public, max-age=31536000, immutable",
            BUILT[0].text,
        ),
        (&map, "application/json", "public, max-age=31536000, immutable", BUILT[0].map),
    ];
    for (path, media_type, cache, text) in cases {
        let answer = get(&stand, path, &[]).await;
        assert_eq!(answer.status.as_u16(), 200, "{path}");
        assert_eq!(answer.text(), text);
        assert_eq!(answer.header("content-type"), media_type);
        assert_eq!(answer.header("cache-control"), cache);
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        assert_eq!(answer.header("cross-origin-resource-policy"), "cross-origin");
        assert_eq!(answer.header("timing-allow-origin"), "*");
        assert_eq!(answer.header("sourcemap"), if path == &map { "" } else { map.as_str() });
    }
    let other = versioned.replace(&named.hash, "0000000000000000");
    assert_eq!(get(&stand, &other, &[]).await.status.as_u16(), 404, "other bytes never");
}

#[tokio::test]
async fn who_has_it_is_told_so() {
    let stand = Stand::new("{}");
    let Names { alias, versioned, .. } = first(&BeaconConfig::default());
    for path in [&alias, &versioned] {
        let tag = String::from(get(&stand, path, &[]).await.header("etag"));
        assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 2, "{tag}");
        let weak = format!("W/{tag}, \"other\"");
        for (known, status) in [(tag.as_str(), 304), (weak.as_str(), 304), ("\"other\"", 200)] {
            let answer = get(&stand, path, &[("if-none-match", known)]).await;
            assert_eq!(answer.status.as_u16(), status, "{known}");
            assert_eq!(answer.header("etag"), tag);
            assert_eq!(answer.text().is_empty(), status == 304);
        }
    }
}

#[tokio::test]
async fn the_path_may_be_any() {
    let stand = Stand::new(r#"{"beacon": {"script_path": "/assets/app.js", "path": "/assets/t"}}"#);
    let Names { alias, versioned, .. } = first(&stand.collector.config.beacon);
    assert_eq!(alias, "/assets/app.js");
    assert!(versioned.starts_with("/assets/app-"), "{versioned}");
    for (path, status) in [(alias.as_str(), 200), (&versioned, 200), ("/ethogram.js", 404)] {
        assert_eq!(get(&stand, path, &[]).await.status.as_u16(), status, "{path}");
    }
}

#[tokio::test]
async fn names_that_are_left_still_answer() {
    let stand = Stand::new(r#"{"beacon": {"script_paths_also": ["/a.js", "/b/c.js"]}}"#);
    for path in ["/ethogram.js", "/ethogram-vitals.js", "/a.js", "/a-vitals.js", "/b/c.js"] {
        let answer = get(&stand, path, &[]).await;
        assert_eq!(answer.status.as_u16(), 200, "{path}");
        assert_eq!(answer.header("cache-control"), ALIAS_CACHE, "{path}");
    }
    assert_eq!(
        get(&stand, "/beacon.js", &[]).await.status.as_u16(),
        404,
        "another list replaces it"
    );
    assert_eq!(get(&Stand::new("{}"), "/beacon.js", &[]).await.status.as_u16(), 200);
}

#[tokio::test]
async fn what_an_earlier_version_served_is_still_there() {
    let stand = Stand::new(r#"{"beacon": {"script_path": "/assets/app.js"}}"#);
    let (ours, _) = current().next().expect("a script");
    let earlier = Edition {
        version: String::from("0.0.9"),
        hash: String::from("0123456789abcdef"),
        text: Bytes::from_static(b"// earlier"),
        map: Bytes::from_static(b"{}"),
        ..ours.clone()
    };
    let doubled = Edition { text: Bytes::from_static(b"// other bytes"), ..ours };
    let router = crate::beacon::router(&stand.collector, vec![earlier, doubled]);
    let get = |path: &str| {
        let request = http::Request::get(path).body(Body::empty()).expect("a request");
        send(router.clone(), "127.0.0.1:9", request)
    };
    let answer = get("/assets/app-0.0.9.0123456789abcdef.js").await;
    assert_eq!((answer.text(), answer.header("cache-control")), ("// earlier", VERSIONED_CACHE));
    let map = "/assets/app-0.0.9.0123456789abcdef.js.map";
    assert_eq!(answer.header("sourcemap"), map);
    assert_eq!(get(map).await.text(), "{}");
    let left = get("/beacon-0.0.9.0123456789abcdef.js").await;
    assert_eq!(left.text(), "// earlier", "also by a path that is left");
    let Names { alias, versioned, .. } = first(&stand.collector.config.beacon);
    for path in [alias, versioned] {
        assert_eq!(get(&path).await.text(), BUILT[0].text, "{path} is this version's");
    }
}

/// Words by which public block lists name paths, whoever serves them: those that are commonest in the
/// general parts of EasyPrivacy and EasyList. `/beacon.js` and `/beacon?` are among their patterns.
const LISTED: &[&str] = &[
    "ads",
    "advert",
    "affiliate",
    "analytic",
    "audience",
    "beacon",
    "click",
    "collect",
    "cookie",
    "count",
    "event",
    "fingerprint",
    "gtag",
    "gtm",
    "hit",
    "impression",
    "insight",
    "log",
    "metric",
    "pageview",
    "perf-vitals",
    "ping",
    "pixel",
    "record",
    "referrer",
    "replay",
    "rum",
    "segment",
    "sensor",
    "session",
    "stat",
    "tag",
    "telemetry",
    "track",
    "trk",
    "visit",
    "web-vitals",
];

#[test]
fn no_block_list_names_the_defaults() {
    // Those that are left stay as long as somebody asks by them.
    let config = BeaconConfig { script_paths_also: Vec::new(), ..BeaconConfig::default() };
    let scripts = current().flat_map(|(edition, _)| paths(&config, edition, true));
    for path in scripts.map(|(path, _)| path).chain([config.path.clone()]) {
        for word in LISTED.iter().copied() {
            assert!(!path.contains(word), "{path} may be blocked for {word:?}");
        }
    }
}

#[test]
fn the_tag_is_pinned_and_knows_where_to_post() {
    let check = |config: BeaconConfig, key: &str, attributes: &str| {
        let Names { versioned, named, .. } = first(&config);
        let expected = format!(
            "<script src=\"https://shop.example{versioned}\" integrity=\"{}\" crossorigin=\"anonymous\" {attributes}></script>",
            named.integrity
        );
        assert_eq!(script_tag(&config, "https://shop.example/", key, ""), expected);
    };
    let at = |path: &str| BeaconConfig { path: path.to_owned(), ..BeaconConfig::default() };
    check(BeaconConfig::default(), "local", "data-key=\"local\"");
    check(BeaconConfig::default(), "a\"<&", "data-key=\"a&quot;&lt;&amp;\"");
    check(at("/t"), "k", "data-key=\"k\" data-endpoint=\"https://shop.example/t\"");
}

#[test]
fn every_script_is_named_by_the_build() {
    assert_eq!(current().count(), BUILT.len());
    assert_eq!(NAMED.len(), BUILT.len(), "a script that is built is served");
}
