//! Secrets in a text, by what stands before them: `password=`, `Authorization: Bearer`, a cookie's
//! name, a URL in front of its query. And tokens that give themselves away.
//!
//! It looks at words. What stands inside of a word is the business of [`super::free`].

use super::text;

/// What stands before a secret.
const SECRETS: &[&str] = &[
    "authorization",
    "password",
    "passwd",
    "pwd",
    "secret",
    "token",
    "access_token",
    "id_token",
    "refresh_token",
    "api_key",
    "apikey",
    "api-key",
    "x-api-key",
    "cookie",
    "set-cookie",
    "client_secret",
    "session_token",
    "jsessionid",
    "sessionid",
];

/// Kinds of credentials, which stand before them without a sign in between.
const SCHEMES: &[&str] = &["bearer", "basic", "digest"];

const SECRET: &str = "{secret}";

/// Words that are URLs, paths or secrets, replaced; everything else as it was.
pub(super) fn removed(text: &str) -> String {
    let is_edge = |letter: char| letter.is_whitespace() || "\"'<>()`|".contains(letter);
    let mut result = String::with_capacity(text.len());
    let (mut before, mut rest) = (Before::Nothing, text);
    while !rest.is_empty() {
        let edge = rest.find(|letter| !is_edge(letter)).unwrap_or(rest.len());
        result.push_str(&rest[..edge]);
        rest = &rest[edge..];
        let end = rest.find(is_edge).unwrap_or(rest.len());
        if end > 0 {
            before = push_word(&rest[..end], before, &mut result);
        }
        rest = &rest[end..];
    }
    result
}

/// What the words so far say of the next.
#[derive(Clone, Copy, PartialEq)]
enum Before {
    Nothing,
    /// The name of a secret; a sign must follow before it counts.
    Name,
    /// A secret follows.
    Sign,
    /// A kind of credentials.
    Scheme,
}

fn push_word(word: &str, before: Before, result: &mut String) -> Before {
    let bare = word.trim_matches(|letter: char| ",;.{}[]".contains(letter));
    let lower = bare.to_ascii_lowercase();
    if SCHEMES.contains(&lower.as_str()) {
        result.push_str(word);
        return if before == Before::Sign { before } else { Before::Scheme };
    }
    if matches!(bare, ":" | "=" | "") {
        result.push_str(word);
        let is_sign = before == Before::Name && !bare.is_empty();
        return if is_sign { Before::Sign } else { before };
    }
    let is_credential =
        before == Before::Scheme && bare.contains(|c: char| c == '=' || c.is_ascii_digit());
    if (before == Before::Sign || is_credential || is_jwt(bare)) && !word.contains(SECRET) {
        result.push_str(SECRET);
        // Cookies are several in a row.
        let goes_on = before == Before::Sign && word.ends_with(';');
        result.push_str(if goes_on { ";" } else { "" });
        return if goes_on { before } else { Before::Nothing };
    }
    if bare.contains("://") || (bare.starts_with('/') && bare.len() > 1) {
        result.push_str(&text::url(word));
        return Before::Nothing;
    }
    push_pairs(word, result)
}

/// `a=b&c=d`, with what stands behind the name of a secret replaced; a last name without a value
/// waits for the next word.
fn push_pairs(word: &str, result: &mut String) -> Before {
    let mut before = Before::Nothing;
    for pair in word.split_inclusive(['&', ';', ',', '?']) {
        let Some(sign) = pair.find(['=', ':']) else {
            before = if is_secret(pair) { Before::Name } else { Before::Nothing };
            result.push_str(pair);
            continue;
        };
        let (name, value) = pair.split_at(sign + 1);
        result.push_str(name);
        before = Before::Nothing;
        if !is_secret(&name[..sign]) {
            result.push_str(value);
        } else if value.is_empty() {
            before = Before::Sign;
        } else if value.starts_with(SECRET) {
            result.push_str(value);
        } else {
            result.push_str(SECRET);
            result.extend(value.chars().last().filter(|last| "&;,?}]".contains(*last)));
        }
    }
    before
}

fn is_secret(name: &str) -> bool {
    let bare = name.trim_matches(|letter: char| !letter.is_ascii_alphanumeric());
    let last = bare.rsplit(['.', '?', '&', ';', '{', '[']).next().unwrap_or(bare);
    SECRETS.contains(&last.to_ascii_lowercase().as_str())
}

pub(super) fn is_jwt(word: &str) -> bool {
    word.starts_with("eyJ") && word.len() > 20 && word.matches('.').count() >= 2
}
