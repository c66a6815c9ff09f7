//! What pages load, over an upgrade of the program: a script that a page has pinned stays.

use std::fs;

use crate::harness::Ethogram;

/// What an earlier version has left, and the name that says so.
const EARLIER: &str = "// pinned by a page of last year\n";
const EARLIER_NAME: &str = "ethogram-0.0.9.683cf40ca45160b8.js";

#[test]
fn a_pinned_script_outlives_an_upgrade() {
    let mut ethogram = Ethogram::start(&[]);
    let path = format!("/{EARLIER_NAME}");
    assert_eq!(ethogram.get(&ethogram.at.beacon, &path).status, 404);
    // What the next version will find, of this one.
    let directory = ethogram.directory.path().join("data/scripts");
    let left: Vec<_> = fs::read_dir(&directory)
        .expect("the program has left its scripts")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
        .filter(|name| !name.ends_with(".map"))
        .collect();
    assert_eq!(left.len(), 2, "{left:?}");
    for name in &left {
        let kept = fs::read(directory.join(name)).expect("a script");
        let served = ethogram.get(&ethogram.at.beacon, &format!("/{name}"));
        assert!(served.status == 200 && served.body == kept, "{name}");
    }

    fs::write(directory.join(EARLIER_NAME), EARLIER).expect("the script is written");
    fs::write(directory.join(format!("{EARLIER_NAME}.map")), "{}").expect("the map is written");
    ethogram.kill_and_restart();
    let served = ethogram.get(&ethogram.at.beacon, &path);
    assert_eq!((served.status, served.text().as_str()), (200, EARLIER));
    assert_eq!(served.header("cache-control"), Some("public, max-age=31536000, immutable"));
    for name in &left {
        assert_eq!(ethogram.get(&ethogram.at.beacon, &format!("/{name}")).status, 200, "{name}");
    }
}
