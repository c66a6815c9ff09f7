//! A database of places in MaxMind's format, written for a test: what no file of the test data is, such
//! as one of flat records, of IPv4 alone, or of damaged records.
//!
//! It is not a writer for real data: no record is shared, and what does not fit a test panics.
//!
//! The format is <https://maxmind.github.io/MaxMind-DB/>: a tree of one node a bit, the records, and
//! behind a marker what the file is.

use std::net::IpAddr;

use serde_json::{Value, json};

/// The day on which these databases say they were built: 2026-06-17.
const BUILT_S: u64 = 1_781_654_400;

const TEXT: u8 = 2;
const UINT16: u8 = 5;
const UINT32: u8 = 6;
const MAP: u8 = 7;
const UINT64: u8 = 9;
const ARRAY: u8 = 11;
/// A kind that the format does not have, as damage may name one.
const NO_KIND: u8 = 200;

/// Where a bit leads.
#[derive(Clone, Copy)]
enum Child {
    Nothing,
    Node(usize),
    /// The record that begins at this byte of the records.
    Record(usize),
}

/// A database that calls itself `name`, for addresses of `ip_version` 4, or of both where it is 6. A
/// record is an object, and `null` in it a damaged value.
pub(super) fn database(name: &str, ip_version: u16, networks: &[(&str, Value)]) -> Vec<u8> {
    let mut tree = vec![[Child::Nothing; 2]];
    let mut records = Vec::new();
    for (network, record) in networks {
        let bits = bits(network, ip_version);
        let (last, above) = bits.split_last().expect("a network has a bit");
        let mut node = 0;
        for bit in above {
            if let Child::Nothing = tree[node][*bit] {
                tree[node][*bit] = Child::Node(tree.len());
                tree.push([Child::Nothing; 2]);
            }
            let Child::Node(next) = tree[node][*bit] else { panic!("{network} is in another") };
            node = next;
        }
        tree[node][*last] = Child::Record(records.len());
        write(&mut records, record);
    }
    let separator = [0_u8; 16];
    let mut file = Vec::new();
    for child in tree.iter().flatten() {
        let place = match child {
            Child::Nothing => tree.len(),
            Child::Node(node) => *node,
            Child::Record(at) => tree.len() + separator.len() + at,
        };
        let place = u32::try_from(place).expect("a small file").to_be_bytes();
        file.extend_from_slice(&place[1..]);
    }
    file.extend_from_slice(&separator);
    file.extend_from_slice(&records);
    describe(&mut file, name, ip_version, tree.len() as u64);
    file
}

/// The bits of a network from the first to the last. Among those of IPv6, IPv4 stands at `::/96`.
fn bits(network: &str, ip_version: u16) -> Vec<usize> {
    let (address, length) = network.split_once('/').expect("a network");
    let length: usize = length.parse().expect("a length");
    let (number, skipped) = match address.parse::<IpAddr>().expect("an address") {
        IpAddr::V4(address) if ip_version == 4 => (u128::from(u32::from(address)) << 96, 0),
        IpAddr::V4(address) => (u128::from(u32::from(address)), 96),
        IpAddr::V6(address) => (u128::from(address), 0),
    };
    (0..skipped + length).map(|place| usize::from((number << place) >> 127 == 1)).collect()
}

/// Ends the file with what it is.
fn describe(file: &mut Vec<u8>, name: &str, ip_version: u16, nodes: u64) {
    file.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    head(file, MAP, 9);
    for (field, value) in
        [("database_type", json!(name)), ("description", json!({})), ("languages", json!([]))]
    {
        text(file, field);
        write(file, &value);
    }
    for (field, kind, bytes, value) in [
        ("binary_format_major_version", UINT16, 2, 2),
        ("binary_format_minor_version", UINT16, 2, 0),
        ("build_epoch", UINT64, 8, BUILT_S),
        ("ip_version", UINT16, 2, u64::from(ip_version)),
        ("node_count", UINT32, 4, nodes),
        ("record_size", UINT16, 2, 24),
    ] {
        text(file, field);
        head(file, kind, bytes);
        file.extend_from_slice(&value.to_be_bytes()[8 - bytes..]);
    }
}

fn write(file: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => head(file, NO_KIND, 0),
        Value::String(content) => text(file, content),
        Value::Array(values) => {
            head(file, ARRAY, values.len());
            for value in values {
                write(file, value);
            }
        }
        Value::Object(fields) => {
            head(file, MAP, fields.len());
            for (name, value) in fields {
                text(file, name);
                write(file, value);
            }
        }
        Value::Bool(_) | Value::Number(_) => panic!("no place is {value}"),
    }
}

fn text(file: &mut Vec<u8>, content: &str) {
    head(file, TEXT, content.len());
    file.extend_from_slice(content.as_bytes());
}

/// Begins a value: its kind, and how many bytes, elements or pairs it has. Kinds above seven and sizes
/// above 28 go into a byte of their own.
fn head(file: &mut Vec<u8>, kind: u8, size: usize) {
    let size = u8::try_from(size).expect("a short value");
    let bits = if kind > MAP { 0 } else { kind << 5 };
    file.push(bits | size.min(29));
    file.extend(kind.checked_sub(MAP).filter(|beyond| *beyond > 0));
    file.extend(size.checked_sub(29));
}
