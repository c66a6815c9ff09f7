//! Ethogram: what users did and what servers did, on one timeline, in SQL.
//!
//! This is the one binary and the only place that reads arguments, environment, wall clock and
//! signals. Flow: arguments → `config` → `serve` (the roles, supervised or alone) or one of the
//! small commands: `sql`, `simulate`, `demo`, snippet, verify, check and key.
//!
//! Exit codes: 0 done or stopped as asked; 1 failed while working; 2 wrong usage or
//! configuration; 3 an address or the data directory is taken; 130 interrupted twice.

mod clock;
mod config;
mod demo;
mod key;
mod serve;
mod simulate;
mod snippet;
mod sql;
mod telemetry;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use ethogram_collector::CollectorError;

use config::{Config, ConfigError, Written, with_arguments};
use serve::{
    EXIT_CONFIGURATION, EXIT_TAKEN, InUse, Launch, ListenError, Refused, Role, Stop, Supervised,
};

/// What the help says below the flags.
const AFTER_HELP: &str = "Every flag of the configuration is a key in ethogram.toml and a variable ETHOGRAM_*; \
    flags beat variables, variables beat the file.\n\
    Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 address or data directory taken, 130 interrupted twice.";

/// Real traffic with known truth, from a seed, to a running collector or into a log
#[derive(Debug, Args)]
struct Simulate {
    /// The scenario
    #[arg(value_parser = scenarios())]
    scenario: String,
    /// Seed: the same seed gives the same world
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Address of the collector's beacon listener
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:4316")]
    beacon: String,
    /// Address of the collector's OTLP/gRPC listener
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:4317")]
    otlp_grpc: String,
    /// Address of the collector's OTLP/HTTP listener
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:4318")]
    otlp_http: String,
    /// Write key of the simulated browsers
    #[arg(long, value_name = "KEY", default_value = "local")]
    write_key: String,
    /// How busy the world is, as a factor
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    rate: f64,
    /// How long, such as 30s or 5m [default: until stopped]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// Instead of sending: write the log of this data directory, as fast as the machine can
    #[arg(long, value_name = "DIR", requires = "duration")]
    to_log: Option<PathBuf>,
    /// File that gets what really happened, as JSON, at the end
    #[arg(long, value_name = "FILE")]
    truth_file: Option<PathBuf>,
    /// File that gets every send, request and session, as a line of JSON each
    #[arg(long, value_name = "FILE")]
    details_file: Option<PathBuf>,
    /// What the world has beside what its scenario has, such as tabs,hedges
    #[arg(long, value_name = "WHAT", value_enum, value_delimiter = ',')]
    with: Vec<simulate::With>,
    /// What the world is to do without, such as retries,cache
    #[arg(long, value_name = "WHAT", value_enum, value_delimiter = ',')]
    without: Vec<simulate::Without>,
    #[command(flatten)]
    trouble: simulate::Trouble,
}

fn main() -> ExitCode {
    match run(&command().get_matches()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ethogram: {}", message(&error));
            ExitCode::from(exit_code(&error))
        }
    }
}

fn command() -> Command {
    let supervised =
        Arg::new("supervised").long("supervised").action(ArgAction::SetTrue).hide(true);
    let role = |name: &'static str, about: &'static str| {
        with_arguments(Command::new(name).about(about)).arg(supervised.clone())
    };
    let demo = Command::new("demo").about("Both roles and a simulated world of users and services");
    let sql = Command::new("sql").about("Ask a running query role");
    let simulate = Command::new("simulate").about(
        "Send the traffic of a simulated world to a running collector, or write it to a log",
    );
    let check =
        Command::new("check").about("Check a file before it is loaded").subcommand_required(true);
    with_arguments(Command::new("ethogram"))
        .version(env!("CARGO_PKG_VERSION"))
        .about("Behavioural observability: what users did and what servers did, on one timeline, in SQL.\n\
            Without a command: both roles, supervised.")
        .after_help(AFTER_HELP)
        .subcommand(demo::Options::augment_args(with_arguments(demo)))
        .subcommand(role("collector", "The collector role alone"))
        .subcommand(role("query", "The query role alone"))
        .subcommand(sql::Options::augment_args(sql))
        .subcommand(Simulate::augment_args(simulate).arg(supervised.clone()))
        .subcommand(snippet::Options::augment_args(with_arguments(
            Command::new("snippet").about("Print the script tag for your pages"),
        )))
        .subcommand(with_arguments(Command::new("verify").about("Check every byte of the log")))
        .subcommand(Command::new("key").about("Draw a key for a page or a service"))
        .subcommand(check.subcommand(with_arguments(Command::new("config").about("Check the configuration"))))
}

fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    match matches.subcommand() {
        None => serve::supervise(alone(Written::from_matches([matches]))?),
        Some(("demo", inner)) => {
            let written = demo::separate(Written::from_matches([matches, inner]));
            let config = load_and_log(&written)?;
            serve::supervise(demo::launch(
                config,
                written,
                &demo::Options::from_arg_matches(inner)?,
            )?)
        }
        Some(("collector", inner)) => run_role(Role::Collector, matches, inner),
        Some(("query", inner)) => run_role(Role::Query, matches, inner),
        Some(("sql", inner)) => {
            refuse_configuration(matches, "sql");
            sql::run(&sql::Options::from_arg_matches(inner)?)
        }
        Some(("simulate", inner)) => {
            refuse_configuration(matches, "simulate");
            run_simulate(Simulate::from_arg_matches(inner)?, supervised(inner))
        }
        Some(("snippet", inner)) => {
            let config = load(&Written::from_matches([matches, inner]))?;
            println!("{}", snippet::text(&config, &snippet::Options::from_arg_matches(inner)?));
            Ok(())
        }
        Some(("verify", inner)) => verify(&load(&Written::from_matches([matches, inner]))?),
        Some(("key", _)) => {
            refuse_configuration(matches, "key");
            key::print()
        }
        Some(("check", inner)) => {
            let config = inner.subcommand_matches("config").expect("it is the only thing to check");
            load(&Written::from_matches([matches, config]))?;
            println!("ok");
            Ok(())
        }
        Some((name, _)) => unreachable!("{name} is not in the list of commands"),
    }
}

fn alone(written: Written) -> anyhow::Result<Launch> {
    let mut config = load_and_log(&written)?;
    config.collector.seal();
    let on_ready = Box::new(|ready: &serve::Ready| {
        if let Some(address) = ready.get("query") {
            tracing::info!("the page is at http://{}/", serve::reachable(address));
        }
    });
    Ok(Launch { config, written, guest: None, on_ready })
}

fn run_role(role: Role, outer: &ArgMatches, inner: &ArgMatches) -> anyhow::Result<()> {
    let mut config = load_and_log(&Written::from_matches([outer, inner]))?;
    config.collector.seal();
    serve::run(role, config, supervised(inner))
}

fn run_simulate(options: Simulate, supervised: Supervised) -> anyhow::Result<()> {
    log_to_stderr(&std::env::var("ETHOGRAM_LOG_LEVEL").unwrap_or_else(|_| "info".to_owned()));
    let runtime = tokio::runtime::Runtime::new().context("the runtime cannot be started")?;
    runtime.block_on(Box::pin(async {
        let stop = Stop::new();
        stop.on_signals(supervised)?;
        let options = simulate::Options {
            scenario: options.scenario,
            seed: options.seed,
            beacon: options.beacon,
            otlp_grpc: options.otlp_grpc,
            otlp_http: options.otlp_http,
            write_key: options.write_key,
            rate: options.rate,
            duration: options.duration,
            to_log: options.to_log,
            truth_file: options.truth_file,
            details_file: options.details_file,
            with: options.with,
            without: options.without,
            trouble: options.trouble,
        };
        simulate::run(options, stop.requested()).await
    }))
}

fn verify(config: &Config) -> anyhow::Result<()> {
    let path = config.data_dir.join("log");
    let report = ethogram_timeline::log::verify(&path)?;
    println!("{}", serde_json::to_string_pretty(&report)?);
    if report.is_sound() {
        Ok(())
    } else {
        Err(anyhow!("the log in {} is damaged, as reported", path.display()))
    }
}

fn supervised(matches: &ArgMatches) -> Supervised {
    if matches.get_flag("supervised") { Supervised::Yes } else { Supervised::No }
}

/// Ends with a usage error where flags of the configuration stand before a command that has none:
/// they would be ignored, and nothing written may be.
fn refuse_configuration(outer: &ArgMatches, name: &str) {
    if let Some((key, _)) = Written::from_matches([outer]).flags.first() {
        let flag = key.replace(['.', '_'], "-");
        command()
            .error(
                ErrorKind::ArgumentConflict,
                format!("--{flag} has no meaning for `ethogram {name}`"),
            )
            .exit();
    }
}

fn load(written: &Written) -> Result<Config, ConfigError> {
    // A variable that is not Unicode cannot be a name of ours, nor a value we could take.
    let variables = std::env::vars_os()
        .filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)));
    written.load(variables)
}

fn load_and_log(written: &Written) -> Result<Config, ConfigError> {
    let config = load(written)?;
    log_to_stderr(&config.log_level);
    Ok(config)
}

fn log_to_stderr(level: &str) {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(level))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .init();
}

fn scenarios() -> PossibleValuesParser {
    simulate::SCENARIOS.iter().map(|(name, about)| PossibleValue::new(*name).help(*about)).into()
}

fn duration(text: &str) -> anyhow::Result<Duration> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit_s = match &text[digits.len()..] {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        unit => return Err(anyhow!("unknown unit {unit:?}; allowed: ms, s, m, h")),
    };
    let count: f64 = digits.parse().context("not a time such as 30s or 5m")?;
    Ok(Duration::try_from_secs_f64(count * unit_s)?)
}

/// The error and its causes, without those that an outer text has quoted already.
fn message(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(cause.trim()) {
            text = format!("{text}: {cause}");
        }
    }
    text.trim_end().to_owned()
}

fn exit_code(error: &anyhow::Error) -> u8 {
    let collector = error.downcast_ref::<CollectorError>();
    if let Some(refused) = error.downcast_ref::<Refused>() {
        refused.code
    } else if error.is::<ListenError>() || error.is::<InUse>() {
        EXIT_TAKEN
    } else if error.is::<ConfigError>()
        || error.is::<clap::Error>()
        || matches!(
            collector,
            Some(CollectorError::Config(_) | CollectorError::Geo(_) | CollectorError::Tls(_))
        )
    {
        EXIT_CONFIGURATION
    } else {
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn times() {
        let check = |text, expected_ms: Option<u64>| {
            assert_eq!(duration(text).ok(), expected_ms.map(Duration::from_millis), "{text}");
        };
        check("30s", Some(30_000));
        check("30", Some(30_000));
        check("1.5m", Some(90_000));
        check("250ms", Some(250));
        check("1h", Some(3_600_000));
        check("1d", None);
        check("-1s", None);
        check("s", None);
    }

    #[test]
    fn causes_are_told_once() {
        let error = anyhow!("no such file")
            .context("x.toml cannot be read")
            .context("x.toml cannot be read: no such file");
        assert_eq!(message(&error), "x.toml cannot be read: no such file");
        assert_eq!(message(&anyhow!("b").context("a")), "a: b");
    }

    #[test]
    fn exit_codes_tell_whose_move_it_is() {
        let check =
            |error: anyhow::Error, expected| assert_eq!(exit_code(&error), expected, "{error}");
        check(ConfigError::Together("x".to_owned()).into(), 2);
        check(anyhow::Error::from(ConfigError::Together("x".to_owned())).context("outer"), 2);
        check(anyhow!("x"), 1);
    }
}
