//! The route of a request: what is asked, without whom it is asked for.
//!
//! A service that knows its route says so; of everything else the path is taken and what looks
//! like an id in it replaced, so that routes stay few and name nobody.

use std::borrow::Cow;

use super::names::{Known, Name};
use super::value::cut;

/// The longest route; beyond it a path is data, not a place in a program.
const ROUTE_BYTES_MAX: usize = 256;

/// The longest target. Statements differ early; two that agree this far are the same but for a
/// list of values.
const TARGET_BYTES_MAX: usize = 1024;

/// The longest tag of a query; ours have seven letters, and a sender may write its own.
const QUERY_TAG_BYTES_MAX: usize = 16;

/// Parts of a path that are kept; the deepest of GitHub's REST routes has 11.
const SEGMENTS_MAX: usize = 12;

/// Digits in a row that make an id inside a word: years and ports have four, and are rarer in
/// paths than `order-1042`.
const DIGITS_MIN: usize = 4;

/// Hexadecimal digits in a row, some of them 0-9, that make an id: an abbreviated hash has eight.
const HEX_DIGITS_MIN: usize = 8;

/// Letters and digits mixed in one word that make an id: ULIDs have 26, base64 tokens more.
const TOKEN_BYTES_MIN: usize = 20;

const ID: &str = "{id}";
const EMAIL: &str = "{email}";

/// The route of a span or an event; `None` where nothing says what was asked.
pub(super) fn of(known: &Known<'_>) -> Option<String> {
    let said =
        known.text(Name::Route).or_else(|| known.text(Name::UrlTemplate)).map(Cow::into_owned);
    let route = said
        .or_else(|| known.text(Name::UrlPath).and_then(|path| template(&path)))
        .or_else(|| known.text(Name::UrlFull).and_then(|url| template(&url)))
        .or_else(|| rpc(known))
        .or_else(|| known.text(Name::Destination).map(Cow::into_owned))
        .or_else(|| database(known))?;
    Some(String::from(cut(&route, ROUTE_BYTES_MAX)))
}

/// The concrete thing asked for, ids and all: the URL, the method, the statement, the queue. Two
/// sends of one call name the same target. Of a query the scrubber's tag stands behind its sign, so
/// that two searches are two targets.
pub(super) fn target(known: &Known<'_>) -> Option<String> {
    let without_query = |url: Cow<'_, str>| {
        let mut target = String::from(&url[..url.find(['?', '#']).unwrap_or(url.len())]);
        if let Some(tag) = known.text(Name::QueryTag) {
            target.push('?');
            target.push_str(cut(&tag, QUERY_TAG_BYTES_MAX));
        }
        target
    };
    let target = rpc(known)
        .or_else(|| known.text(Name::DbSummary).map(Cow::into_owned))
        .or_else(|| known.text(Name::DbStatement).map(Cow::into_owned))
        .or_else(|| database(known))
        .or_else(|| known.text(Name::Destination).map(Cow::into_owned))
        .or_else(|| known.text(Name::UrlFull).map(without_query))
        .or_else(|| known.text(Name::UrlPath).map(without_query))?;
    Some(String::from(cut(&target, TARGET_BYTES_MAX)))
}

/// The path of a URL (or a path) with ids replaced; `None` where there is no path.
pub(super) fn template(url: &str) -> Option<String> {
    let url = &url[..url.find(['?', '#', ';']).unwrap_or(url.len())];
    let path = match url.find("://") {
        Some(scheme) => {
            let authority = &url[scheme + 3..];
            &authority[authority.find('/').unwrap_or(authority.len())..]
        }
        None if url.starts_with('/') => url,
        None => return None,
    };
    let mut route = String::new();
    for (index, segment) in path.split('/').filter(|segment| !segment.is_empty()).enumerate() {
        if index == SEGMENTS_MAX {
            route.push_str("/*");
            break;
        }
        route.push('/');
        push_segment(segment, &mut route);
    }
    if route.is_empty() {
        route.push('/');
    }
    Some(String::from(cut(&route, ROUTE_BYTES_MAX)))
}

fn push_segment(segment: &str, route: &mut String) {
    let is_email = segment.contains('@') || segment.contains("%40");
    if is_email {
        route.push_str(EMAIL);
    } else if segment.bytes().all(|byte| byte.is_ascii_digit()) || is_uuid(segment) {
        route.push_str(ID);
    } else {
        let separators = ['-', '.', '_', '~', ':', ','];
        let mut rest = segment;
        while !rest.is_empty() {
            let end = rest.find(separators).unwrap_or(rest.len());
            let (word, tail) = rest.split_at(end);
            route.push_str(if is_id(word) { ID } else { word });
            let separator = tail.chars().next().map_or(0, char::len_utf8);
            route.push_str(&tail[..separator]);
            rest = &tail[separator..];
        }
    }
}

/// Eight, four, four, four and twelve hexadecimal digits.
fn is_uuid(segment: &str) -> bool {
    let lengths = segment.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12])
        && segment.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

/// Whether a word without separators is an id rather than a name.
fn is_id(word: &str) -> bool {
    if word.starts_with("{id") && word.ends_with('}') {
        return true; // What scrubbing left of one.
    }
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let is_hex = word.bytes().all(|byte| byte.is_ascii_hexdigit());
    (digits >= DIGITS_MIN && longest_digits(word) >= DIGITS_MIN)
        || (is_hex && digits > 0 && word.len() >= HEX_DIGITS_MIN)
        || (digits > 0 && word.len() >= TOKEN_BYTES_MIN)
}

fn longest_digits(word: &str) -> usize {
    word.split(|letter: char| !letter.is_ascii_digit()).map(str::len).max().unwrap_or(0)
}

/// `Service/Method`, as gRPC's own path has it.
fn rpc(known: &Known<'_>) -> Option<String> {
    let method = known.text(Name::RpcMethod)?;
    Some(match known.text(Name::RpcService) {
        Some(service) => format!("{service}/{method}"),
        None => method.into_owned(),
    })
}

/// What is done to what: `SELECT orders`.
fn database(known: &Known<'_>) -> Option<String> {
    if let Some(summary) = known.text(Name::DbSummary) {
        return Some(summary.into_owned());
    }
    let operation = known.text(Name::DbOperation)?;
    Some(match known.text(Name::DbCollection) {
        Some(collection) => format!("{operation} {collection}"),
        None => operation.into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};

    use super::*;

    #[test]
    fn a_target_has_what_is_left_of_the_query() {
        let attribute = |(key, text): (&str, &str)| KeyValue {
            key: String::from(key),
            value: Some(AnyValue { value: Some(Value::StringValue(String::from(text))) }),
            ..KeyValue::default()
        };
        let of = |pairs: &[(&str, &str)]| {
            let attributes: Vec<KeyValue> = pairs.iter().map(|pair| attribute(*pair)).collect();
            target(&Known::of(&attributes))
        };
        let url = ("url.full", "https://shop.example/search");
        assert_eq!(of(&[url]).as_deref(), Some("https://shop.example/search"));
        let tagged = of(&[url, ("behavior.query_tag", "{id3fa}")]);
        assert_eq!(tagged.as_deref(), Some("https://shop.example/search?{id3fa}"));
        let statement = of(&[("db.query.text", "SELECT 1"), ("behavior.query_tag", "{id3fa}")]);
        assert_eq!(statement.as_deref(), Some("SELECT 1"));
    }

    #[test]
    fn ids_in_paths_are_replaced() {
        for (url, expected) in [
            (
                "https://shop.example/api/v2/orders/42/items?x=1#y",
                Some("/api/v2/orders/{id}/items"),
            ),
            ("https://shop.example", Some("/")),
            ("/", Some("/")),
            ("//a///b/", Some("/a/b")),
            ("/users/jane@shop.example/cart", Some("/users/{email}/cart")),
            ("/users/jane%40shop.example", Some("/users/{email}")),
            ("/u/123e4567-e89b-12d3-a456-426614174000", Some("/u/{id}")),
            ("/order-10425/edit", Some("/order-{id}/edit")),
            ("/app.3f2a9b8c.js", Some("/app.{id}.js")),
            ("/o/507f1f77bcf86cd799439011", Some("/o/{id}")),
            ("/t/01ARZ3NDEKTSV4RRFFQ69G5FAV", Some("/t/{id}")),
            ("/deadbeef/facade/checkout", Some("/deadbeef/facade/checkout")),
            ("/a;v=1/b", Some("/a")),
            (
                "/1/2/3/4/5/6/7/8/9/10/11/12/13/14",
                Some("/{id}/{id}/{id}/{id}/{id}/{id}/{id}/{id}/{id}/{id}/{id}/{id}/*"),
            ),
            ("/ünï/ço-dé", Some("/ünï/ço-dé")),
            ("data:text/plain,hello", None),
            ("", None),
        ] {
            assert_eq!(template(url).as_deref(), expected, "{url}");
        }
        assert!(template(&"/é".repeat(10)).is_some());
        assert_eq!(template(&format!("/{}", "é".repeat(1000))).map(|route| route.len()), Some(255));
    }
}
