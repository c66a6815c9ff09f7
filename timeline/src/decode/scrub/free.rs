//! Personal data in texts that nobody gave a form: names of spans, messages, bodies, statements.
//!
//! Replaced are secrets and queries of URLs ([`secrets`]), e-mail addresses, IP addresses (by their
//! network), long numbers, and UUIDs in paths. Not names of people: no list knows them.
//!
//! A number or a UUID becomes `{id3fa}`: twelve bits of its checksum, so that two orders of one page
//! nearly always stay two, and far too few to find either again.
//!
//! Invariants: the result holds nothing that a second pass would change; a text without anything
//! of the kind is not copied.

use super::{secrets, text};

/// Digits in a row that are a number of somebody: telephone numbers have nine and more, and times
/// of day, sizes and ports have fewer.
const DIGITS_MIN: usize = 9;

/// The same in a path, where numbers are nearly always ids.
const PATH_DIGITS_MIN: usize = 7;

/// Digits of a number written in groups, as on cards; those of cards that are one run.
const CARD_DIGITS: std::ops::RangeInclusive<usize> = 13..=19;

/// Digits of one such group: dates have groups of two.
const GROUP_DIGITS_MIN: usize = 3;

/// Letters and digits of one word in a path that make it a token: twice what route names reach.
const TOKEN_BYTES_MIN: usize = 32;

const EMAIL: &str = "{email}";

/// The text without personal data; `None` where there is none.
pub(super) fn scrubbed(text: &str) -> Option<String> {
    if !is_worth_a_look(text) {
        return None;
    }
    let without_secrets = secrets::removed(text);
    let result = personal(&without_secrets, DIGITS_MIN, false);
    (result != text).then_some(result)
}

/// A path without what names somebody in it.
pub(super) fn path(path: &str) -> String {
    let mut result = String::with_capacity(path.len());
    for (index, segment) in path.split('/').enumerate() {
        if index > 0 {
            result.push('/');
        }
        if segment.contains("%40") {
            result.push_str(EMAIL);
        } else if is_token(segment) {
            push_tag(segment, &mut result);
        } else {
            result.push_str(&personal(segment, PATH_DIGITS_MIN, true));
        }
    }
    result
}

/// Whether anything at all could be in the text: one pass, and most texts end here.
fn is_worth_a_look(text: &str) -> bool {
    let (mut digits, mut run, mut dots, mut colons) = (0_usize, 0_usize, 0_usize, 0_usize);
    for byte in text.bytes() {
        match byte {
            b'@' | b'?' | b'=' | b'/' | b' ' | b'#' => return true,
            b'0'..=b'9' => {
                run += 1;
                digits = digits.max(run);
                continue;
            }
            b'.' => dots += 1,
            b':' => colons += 1,
            _ => {}
        }
        run = 0;
    }
    digits >= DIGITS_MIN || dots >= 2 || colons >= 1
}

/// Letters and digits mixed beyond what anybody names a page.
fn is_token(segment: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    secrets::is_jwt(segment)
        || (segment.len() >= TOKEN_BYTES_MIN
            && !segment.contains("{id")
            && uuid_at(segment, 0) != Some(segment.len())
            && segment.bytes().all(is_part)
            && segment.bytes().any(|byte| byte.is_ascii_digit()))
}

/// E-mail addresses, IP addresses and long numbers replaced; of a path also UUIDs.
fn personal(text: &str, digits_min: usize, is_path: bool) -> String {
    let mut result = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(letter) = text[at..].chars().next() {
        let is_start = !text[..at].ends_with(|before: char| before.is_ascii_alphanumeric());
        let found = if !letter.is_ascii_alphanumeric() && !"+:._%-".contains(letter) {
            None
        } else {
            find(text, at, is_start, digits_min, is_path, &mut result)
        };
        match found {
            Some(end) => at = end,
            None => {
                result.push(letter);
                at += letter.len_utf8();
            }
        }
    }
    result
}

/// Replaces what begins at `at`; says where it ends.
fn find(
    text: &str,
    at: usize,
    is_start: bool,
    digits_min: usize,
    is_path: bool,
    result: &mut String,
) -> Option<usize> {
    if is_start {
        if let Some(end) = email_at(text, at) {
            result.push_str(EMAIL);
            return Some(end);
        }
        if let Some(end) = uuid_at(text, at) {
            if is_path {
                push_tag(&text[at..end], result)
            } else {
                result.push_str(&text[at..end])
            }
            return Some(end);
        }
        if let Some((network, end)) = address_at(text, at) {
            result.push_str(&network);
            return Some(end);
        }
    }
    let end = number_at(text, at, digits_min, is_start, is_path)?;
    push_tag(&text[at..end], result);
    Some(end)
}

fn run(text: &str, at: usize, is_part: impl Fn(u8) -> bool) -> usize {
    at + text.as_bytes()[at..].iter().take_while(|byte| is_part(**byte)).count()
}

/// Local part, `@`, and a domain with a dot.
fn email_at(text: &str, at: usize) -> Option<usize> {
    let is_local =
        |byte: u8| byte.is_ascii_alphanumeric() || b"._%+-".contains(&byte) || byte >= 0x80;
    let is_domain =
        |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte) || byte >= 0x80;
    let sign = run(text, at, is_local);
    if sign == at || text.as_bytes().get(sign) != Some(&b'@') {
        return None;
    }
    let end = run(text, sign + 1, is_domain);
    let domain = text[sign + 1..end].trim_end_matches(['.', '-']);
    domain.contains('.').then_some(sign + 1 + domain.len())
}

/// Eight, four, four, four and twelve hexadecimal digits.
fn uuid_at(text: &str, at: usize) -> Option<usize> {
    let word = text.as_bytes().get(at..at + 36)?;
    let is_right = |(index, byte): (usize, &u8)| match index {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    let ends = text.as_bytes().get(at + 36).is_none_or(|byte| !byte.is_ascii_alphanumeric());
    (ends && word.iter().enumerate().all(is_right)).then_some(at + 36)
}

/// An IP address's network, and where the address ends.
fn address_at(text: &str, at: usize) -> Option<(String, usize)> {
    let end = run(text, at, |byte| byte.is_ascii_hexdigit() || b":.".contains(&byte));
    let word = text[at..end].trim_end_matches(['.', ':']);
    let follows = text.as_bytes().get(at + word.len());
    if follows.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
        || !word.bytes().any(|byte| byte.is_ascii_digit())
        || word.matches(':').count() + word.matches('.').count() < 2
    {
        return None;
    }
    let address = text::address(word)?;
    let network = text::network(address);
    let port = word.rsplit_once(':').filter(|_| address.is_ipv4() && !word.starts_with(':'));
    let port = port.filter(|(host, _)| !host.contains(':')).map(|(_, port)| port);
    Some((port.map_or(network.to_string(), |port| format!("{network}:{port}")), at + word.len()))
}

/// A long number: one run, or groups as on a card or in a telephone number.
fn number_at(text: &str, at: usize, min: usize, is_start: bool, is_path: bool) -> Option<usize> {
    let bytes = text.as_bytes();
    let whole = run(text, at, |byte| byte.is_ascii_digit());
    if is_path {
        return (whole - at >= min).then_some(whole);
    }
    let plus = usize::from(bytes[at] == b'+');
    if !is_start || !bytes.get(at + plus).is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let is_alone = at == 0 && whole == text.len();
    if is_alone {
        // A value by itself is what its key says it is, unless it is a card's number.
        return is_card(&text[at..whole]).then_some(whole);
    }
    let (mut end, mut digits) = (at + plus, 0);
    loop {
        let group = run(text, end, |byte| byte.is_ascii_digit());
        if digits > 0 && plus == 0 && group - end < GROUP_DIGITS_MIN {
            end -= 1;
            break;
        }
        digits += group - end;
        end = group;
        let separates = bytes.get(end).is_some_and(|byte| b" -".contains(byte));
        if !separates || !bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
            break;
        }
        end += 1;
    }
    let ends = |end: usize| bytes.get(end).is_none_or(|byte| !byte.is_ascii_alphanumeric());
    let grouped = (plus == 1 && digits >= min) || CARD_DIGITS.contains(&digits);
    match () {
        () if grouped && ends(end) => Some(end),
        () if whole - at >= min && ends(whole) => Some(whole),
        () => None,
    }
}

/// By the check digit that every card's number has.
fn is_card(digits: &str) -> bool {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let digit = u32::from(digit - b'0') * if place % 2 == 1 { 2 } else { 1 };
            digit / 10 + digit % 10
        })
        .sum();
    CARD_DIGITS.contains(&digits.len()) && sum.is_multiple_of(10)
}

/// Twelve bits of a checksum in place of `what`.
pub(super) fn tag(what: &str) -> String {
    format!("{{id{:03x}}}", crc32c::crc32c(what.as_bytes()) & 0xfff)
}

fn push_tag(what: &str, result: &mut String) {
    result.push_str(&tag(what));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let once = scrubbed(text).unwrap_or_else(|| String::from(text));
        assert_eq!(once, expected, "{text}");
        assert_eq!(scrubbed(&once), None, "a second time: {once}");
    }

    #[test]
    fn texts_lose_what_names_somebody() {
        for (text, expected) in [
            ("no user jane.doe+x@shop.example.", "no user {email}."),
            ("from 203.0.113.77:4711 to 2001:db8:1:2::3", "from 203.0.113.0:4711 to 2001:db8:1::"),
            ("card 4111 1111 1111 1111 declined", "card {idd4b} declined"),
            ("GET /search?q=jane#top HTTP", "GET /search HTTP"),
            ("at https://u:p@a.example/b?token=x now", "at https://a.example/b now"),
            ("Authorization: Bearer abc.def", "Authorization: Bearer {secret}"),
            ("Cookie: a=1; b=2; c", "Cookie: {secret}; {secret}; {secret}"),
            (r#"{"password":"hunter2","n":1}"#, r#"{"password":"{secret}","n":1}"#),
            ("x?token=abc&n=1", "x?token={secret}&n=1"),
            ("password = hunter2", "password = {secret}"),
            ("user,jane@shop.example,x", "user,{email},x"),
            ("jane@shop.example", "{email}"),
            ("4111111111111111", "{idd4b}"),
        ] {
            let expected = expected.replace("{idd4b}", &tagged(text));
            check(text, &expected);
        }
    }

    /// The tag of the number in a text.
    fn tagged(text: &str) -> String {
        let mut tag = String::new();
        let digits = text.trim_matches(|letter: char| !letter.is_ascii_digit());
        push_tag(digits, &mut tag);
        tag
    }

    #[test]
    fn texts_that_name_nobody_stay() {
        for text in [
            "",
            "SELECT a / b FROM c WHERE d = ? AND e = 12345",
            "std::io::Error at src/main.rs:12:34, 12:30:45 2026-11-21 12:30:45.123456789Z",
            "123e4567-e89b-12d3-a456-426614174000",
            "0af7651916cd43dd8448eb211c80319c",
            "1700000000000000001",
            "the password must be longer, a basic understanding of tokens",
            "really? 50 % of 1 2 3 4 5 6 7 8 9 10 11 12 13",
            "node 1.2.3 of v10.4",
            "ünï@ö",
        ] {
            check(text, text);
        }
    }

    #[test]
    fn paths_lose_ids_that_name_somebody() {
        for (text, is_changed) in [
            ("/api/v2/orders/42/items", false),
            ("/u/123e4567-e89b-12d3-a456-426614174000/cart", true),
            ("/orders/4711081500", true),
            ("/order-4711081500.pdf", true),
            ("/users/jane@shop.example", true),
            ("/users/jane%40shop.example", true),
            ("/reset/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmNHl0w", true),
            ("/reset/0123456789abcdef0123456789abcdef", true),
            ("/app.3f2a9b8c.js", false),
            ("/a-long-name-of-a-page-about-nothing-at-all", false),
            ("/at/203.0.113.77", true),
        ] {
            let once = path(text);
            assert_eq!(once != text, is_changed, "{text} is {once}");
            assert_eq!(path(&once), once, "a second time");
        }
        assert_ne!(path("/orders/4711081500"), path("/orders/4711081501"));
    }
}
