//! The command `key`: a fresh key, and the line of the configuration that knows it by its hash.
//!
//! It stores nothing. Invariant: the key itself is said once, here.

use anyhow::Context;
use ethogram_collector::Secret;
use rand::TryRngCore;
use rand::rngs::OsRng;

/// 192 random bits: nobody guesses them, and they fit a header or a query without escapes.
const KEY_BYTES: usize = 24;

/// How every key begins, so that whoever finds one in a text knows what it opens.
const MARK: &str = "eth_";

/// Prints a key and what to write into the configuration.
pub(crate) fn print() -> anyhow::Result<()> {
    let mut bytes = [0_u8; KEY_BYTES];
    OsRng.try_fill_bytes(&mut bytes).context("the system gives no random bytes")?;
    let key = bytes.iter().fold(String::from(MARK), |text, byte| format!("{text}{byte:02x}"));
    print!("{}", told(&key));
    Ok(())
}

fn told(key: &str) -> String {
    let hash = String::from(Secret::from(key).hashed());
    format!(
        "# The key. It is shown this once; give it to its sender and keep it nowhere else.\n\
         {key}\n\
         # In ethogram.toml below [collector], for pages or for services, with a name of yours:\n\
         keys = [{{ id = \"NAME\", key = \"{hash}\", app = \"default\", service = \"web\" }}]\n\
         tokens = [{{ id = \"NAME\", token = \"{hash}\", app = \"default\" }}]\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The digest of `abc`, as FIPS 180-4 publishes it.
    #[test]
    fn the_line_knows_the_key_by_its_hash() {
        let text = told("abc");
        let hash = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert!(text.contains("\nabc\n"), "{text}");
        assert_eq!(text.matches(hash).count(), 2, "{text}");
        toml::from_str::<toml::Table>(&text.replace("\nabc\n", "\n")).expect("it can be pasted");
    }
}
