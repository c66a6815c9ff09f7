//! The layers of the configuration, and that every key has a flag and a variable.

use std::collections::BTreeSet;
use std::path::Path;

use super::arguments::{Written, with_arguments};
use super::layers::Layers;
use super::shape::{self, Leaf};
use super::{Config, ConfigError, help};

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

fn layered(
    file: &str,
    variables: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<Config, String> {
    let mut layers = Layers::new();
    // With the causes, as `main` prints it.
    let text = |error: ConfigError| format!("{:#}", anyhow::Error::from(error));
    layers.file(Path::new("ethogram.toml"), file).map_err(text)?;
    layers.environment(pairs(variables)).map_err(text)?;
    layers.flags(&pairs(flags)).map_err(text)?;
    layers.typed().map_err(text)
}

#[test]
fn later_layers_win() {
    let check = |file, variables, flags, expected: &str| {
        let config = layered(file, variables, flags).expect("it is a good configuration");
        assert_eq!(config.query_listen.to_string(), expected);
    };
    let file = "query_listen = '127.0.0.1:1'";
    let variable: &[(&str, &str)] = &[("ETHOGRAM_QUERY_LISTEN", "127.0.0.1:2")];
    let flag: &[(&str, &str)] = &[("query_listen", "127.0.0.1:3")];
    check("", &[], &[], "127.0.0.1:4319");
    check(file, &[], &[], "127.0.0.1:1");
    check(file, variable, &[], "127.0.0.1:2");
    check(file, variable, flag, "127.0.0.1:3");
    check(file, &[], flag, "127.0.0.1:3");
    check(file, &[("ETHOGRAM_QUERY_LISTEN", "")], &[], "127.0.0.1:1");
}

#[test]
fn values_are_read_by_the_type_of_their_key() {
    let config = layered(
        "[collector.geo.regions]\nGB = 'emea'",
        &[("ETHOGRAM_COLLECTOR_BEACON_ORIGINS", "https://a.example, https://b.example")],
        &[
            ("collector.log.segment_bytes", "1_048_576"),
            ("collector.geo.embedded", "false"),
            ("collector.geo.country_header", "cf-ipcountry"),
            ("collector.proxy.trusted", "['10.0.0.0/8']"),
            ("collector.keys", "[{ id = 'shop', key = 'k1' }]"),
            ("log_level", "123"),
        ],
    )
    .expect("it is a good configuration");
    assert_eq!(config.collector.geo.regions["GB"], "emea");
    assert_eq!(config.collector.beacon.origins, ["https://a.example", "https://b.example"]);
    assert_eq!(config.collector.log.segment_bytes, 1 << 20);
    assert!(!config.collector.geo.embedded);
    assert_eq!(config.collector.geo.country_header.as_deref(), Some("cf-ipcountry"));
    assert_eq!(config.collector.proxy.trusted, ["10.0.0.0/8"]);
    assert_eq!(config.collector.keys[0].id, "shop");
    assert_eq!(config.log_level, "123");
}

#[test]
fn errors_name_key_origin_and_what_is_allowed() {
    let check = |file, variables, flags, expected: &[&str]| {
        let error = layered(file, variables, flags).expect_err("it is a bad configuration");
        for part in expected {
            assert!(error.contains(part), "{error:?} does not say {part:?}");
        }
    };
    check(
        "query_listn = 'x'",
        &[],
        &[],
        &["`query_listn`", "ethogram.toml", "did you mean `query_listen`?"],
    );
    check(
        "[collector]\nbogus = 1",
        &[],
        &[],
        &["`collector.bogus`", "allowed: ", "collector.keys"],
    );
    check("query_listen = 4319", &[], &[], &["`query_listen`", "ethogram.toml", "127.0.0.1:4319"]);
    check("collector = 4319", &[], &[], &["`collector`", "section", "[collector]"]);
    check("query_listen = ", &[], &[], &["ethogram.toml", "line 1"]);
    check(
        "",
        &[("ETHOGRAM_QUERY_LISTN", "x")],
        &[],
        &["ETHOGRAM_QUERY_LISTN", "did you mean `ETHOGRAM_QUERY_LISTEN`?"],
    );
    check(
        "",
        &[("ETHOGRAM_COLLECTOR_LOG_SEGMENT_BYTES", "many")],
        &[],
        &[
            "`collector.log.segment_bytes`",
            "(ETHOGRAM_COLLECTOR_LOG_SEGMENT_BYTES)",
            "a whole number, by default 67108864",
        ],
    );
    check(
        "",
        &[],
        &[("collector.log.frame_bytes_max", "-1")],
        &["`collector.log.frame_bytes_max`", "(--collector-log-frame-bytes-max)", "a whole number"],
    );
    check("", &[], &[("collector.keys", "[{ id = 'shop' }]")], &["`collector.keys`", "key"]);
}

#[test]
fn variables_of_others_are_left_alone() {
    let others = [
        ("ETHOGRAM_CONFIG", "x.toml"),
        ("ETHOGRAM_QUERY_URL", "http://127.0.0.1:1"),
        ("ETHOGRAM_PORT", "tcp://10.0.0.1:4317"),
        ("ETHOGRAM_PORT_4317_TCP_ADDR", "10.0.0.1"),
        ("ETHOGRAM_QUERY_SERVICE_HOST", "10.0.0.1"),
        ("ETHOGRAM_SERVICE_PORT_OTLP", "4317"),
        ("ETHOGRAM_TEST_SEED", "7"),
        ("PATH", "/bin"),
    ];
    assert!(layered("", &others, &[]).is_ok());
}

#[test]
fn every_key_has_a_flag_and_a_variable_of_its_own() {
    let leaves = shape::leaves(&Config::default());
    assert!(leaves.len() > 40, "the sections of both roles are part of it");
    let flags: BTreeSet<String> = leaves.iter().map(Leaf::flag).collect();
    let variables: BTreeSet<String> = leaves.iter().map(Leaf::variable).collect();
    assert_eq!(flags.len(), leaves.len(), "two keys with one flag");
    assert_eq!(variables.len(), leaves.len(), "two keys with one variable");

    let command = with_arguments(clap::Command::new("ethogram"));
    command.clone().debug_assert();
    for leaf in &leaves {
        // The default itself, written through each layer, is accepted.
        let Some(text) = leaf.default_text().filter(|text| !text.starts_with(['[', '{'])) else {
            continue;
        };
        let matches = command
            .clone()
            .try_get_matches_from(["ethogram", &format!("--{}", leaf.flag()), &text])
            .expect("the flag exists");
        let written = Written::from_matches([&matches]);
        assert_eq!(written.flags, [(leaf.key(), text.clone())]);
        layered("", &[(&leaf.variable(), &text)], &pairs_of(&written))
            .expect("the default is good");
    }
}

fn pairs_of(written: &Written) -> Vec<(&str, &str)> {
    written.flags.iter().map(|(key, text)| (key.as_str(), text.as_str())).collect()
}

#[test]
fn the_example_lists_every_key_with_its_default() {
    let documented = help::entries(help::EXAMPLE);
    let known: Vec<String> = shape::leaves(&Config::default()).iter().map(Leaf::key).collect();
    for key in &known {
        let entry = documented.iter().find(|(name, _)| name == key);
        assert!(
            entry.is_some_and(|(_, help)| !help.is_empty()),
            "ethogram.example.toml does not explain `{key}`"
        );
    }
    for (key, _) in &documented {
        assert!(
            known.contains(key),
            "ethogram.example.toml explains `{key}`, which does not exist"
        );
    }
    let mut layers = Layers::new();
    layers.file(Path::new("ethogram.example.toml"), help::EXAMPLE).expect("the example is good");
    let written =
        serde_json::to_value(layers.typed().expect("the example is good")).expect("plain data");
    assert_eq!(written, serde_json::to_value(Config::default()).expect("plain data"));
}

#[test]
fn the_default_passes_its_check() {
    Config::default().check().expect("the default serves a laptop");
}

#[test]
fn a_child_arrives_at_the_same_configuration() {
    let written = Written {
        file: Some("other.toml".into()),
        flags: pairs(&[
            ("data_dir", "mine"),
            ("query_listen", "127.0.0.1:0"),
            ("query_listen", "127.0.0.1:9"),
        ]),
        command: Some(("demo", "data_dir", "data-demo")),
    };
    let arguments = written.to_arguments();
    assert_eq!(arguments, ["--config=other.toml", "--data-dir=mine", "--query-listen=127.0.0.1:9"]);
}
