//! `ethogram demo`: both roles and a simulated world, so that the first look is not empty.
//!
//! The world is a child process of its own: it sends like any browser and any service, over the
//! network, and if it takes a core or panics the roles do not notice.
//!
//! Invariant: demo data never mixes with the user's. It has its own data directory, whatever the
//! configuration file says, unless the flag itself names one.

use std::fmt::Write;
use std::net::SocketAddr;

use ethogram_collector::TlsConfig;

use crate::config::{Config, ConfigError, Written};
use crate::serve::{Guest, Launch, Ready, reachable};

/// Where demo data is kept. Deleting it makes the demo new.
const DATA_DIR: &str = "data-demo";

/// Both roles and a simulated world of users and services, so that the first look is not empty
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Seed of the simulated world [default: another one each time]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// How busy the simulated world is, as a factor
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    rate: f64,
}

/// `written`, with the demo's own data directory in front of file and environment.
pub(crate) fn separate(written: Written) -> Written {
    Written { command: Some(("demo", "data_dir", DATA_DIR)), ..written }
}

/// Both roles, the world, and a welcome.
pub(crate) fn launch(
    mut config: Config,
    written: Written,
    options: &Options,
) -> Result<Launch, ConfigError> {
    let key = write_key(&config)?;
    config.collector.seal();
    let data_dir = config.data_dir.display().to_string();
    let welcome_key = key.clone();
    // As it was typed: from a build directory `ethogram` alone would not be found.
    let program = std::env::args().next().unwrap_or_else(|| "ethogram".to_owned());
    Ok(Launch {
        config,
        written,
        guest: Some(world(options, key)),
        on_ready: Box::new(move |ready| say(&welcome(ready, &program, &welcome_key, &data_dir))),
    })
}

fn world(options: &Options, key: String) -> Guest {
    // The same seed gives the same sessions, which the store would rightly take for duplicates;
    // so every start has one of its own.
    let seed = options.seed.unwrap_or_else(rand::random);
    let rate = options.rate;
    Guest {
        name: "simulate",
        arguments: Box::new(move |ready, start| {
            let mut arguments =
                vec!["simulate".to_owned(), "demo".to_owned(), "--supervised".to_owned()];
            let seed = seed.wrapping_add(start);
            arguments.push(format!("--seed={seed}"));
            arguments.push(format!("--rate={rate}"));
            arguments.push(format!("--write-key={key}"));
            arguments.push(format!("--beacon={}", url(ready, "beacon")));
            arguments.push(format!("--otlp-grpc={}", url(ready, "otlp_grpc")));
            arguments.push(format!("--otlp-http={}", url(ready, "otlp_http")));
            arguments
        }),
    }
}

/// The key the world's browsers send with. The world speaks plain text and has no tokens.
fn write_key(config: &Config) -> Result<String, ConfigError> {
    let wrong = |problem: &str| Err(ConfigError::Together(format!("for the demo, {problem}")));
    let collector = &config.collector;
    let is_set = |tls: &TlsConfig| tls.certificate_file.is_some();
    if is_set(&collector.beacon.tls) || is_set(&collector.otlp.tls) {
        return wrong("collector.beacon.tls and collector.otlp.tls must not be set");
    }
    match collector.keys.iter().find_map(|key| key.key.plain()) {
        Some(key) => Ok(key.to_owned()),
        None => wrong("collector.keys must have a key in plain text"),
    }
}

/// The address of a listener for this machine. Both roles serve, so it is bound.
fn url(ready: &Ready, listener: &str) -> String {
    let address = ready.get(listener).unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
    format!("http://{}", reachable(address))
}

/// What a newcomer needs, on one screen.
fn welcome(ready: &Ready, program: &str, key: &str, data_dir: &str) -> String {
    let query = url(ready, "query");
    let elsewhere = if query == crate::sql::DEFAULT_URL {
        String::new()
    } else {
        format!("--query-url {query} ")
    };
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        writeln!(text, "  {name:<8}{value}").expect("writing to a string cannot fail");
    };
    line("page", &format!("{query}/"));
    line(
        "beacon",
        &format!(
            "<script src=\"{}/ethogram.js\" data-key=\"{key}\"></script>",
            url(ready, "beacon")
        ),
    );
    line("OTLP", &format!("gRPC {}   HTTP {}", url(ready, "otlp_grpc"), url(ready, "otlp_http")));
    line("SQL", &format!("{program} sql {elsewhere}\"{EXAMPLE}\""));
    line("data", &format!("{data_dir} (delete it to begin anew)"));
    format!(
        "\nEthogram is running, with a simulated world of users and services.\n\n{text}\nStop it with Ctrl-C.\n\n"
    )
}

/// The question of the front page: whose tail is long, and how often did they try.
const EXAMPLE: &str = "SELECT region, count(*) AS requests, avg(attempts) AS attempts, \
    hdr_quantile(hdr(total_us), 0.99) / 1000 AS p99_ms \
    FROM requests WHERE layer = 'browser' GROUP BY region ORDER BY p99_ms DESC";

/// Standard output may be closed; the demo runs all the same.
fn say(text: &str) {
    use std::io::Write;
    std::io::stdout().write_all(text.as_bytes()).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready() -> Ready {
        let mut ready = Ready::default();
        for (name, port) in
            [("admin", 4315), ("beacon", 4316), ("otlp_grpc", 4317), ("otlp_http", 4318)]
        {
            ready.insert(name, SocketAddr::from(([127, 0, 0, 1], port)));
        }
        ready.insert("query", SocketAddr::from(([0, 0, 0, 0], 4319)));
        ready
    }

    #[test]
    fn the_welcome_holds_what_a_newcomer_needs() {
        let text = welcome(&ready(), "ethogram", "local", "data-demo");
        for part in [
            "http://127.0.0.1:4319/\n",
            "<script src=\"http://127.0.0.1:4316/ethogram.js\" data-key=\"local\"></script>",
            "http://127.0.0.1:4317",
            "http://127.0.0.1:4318",
            "ethogram sql \"SELECT",
            "data-demo",
        ] {
            assert!(text.contains(part), "{part:?} is missing in:\n{text}");
        }
        let mut moved = ready();
        moved.insert("query", SocketAddr::from(([127, 0, 0, 1], 5000)));
        assert!(
            welcome(&moved, "ethogram", "local", "x")
                .contains("ethogram sql --query-url http://127.0.0.1:5000 \"SELECT")
        );
    }

    #[test]
    fn demo_data_stays_apart_unless_the_flag_says_otherwise() {
        let check = |flags: &[(&str, &str)], expected: &str| {
            let flags =
                flags.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
            let written = separate(Written { flags, ..Written::default() });
            let environment = [("ETHOGRAM_DATA_DIR".to_owned(), "data".to_owned())];
            let config = written.load(environment).expect("it is a good configuration");
            assert_eq!(config.data_dir.to_str(), Some(expected));
        };
        check(&[], "data-demo");
        check(&[("data_dir", "mine")], "mine");
    }

    #[test]
    fn every_start_of_the_world_has_its_own_seed() {
        let guest = world(&Options { seed: Some(7), rate: 2.0 }, "local".to_owned());
        let arguments = (guest.arguments)(&ready(), 1);
        for argument in
            ["demo", "--supervised", "--seed=8", "--rate=2", "--beacon=http://127.0.0.1:4316"]
        {
            assert!(
                arguments.iter().any(|given| given == argument),
                "{argument} is missing in {arguments:?}"
            );
        }
    }
}
