//! `ethogram snippet`: what to paste into a page.
//!
//! It reads the configuration and asks no running program: the script's version and its hash are
//! those of this binary, which is the one that will serve them.

use clap::Args;
use ethogram_collector::script_tag;

use crate::config::Config;

/// Keeps calls that are made before the script has arrived. `init` is not among them: it is how the
/// script tells itself from this.
const STUB: &str = "<script>window.ethogram||(kept=>{ethogram=kept;for(let name of[\"consent\",\"identify\",\"record\",\"stop\"])kept[name]=(...given)=>{kept.push([name,...given])};kept.attempt=(number,send)=>send&&send();kept.operation=name=>{let now=()=>performance.now(),calls=[],keep=name=>given=>{calls.push([name,given,now()])};kept.push([\"operation\",name,now(),calls]);return{phase:keep(\"phase\"),end:keep(\"end\")}}})([])</script>";

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Where browsers reach the beacon listener; best your own site, which passes the script's and
    /// the beacon's paths on [default: the listener's address]
    #[arg(long, value_name = "URL")]
    origin: Option<String>,
    /// Write key of the page [default: the first that is configured in plain text]
    #[arg(long, value_name = "KEY")]
    write_key: Option<String>,
}

/// Stands for a key of which only the hash is configured.
const UNKNOWN_KEY: &str = "YOUR-WRITE-KEY";

/// The two ways to load this version.
pub(crate) fn text(config: &Config, options: &Options) -> String {
    let collector = &config.collector;
    let origin =
        options.origin.clone().unwrap_or_else(|| format!("http://{}", config.beacon_listen));
    let first = collector.keys.iter().find_map(|key| key.key.plain());
    let key = options.write_key.as_deref().or(first).unwrap_or(UNKNOWN_KEY);
    let tag = |more: &str| script_tag(&collector.beacon, &origin, key, more);
    format!(
        "<!-- First in <head>: it sees every request of the page, which waits for it. -->\n{}\n\n\
         <!-- Or: the page waits for nothing. Requests before it arrives are not seen, calls are kept. -->\n{STUB}\n{}",
        tag(""),
        tag("async "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_are_pinned() {
        let check = |origin: Option<&str>, key: Option<&str>, expected: &[&str]| {
            let options =
                Options { origin: origin.map(Into::into), write_key: key.map(Into::into) };
            let text = text(&Config::default(), &options);
            for part in expected {
                assert_eq!(text.matches(part).count(), 2, "{part} in {text}");
            }
        };
        let listener = format!("src=\"http://{}/ethogram-", Config::default().beacon_listen);
        check(None, None, &[&listener, "integrity=\"sha384-", "data-key=\"local\""]);
        check(
            Some("https://shop.example"),
            Some("k1"),
            &["src=\"https://shop.example/ethogram-", "data-key=\"k1\""],
        );
    }
}
