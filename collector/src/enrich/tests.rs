//! Places: every network of MaxMind's own oracle, flat records, files in a list, headers of an edge.

mod written;

use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::*;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/maxmind-test").join(name)
}

fn geo(databases: &[&str], regions: &[(&str, &str)]) -> Geo {
    let config = GeoConfig {
        databases: databases.iter().map(|name| data(name)).collect(),
        country_header: Some(String::from("cf-ipcountry")),
        subdivision_header: Some(String::from("cf-region-code")),
        regions: regions
            .iter()
            .map(|(place, region)| (place.to_string(), region.to_string()))
            .collect(),
        ..GeoConfig::default()
    };
    Geo::open(&config).expect("the test databases open")
}

/// First and last address of a network as MaxMind's source writes it: IPv4 networks stand there
/// either plainly or at `::/96`.
fn ends(network: &str) -> [IpAddr; 2] {
    let (address, length) = network.split_once('/').expect("a network");
    let length: u32 = length.parse().expect("a length");
    if let Ok(IpAddr::V4(first)) = address.parse() {
        let last = u32::from(first) | u32::MAX.checked_shr(length).unwrap_or(0);
        return [IpAddr::V4(first), IpAddr::V4(last.into())];
    }
    let first: Ipv6Addr = address.parse().expect("an address");
    let last = Ipv6Addr::from(u128::from(first) | u128::MAX.checked_shr(length).unwrap_or(0));
    [first, last].map(|address| match (u128::from(address) >> 32, address.to_ipv4()) {
        (0, Some(address)) => IpAddr::V4(address),
        _ => IpAddr::V6(address),
    })
}

#[test]
fn every_network_of_the_oracle_resolves_as_it_says() {
    let text = std::fs::read(data("GeoIP2-City-Test.source.json")).expect("the oracle is there");
    let oracle: Vec<Map<String, Value>> = serde_json::from_slice(&text).expect("the oracle parses");
    let geo = geo(&["GeoIP2-City-Test.mmdb"], &[]);
    let networks: Vec<_> = oracle.iter().flatten().collect();
    assert_eq!(networks.len(), 251);
    for (network, record) in networks {
        let country = record["country"]["iso_code"].as_str();
        let subdivision = record["subdivisions"][0]["iso_code"].as_str();
        for address in ends(network) {
            let place = geo.place(Some(address), None);
            let country = country.unwrap_or(UNKNOWN);
            let expected =
                subdivision.map_or(String::from(UNKNOWN), |code| format!("{country}-{code}"));
            assert_eq!(
                (&*place.country, &*place.subdivision),
                (country, &*expected),
                "{network} {address}"
            );
            assert_eq!(place.region, country, "by default the region is the country");
        }
    }
}

#[test]
fn places() {
    let city = geo(&["GeoIP2-City-Test.mmdb"], &[("GB", "emea"), ("US-WA", "us-west")]);
    let check = |address: &str, expected: [&str; 3]| {
        let place = city.lookup_text(address).unwrap_or_else(|| city.place(None, None));
        assert_eq!([&*place.country, &*place.subdivision, &*place.region], expected, "{address}");
    };
    check("2.125.160.216", ["GB", "GB-ENG", "emea"]);
    check("::ffff:2.125.160.216", ["GB", "GB-ENG", "emea"]);
    check("[::ffff:2.125.160.216]:443", ["GB", "GB-ENG", "emea"]);
    check("216.160.83.56:8080", ["US", "US-WA", "us-west"]);
    check("89.160.20.112", ["SE", "SE-E", "SE"]);
    check("8.8.8.8", [UNKNOWN; 3]);
    check("127.0.0.1", [UNKNOWN; 3]);
    check("nonsense", [UNKNOWN; 3]);
    assert!(city.lookup_text("2.125.160.216").expect("known").source.starts_with("GeoIP2-City 20"));
}

#[test]
fn the_first_database_that_knows_answers() {
    let both = geo(&["GeoIP2-Country-Test.mmdb", "GeoIP2-City-Test.mmdb"], &[]);
    let place = both.lookup_text("2.125.160.216").expect("known to both");
    assert_eq!((&*place.country, &*place.subdivision), ("GB", UNKNOWN));
    assert_eq!(both.sources().count(), 2);
    let missing = GeoConfig { databases: vec![data("none.mmdb")], ..GeoConfig::default() };
    let error = Geo::open(&missing).err().expect("a missing file is an error").to_string();
    assert!(error.contains("none.mmdb"), "{error}");
}

/// Places by these databases, asked in this order.
fn geo_of(databases: &[Vec<u8>]) -> Geo {
    let directory = tempfile::tempdir().expect("a directory for the databases");
    let mut paths = Vec::new();
    for (place, bytes) in databases.iter().enumerate() {
        let path = directory.path().join(format!("{place}.mmdb"));
        std::fs::write(&path, bytes).expect("a file in it");
        paths.push(path);
    }
    Geo::open(&GeoConfig { databases: paths, ..GeoConfig::default() }).expect("they open")
}

/// What an address is found to be: country, subdivision, and the database that knew.
fn check(geo: &Geo, address: &str, expected: Option<[&str; 3]>) {
    let place = geo.lookup_text(address);
    let found = place.as_ref().map(|place| [&*place.country, &*place.subdivision, &*place.source]);
    assert_eq!(found, expected, "{address}");
}

const FLAT: &str = "flat 2026-06-17";

#[test]
fn flat_records() {
    for (record, expected) in [
        (json!({ "country_code": "US", "state1": "California" }), Some(["US", "US-California"])),
        (json!({ "country_code": "us" }), Some(["US", UNKNOWN])),
        (json!({ "country_code": "CA", "state1": "CA-QC" }), Some(["CA", "CA-QC"])),
        (json!({ "country_code": "DE", "state1": "Thüringen" }), Some(["DE", "DE-Thüringen"])),
        (json!({ "country_code": "GB", "state1": "" }), Some(["GB", UNKNOWN])),
        (json!({ "country_code": "GB", "state1": "x".repeat(200) }), Some(["GB", UNKNOWN])),
        (json!({ "country_code": "GB", "state1": ["England"] }), Some(["GB", UNKNOWN])),
        // The name of a country stands where the other schema has a map.
        (
            json!({ "country": "United States", "country_code": "US", "state1": "Ohio" }),
            Some(["US", "US-Ohio"]),
        ),
        (
            json!({ "country_code": "FR", "subdivisions": [], "state1": "Corse" }),
            Some(["FR", "FR-Corse"]),
        ),
        (
            json!({ "country": { "iso_code": "AT" }, "country_code": "DE",
                "subdivisions": [{ "iso_code": "9" }], "state1": "Wien" }),
            Some(["AT", "AT-9"]),
        ),
        (json!({ "country_code": "", "state1": "Kent" }), None),
        (json!({ "country_code": "United States" }), None),
        (json!({ "state1": "Kent" }), None),
        (json!({}), None),
    ] {
        // Shown where the case fails.
        println!("{record}");
        let expected = expected.map(|[country, subdivision]| [country, subdivision, FLAT]);
        for ip_version in [4, 6] {
            let networks = [("1.2.3.0/24", record.clone())];
            let geo = geo_of(&[written::database("flat", ip_version, &networks)]);
            check(&geo, "1.2.3.4", expected);
            check(&geo, "1.2.4.4", None);
        }
    }
}

#[test]
fn a_database_of_ipv4_alone_knows_no_other_address() {
    let networks = [
        ("1.2.3.0/24", json!({ "country_code": "GB", "state1": "Kent" })),
        // As an IPv6 address begins whose first bits are these: the tree must not be asked for it.
        ("32.1.0.0/16", json!({ "country_code": "US" })),
    ];
    let geo = geo_of(&[written::database("flat", 4, &networks)]);
    for (address, expected) in [
        ("1.2.3.0", Some(["GB", "GB-Kent", FLAT])),
        ("1.2.3.255", Some(["GB", "GB-Kent", FLAT])),
        ("::ffff:1.2.3.4", Some(["GB", "GB-Kent", FLAT])),
        ("32.1.13.184", Some(["US", UNKNOWN, FLAT])),
        ("1.2.2.255", None),
        ("1.2.4.0", None),
        ("::1.2.3.4", None),
        ("2001:db8::1", None),
        ("::", None),
    ] {
        check(&geo, address, expected);
    }
    let place = geo.place("2001:db8::1".parse().ok(), None);
    assert_eq!((&*place.country, &*place.source), (UNKNOWN, ""));
}

#[test]
fn what_a_database_does_not_know_the_next_one_is_asked() {
    const FOUR: &str = "four 2026-06-17";
    const BOTH: &str = "both 2026-06-17";
    const LAST: &str = "last 2026-06-17";
    let of = |country: &str| json!({ "country_code": country });
    let four = [
        ("1.2.3.0/24", of("GB")),
        ("1.2.4.0/24", json!({ "state1": "Kent" })),
        ("1.2.5.0/24", of("XX")),
        ("1.2.6.0/24", json!({ "country_code": null })),
        ("1.2.7.0/24", json!({ "country_code": "SE", "state1": null })),
    ];
    let both = [
        ("1.2.3.0/24", of("US")),
        ("1.2.4.0/24", of("DE")),
        ("1.2.5.0/24", of("IT")),
        ("1.2.6.0/24", of("ES")),
        ("1.2.7.0/24", of("NO")),
        ("2001:db8::/32", json!({ "country_code": "FR", "state1": "Corse" })),
    ];
    let last = [("9.9.9.0/24", of("JP")), ("2001:db8::/32", of("BE"))];
    let four = written::database("four", 4, &four);
    let both = written::database("both", 6, &both);
    let last = written::database("last", 6, &last);

    let geo = geo_of(&[four.clone(), both.clone(), last.clone()]);
    for (address, expected) in [
        ("1.2.3.4", Some(["GB", UNKNOWN, FOUR])),
        // It has the network, and no country, or none that is one, or a damaged one.
        ("1.2.4.4", Some(["DE", UNKNOWN, BOTH])),
        ("1.2.5.4", Some(["IT", UNKNOWN, BOTH])),
        ("1.2.6.4", Some(["ES", UNKNOWN, BOTH])),
        // A country is an answer, whatever became of its subdivision.
        ("1.2.7.4", Some(["SE", UNKNOWN, FOUR])),
        ("2001:db8::1", Some(["FR", "FR-Corse", BOTH])),
        ("9.9.9.9", Some(["JP", UNKNOWN, LAST])),
        ("8.8.8.8", None),
        ("2001:db9::1", None),
    ] {
        check(&geo, address, expected);
    }
    assert_eq!(geo.sources().collect::<Vec<_>>(), [FOUR, BOTH, LAST]);

    let reversed = geo_of(&[last, both, four]);
    check(&reversed, "1.2.3.4", Some(["US", UNKNOWN, BOTH]));
    check(&reversed, "2001:db8::1", Some(["BE", UNKNOWN, LAST]));
}

#[test]
fn the_embedded_database_knows_countries() {
    let embedded = Geo::open(&GeoConfig::default()).expect("the embedded database opens");
    assert_eq!(embedded.sources().collect::<Vec<_>>(), ["iptoasn-country (embedded) 2026-06-17"]);
    for (address, country) in
        [("8.8.8.8", "US"), ("2.125.160.216", "GB"), ("2001:4860:4860::8888", "US")]
    {
        let place = embedded.lookup_text(address).expect(address);
        assert_eq!(
            (&*place.country, &*place.subdivision, &*place.region),
            (country, UNKNOWN, country)
        );
    }
    assert_eq!(embedded.lookup_text("192.168.1.1"), None);
    let off =
        Geo::open(&GeoConfig { embedded: false, ..GeoConfig::default() }).expect("nothing to open");
    assert_eq!(off.place("8.8.8.8".parse().ok(), None).country, UNKNOWN);
    assert_eq!(&*off.place(None, None).source, "");
}

#[test]
fn an_edge_header_beats_the_database() {
    let geo = geo(&["GeoIP2-City-Test.mmdb"], &[("CA-QC", "ca-east")]);
    let check = |headers: &[(&'static str, &str)], expected: [&str; 4]| {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().expect("a header value"));
        }
        let place = geo.place("2.125.160.216".parse().ok(), Some(&map));
        let source = place.source.split(' ').next().unwrap_or_default();
        assert_eq!(
            [&*place.country, &*place.subdivision, &*place.region, source],
            expected,
            "{headers:?}"
        );
    };
    check(&[], ["GB", "GB-ENG", "GB", "GeoIP2-City"]);
    check(&[("cf-ipcountry", "de")], ["DE", UNKNOWN, "DE", "header"]);
    check(&[("cf-ipcountry", "XX")], ["GB", "GB-ENG", "GB", "GeoIP2-City"]);
    check(&[("cf-ipcountry", "T1")], ["GB", "GB-ENG", "GB", "GeoIP2-City"]);
    check(
        &[("cf-ipcountry", "CA"), ("cf-region-code", "QC")],
        ["CA", "CA-QC", "ca-east", "header"],
    );
    check(
        &[("cf-ipcountry", "CA"), ("cf-region-code", "CA-QC")],
        ["CA", "CA-QC", "ca-east", "header"],
    );
    check(&[("cf-region-code", "QC")], ["GB", "GB-ENG", "GB", "GeoIP2-City"]);
}

#[test]
fn codes() {
    let check = |country: &str, text: &str, expected: Option<&str>| {
        assert_eq!(subdivision_code(country, text).as_deref(), expected, "{country} {text}");
    };
    check("CA", "QC", Some("CA-QC"));
    check("CA", "CA-QC", Some("CA-QC"));
    check("CA", "CA", Some("CA-CA"));
    check("GB", "England", Some("GB-England"));
    check("GB", " ", None);
    check("GB", &"x".repeat(200), None);
}
