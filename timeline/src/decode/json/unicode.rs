//! The bytes of a body → Unicode text. What is none (a lone surrogate in a page's title, a byte that
//! is not UTF-8) becomes U+FFFD rather than the loss of a request.
//!
//! Invariant: the text is at most [`GROWTH_BYTES_MAX`] longer than the body, and is the body itself
//! where there is nothing to mend.

use std::borrow::Cow;

use super::JsonError;

/// How much longer the text may be than the body: 32,768 places that are not UTF-8. More is no slip, but
/// another encoding, or an attempt to have a byte take three.
const GROWTH_BYTES_MAX: usize = 64 * 1024;

/// What `\u` needs behind it to be an escape.
const ESCAPE_DIGITS: usize = 4;

/// Reads a body as text.
pub(super) fn text(body: &[u8]) -> Result<Cow<'_, str>, JsonError> {
    let text = valid(body)?;
    if text.contains("\\ud") || text.contains("\\uD") {
        return Ok(Cow::Owned(without_lone_surrogates(&text)));
    }
    Ok(text)
}

fn valid(body: &[u8]) -> Result<Cow<'_, str>, JsonError> {
    if let Ok(text) = std::str::from_utf8(body) {
        return Ok(Cow::Borrowed(text));
    }
    let mut text = String::with_capacity(body.len() + GROWTH_BYTES_MAX);
    for chunk in body.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
        if text.len() > body.len() + GROWTH_BYTES_MAX {
            let message = String::from("the body is not UTF-8");
            return Err(JsonError { path: String::new(), message });
        }
    }
    Ok(Cow::Owned(text))
}

/// Writes `\ufffd` for each escape that is half of a pair without its other half.
fn without_lone_surrogates(text: &str) -> String {
    let mut mended = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        mended.push_str(before);
        let (length, is_lone) = match (unit(escape), escape.get(6..).and_then(unit)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (12, false),
            (Some(0xd800..=0xdfff), _) => (6, true),
            (Some(_), _) => (6, false),
            // Another escape, or what the reader of JSON will find wrong.
            (None, _) => (1 + escape[1..].chars().next().map_or(0, char::len_utf8), false),
        };
        mended.push_str(if is_lone { "\\ufffd" } else { &escape[..length] });
        rest = &escape[length..];
    }
    mended.push_str(rest);
    mended
}

/// The code unit of the escape that the text begins with.
fn unit(escape: &str) -> Option<u16> {
    let digits = escape.strip_prefix("\\u")?.get(..ESCAPE_DIGITS)?;
    // The parser would take a sign for a digit.
    digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then_some(())?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_unicode_is_replaced() {
        for (body, expected) in [
            (&b"plain"[..], "plain"),
            (b"a\xffb", "a\u{fffd}b"),
            (b"cut \xe2\x82", "cut \u{fffd}"),
            (br"\ud83d\ude00", r"\ud83d\ude00"),
            (br"\uD83D\uDE00\ud800", r"\uD83D\uDE00\ufffd"),
            (br"\ud800\ud83d\ude00", r"\ufffd\ud83d\ude00"),
            (br"\udc00\ud800x", r"\ufffd\ufffdx"),
            (br"\ud800\n\\ud800", r"\ufffd\n\\ud800"),
            (br"\\\ud800", r"\\\ufffd"),
            (br"\u00e9\ud80", r"\u00e9\ud80"),
            ("\\\u{e9}\\ud8+0\\".as_bytes(), "\\\u{e9}\\ud8+0\\"),
        ] {
            assert_eq!(text(body).as_deref(), Ok(expected), "{}", body.escape_ascii());
        }
        let borrowed = text(br"\u00e9").expect("text");
        assert!(matches!(borrowed, Cow::Borrowed(_)), "nothing is copied where nothing is mended");
    }

    #[test]
    fn another_encoding_is_refused() {
        let some = b"\xffa".repeat(GROWTH_BYTES_MAX / 2);
        assert!(text(&some).is_ok());
        let many = b"\xffa".repeat(GROWTH_BYTES_MAX / 2 + 1);
        assert!(text(&many).is_err());
    }
}
