//! What a configuration may say, and the error for what it may not.

use super::*;

fn parse(json: &str) -> Result<Config, String> {
    let config: Config = serde_json::from_str(json).map_err(|error| error.to_string())?;
    config.check().map_err(|error| error.to_string())?;
    Ok(config)
}

#[test]
fn the_default_is_right() {
    parse("{}").expect("the default passes its own check");
}

/// Who had written down what is now among the further paths, or lists one twice, means no harm.
#[test]
fn a_path_may_be_listed_twice() {
    parse(r#"{"beacon": {"path": "/v1/beacon"}}"#).expect("the former default");
    parse(r#"{"beacon": {"paths_also": ["/t", "/t", "/v1/ethogram"]}}"#).expect("a list");
}

#[test]
fn wrong_values_name_their_key() {
    let check = |json: &str, expected: &str| {
        let error = parse(json).expect_err(json);
        assert!(error.contains(expected), "{json}: {error}");
    };
    check(r#"{"beacons": {}}"#, "unknown field `beacons`");
    check(r#"{"limits": {"connections": 5}}"#, "unknown field `connections`");
    check(r#"{"limits": {"connections_max": 0}}"#, "limits.connections_max");
    check(r#"{"records": {"parts_max": 0}}"#, "collector.records: parts_max");
    check(r#"{"records": {"value_bytes_max": 16385}}"#, "collector.records: value_bytes_max");
    check(r#"{"limits": {"head_bytes_max": 8191}}"#, "limits.head_bytes_max");
    check(r#"{"beacon": {"path": "v1"}}"#, "beacon.path");
    check(r#"{"beacon": {"path": "/ethogram.js"}}"#, "beacon.path");
    check(r#"{"beacon": {"path": "/t.js", "script_path": "/t.js"}}"#, "beacon.path");
    check(r#"{"beacon": {"paths_also": ["t"]}}"#, "beacon.paths_also");
    check(r#"{"beacon": {"paths_also": ["/beacon.js"]}}"#, "beacon.paths_also");
    check(
        r#"{"beacon": {"script_paths_also": ["/app-0.1.0.0123456789abcdef.js"]}}"#,
        "beacon.script_paths_also",
    );
    check(r#"{"beacon": {"script_paths_also": ["/t"]}}"#, "beacon.script_paths_also");
    check(r#"{"beacon": {"scripts_kept_max": 0}}"#, "beacon.scripts_kept_max");
    check(r#"{"beacon": {"script_path": "/t"}}"#, "beacon.script_path");
    check(r#"{"beacon": {"script_path": "/.js"}}"#, "beacon.script_path");
    check(r#"{"beacon": {"script_path": "t.js"}}"#, "beacon.script_path");
    check(r#"{"beacon": {"script_path": "/{t}.js"}}"#, "beacon.script_path");
    check(r#"{"beacon": {"origins": ["https://shop.example/"]}}"#, "beacon.origins");
    check(r#"{"beacon": {"origins": ["https://*.shop.example"]}}"#, "beacon.origins");
    check(r#"{"beacon": {"origins": ["*"]}}"#, "beacon.origins");
    check(r#"{"beacon": {"sample_ratio": 1.5}}"#, "beacon.sample_ratio");
    check(r#"{"otlp": {"cors_origins": ["shop.example"]}}"#, "otlp.cors_origins");
    check(r#"{"otlp": {"body_bytes_max": 67108865}}"#, "otlp.body_bytes_max");
    check(r#"{"log": {"segment_bytes": 1}}"#, "collector.log: segment_bytes");
    check(r#"{"keys": [{"id": "", "key": "k"}]}"#, "keys");
    check(r#"{"keys": [{"id": "a", "key": "k"}, {"id": "b", "key": "k"}]}"#, "listed twice");
    check(r#"{"tokens": [{"id": "a", "token": ""}]}"#, "tokens");
    check(r#"{"tokens": [{"id": "a", "token": "sha256:abc"}]}"#, "64 hexadecimal digits");
    check(
        r#"{"keys": [{"id": "a", "key": "abc"}, {"id": "b",
            "key": "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}]}"#,
        "listed twice",
    );
    check(r#"{"beacon": {"tls": {"key_file": "k"}}}"#, "certificate_file is not");
    check(r#"{"otlp": {"tls": {"certificate_file": "c"}}}"#, "key_file is not");
    check(r#"{"otlp": {"client_ca_file": "ca"}}"#, "otlp.client_ca_file");
    check(
        r#"{"keys": [{"id": "a", "key": "k"}, {"id": "a", "key": "l"}, {"id": "a", "key": "m"}]}"#,
        "more than twice",
    );
    check(
        r#"{"tokens": [{"id": "a", "token": "k"}, {"id": "a", "token": "l", "app": "shop"}]}"#,
        "different owners",
    );
    check(r#"{"proxy": {"trusted": ["10.0.0.0/40"]}}"#, "proxy.trusted");
    check(r#"{"proxy": {"client_header": "x forwarded"}}"#, "proxy.client_header");
    check(r#"{"geo": {"regions": {"Britain": "emea"}}}"#, "geo.regions");
    check(r#"{"geo": {"regions": {"GB": ""}}}"#, "geo.regions");
}

#[test]
fn right_values_pass() {
    for json in [
        r#"{"otlp": {"cors_origins": ["https://*.example.com", "http://localhost:3000"]}}"#,
        r#"{"beacon": {"path": "/t/e", "origins": ["https://shop.example", "http://[::1]:8080"]}}"#,
        r#"{"proxy": {"trusted": ["10.0.0.0/8", "::1", "192.0.2.7"]}}"#,
        r#"{"keys": [{"id": "a", "key": "old"}, {"id": "a", "key": "new"}]}"#,
        r#"{"geo": {"embedded": false, "regions": {"GB": "emea", "US-CA": "us-west"}}}"#,
    ] {
        parse(json).expect(json);
    }
}

#[test]
fn open_doors_need_keys() {
    let binds = |beacon: &str, services: &str| Binds {
        beacon: beacon.parse().expect("an address"),
        otlp_grpc: services.parse().expect("an address"),
        otlp_http: services.parse().expect("an address"),
    };
    let local = "127.0.0.1:0";
    let open = Config::default();
    open.check_binds(&binds(local, local)).expect("loopback needs nothing");
    open.check_binds(&binds("[::1]:0", "[::ffff:127.0.0.1]:0")).expect("loopback of any form");
    let error = open.check_binds(&binds(local, "0.0.0.0:4317")).expect_err("open services");
    assert!(error.to_string().contains("--otlp-grpc-listen"), "{error}");
    let error = open.check_binds(&binds("[::]:4316", local)).expect_err("open beacon");
    assert!(error.to_string().contains("origins"), "{error}");

    let token = Token { id: "t".into(), token: "secret".into(), app: "default".into() };
    let mut closed = Config { tokens: vec![token], ..Config::default() };
    closed.beacon.origins.push(String::from("https://shop.example"));
    closed.check_binds(&binds("[::]:4316", "0.0.0.0:4317")).expect("guarded doors may be public");
    assert!(!format!("{closed:?}").contains("secret"), "secrets are never printed");
    closed.seal();
    let held = serde_json::to_string(&closed).expect("plain data");
    assert!(
        !held.contains("\"secret") && !held.contains("key\":\"local"),
        "only hashes are held: {held}"
    );

    let mut certified = Config::default();
    certified.otlp.client_ca_file = Some("ca.pem".into());
    certified.check_binds(&binds(local, "0.0.0.0:4317")).expect("certificates tell who it is");
}
