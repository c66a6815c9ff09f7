//! The configuration on the command line: one flag for every key, made from the keys themselves.

use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::Config;
use super::error::ConfigError;
use super::help;
use super::layers::Layers;
use super::shape::{self, Leaf};

/// The file that is read when `--config` names none, if it exists.
const DEFAULT_FILE: &str = "ethogram.toml";

/// What the command line says about the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// The file named by `--config` or `ETHOGRAM_CONFIG`.
    pub(crate) file: Option<PathBuf>,
    /// Pairs of key (dotted) and text, as flags.
    pub(crate) flags: Vec<(String, String)>,
    /// A command's own default, which beats file and environment: command, key and text.
    pub(crate) command: Option<(&'static str, &'static str, &'static str)>,
}

/// Adds `--config` and one flag for each key.
pub(crate) fn with_arguments(command: Command) -> Command {
    let file = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(clap::value_parser!(PathBuf))
        .env("ETHOGRAM_CONFIG")
        .help("Configuration file [default: ./ethogram.toml if there is one]");
    let keys = shape::leaves(&Config::default());
    command.arg(file).args(keys.iter().map(argument))
}

fn argument(leaf: &Leaf) -> Arg {
    let mut help = help::help(&leaf.key()).unwrap_or_default();
    let default = leaf.default_text().map(|text| format!("[default: {text}] ")).unwrap_or_default();
    help.push_str(&format!(" {default}[env: {}]", leaf.variable()));
    let heading = match leaf.section() {
        "" => "Configuration".to_owned(),
        section => format!("Configuration: {section}"),
    };
    Arg::new(leaf.key())
        .long(leaf.flag())
        .value_name(leaf.value_name())
        .action(ArgAction::Set)
        .allow_negative_numbers(true)
        .help_heading(heading)
        // `-h` shows what a first try needs; `--help` shows everything.
        .hide_short_help(!leaf.section().is_empty())
        .help(help.trim().to_owned())
}

impl Written {
    /// What was given in `matches`, the outermost command first; the innermost wins.
    pub(crate) fn from_matches<'a>(matches: impl IntoIterator<Item = &'a ArgMatches>) -> Self {
        let keys = shape::leaves(&Config::default());
        let mut written = Self::default();
        for matches in matches {
            if let Ok(Some(file)) = matches.try_get_one::<PathBuf>("config") {
                // The inner command sees the variable too, which must not beat the outer's flag.
                let is_flag = matches.value_source("config") == Some(ValueSource::CommandLine);
                if is_flag || written.file.is_none() {
                    written.file = Some(file.clone());
                }
            }
            for key in keys.iter().map(Leaf::key) {
                if let Ok(Some(text)) = matches.try_get_one::<String>(&key) {
                    written.flags.push((key, text.clone()));
                }
            }
        }
        written
    }

    /// Reads the file, puts all layers on each other and checks the result.
    pub(crate) fn load(
        &self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Config, ConfigError> {
        let mut layers = Layers::new();
        if let Some(path) = self.file.clone().or_else(default_file) {
            let text = std::fs::read_to_string(&path)
                .map_err(|source| ConfigError::Unreadable { path: path.clone(), source })?;
            layers.file(&path, &text)?;
        }
        layers.environment(variables)?;
        if let Some((command, key, text)) = self.command {
            layers.command(command, key, text)?;
        }
        layers.flags(&self.flags)?;
        let config = layers.typed()?;
        config.check()?;
        Ok(config)
    }

    /// The arguments with which a child process arrives at the same configuration, given the same
    /// environment and directory.
    pub(crate) fn to_arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        if let Some(file) = &self.file {
            arguments.push(format!("--config={}", file.display()));
        }
        let command = self.command.map(|(_, key, text)| (key, text));
        let flags = self.flags.iter().map(|(key, text)| (key.as_str(), text.as_str()));
        for (key, text) in command.into_iter().chain(flags) {
            arguments.push(format!("--{}={text}", key.replace(['.', '_'], "-")));
        }
        // A flag that is given twice is an error to the parser: only the last one counts.
        let mut last: Vec<String> = Vec::new();
        for argument in arguments.into_iter().rev() {
            let name = argument.split('=').next().unwrap_or_default().to_owned();
            if !last.iter().any(|kept| kept.split('=').next() == Some(name.as_str())) {
                last.push(argument);
            }
        }
        last.reverse();
        last
    }
}

fn default_file() -> Option<PathBuf> {
    let path = PathBuf::from(DEFAULT_FILE);
    path.exists().then_some(path)
}
