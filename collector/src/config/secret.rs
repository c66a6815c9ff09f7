//! A key or token as the configuration holds it: in plain text, or as its hash.
//!
//! Invariants: it is never printed; a role that serves holds hashes only (`Config::seal`) and compares
//! hashes only, so the time of an answer tells no key; a hash itself opens nothing. A key written in plain
//! text was in memory while it was read, and what was freed may still hold it: whoever wants it never to
//! have been there writes its hash.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A secret, written as it is or as `sha256:` and 64 hexadecimal digits.
///
/// SHA-256 without salt or stretching is right for keys that a machine drew: there is nothing to guess in
/// 192 random bits, and a slow hash per request would be a gift to those who flood.
#[derive(Clone, Deserialize, Serialize)]
#[serde(from = "String", into = "String")]
pub struct Secret(Form);

#[derive(Clone)]
enum Form {
    Plain(String),
    Hash(Hash),
}

type Hash = [u8; 32];

/// How a hash begins in the configuration.
const MARK: &str = "sha256:";

impl Secret {
    /// The secret as it was written; `None` where only its hash is known.
    pub fn plain(&self) -> Option<&str> {
        match &self.0 {
            Form::Plain(text) => Some(text),
            Form::Hash(_) => None,
        }
    }

    /// The same secret, known by its hash alone.
    pub fn hashed(&self) -> Self {
        Self(Form::Hash(self.hash()))
    }

    /// Whether this text, which somebody showed, is the secret. It takes as long for one that is
    /// nearly right as for one that is not.
    pub(crate) fn is(&self, shown: &Shown) -> bool {
        let pairs = self.hash().into_iter().zip(shown.0);
        let differences = pairs.fold(0, |differences, (left, right)| differences | (left ^ right));
        std::hint::black_box(differences) == 0
    }

    /// Whether it looks like a hash that was cut or mistyped.
    pub(super) fn is_mistyped(&self) -> bool {
        self.plain().is_some_and(|text| text.starts_with(MARK))
    }

    pub(super) fn hash(&self) -> Hash {
        match &self.0 {
            Form::Plain(text) => Sha256::digest(text.as_bytes()).into(),
            Form::Hash(hash) => *hash,
        }
    }
}

/// What a sender showed, hashed once for all comparisons.
pub(crate) struct Shown(Hash);

impl Shown {
    pub(crate) fn new(shown: &[u8]) -> Self {
        Self(Sha256::digest(shown).into())
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        let hash = text.strip_prefix(MARK).and_then(parse);
        Self(hash.map_or(Form::Plain(text), Form::Hash))
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::from(String::from(text))
    }
}

/// As it would be written in the configuration.
impl From<Secret> for String {
    fn from(secret: Secret) -> Self {
        match secret.0 {
            Form::Plain(text) => text,
            Form::Hash(hash) => {
                hash.iter().fold(Self::from(MARK), |text, byte| format!("{text}{byte:02x}"))
            }
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(..)")
    }
}

fn parse(digits: &str) -> Option<Hash> {
    let mut hash = Hash::default();
    if digits.len() != 2 * hash.len() || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The digest of `abc`, as FIPS 180-4 publishes it.
    const ABC: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_secret_is_known_in_both_forms() {
        let check = |written: &str, shown: &str, expected: bool| {
            let secret = Secret::from(written);
            let shown = Shown::new(shown.as_bytes());
            assert_eq!(secret.is(&shown), expected, "{written}");
            assert_eq!(secret.hashed().is(&shown), expected, "{written}");
        };
        check("abc", "abc", true);
        check(ABC, "abc", true);
        check(&ABC.to_uppercase().replace("SHA", "sha"), "abc", true);
        check(ABC, ABC, false);
        check("abc", ABC, false);
        check("abc", "abd", false);
        check("abc", "", false);
        check("abc", "abcd", false);
        assert_eq!(String::from(Secret::from("abc").hashed()), ABC);
        assert_eq!(String::from(Secret::from("abc")), "abc");
        assert_eq!(Secret::from("abc").hashed().plain(), None);
        assert!(!format!("{:?}", Secret::from("abc")).contains("abc"));
    }

    #[test]
    fn a_cut_hash_is_no_plain_key() {
        assert!(Secret::from(&ABC[..ABC.len() - 1]).is_mistyped());
        assert!(Secret::from(ABC.replace('b', "g").as_str()).is_mistyped());
        assert!(!Secret::from(ABC).is_mistyped());
        assert!(!Secret::from("abc").is_mistyped());
    }
}
