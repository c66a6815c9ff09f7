//! The scripts of earlier versions: each version leaves its own in a directory when it starts.
//!
//! A page may have pinned a script by its name and `integrity`, in a template that nobody touches
//! for months. So an upgrade of the collector must not take that script away. The directory is the
//! data directory's `scripts`; a file from the npm package's `dist`, under its versioned name and with
//! its map beside it, may be put there as well.
//!
//! It is not a way to serve anything else. Invariants: a script that is not by its hash what its name
//! says is not served (its map has no hash, and is what stands beside it); a directory that cannot be read or written costs the earlier versions, which is said,
//! and never the start; at most `scripts_max` files stay, those that came last.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::SystemTime;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{Edition, current};

/// What names of files begin with, whatever the configuration calls the scripts on the web.
const STEM: &str = "ethogram";

/// Scripts have some 30 KiB and their maps 200: so much is no script of ours.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Leaves the scripts of this version in `directory`, and gives those of earlier ones, at most
/// `scripts_max`.
pub(crate) fn keep(directory: &Path, scripts_max: usize) -> Vec<Edition> {
    let shown = directory.display();
    // What cannot be written may be read all the same, as on a full disk.
    if let Err(error) = leave(directory) {
        tracing::warn!(directory = %shown, %error, "the next version will not find these scripts");
    }
    earlier(directory, scripts_max).unwrap_or_else(|error| {
        tracing::warn!(directory = %shown, %error, "scripts of earlier versions are not served");
        Vec::new()
    })
}

/// Whether a path names a version: then it must never answer with another.
pub(crate) fn is_versioned(path: &str) -> bool {
    path.strip_suffix(".js")
        .and_then(|stem| stem.rsplit_once('.'))
        .is_some_and(|(_, hash)| is_hash(hash))
}

fn leave(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    for (edition, _) in current() {
        let name = edition.versioned(STEM);
        // The map first: a script without one is none.
        write(directory, &format!("{name}.map"), &edition.map)?;
        write(directory, &name, &edition.text)?;
    }
    Ok(())
}

/// A file has its name when all of it is there.
fn write(directory: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let path = directory.join(name);
    if fs::read(&path).is_ok_and(|there| there == content) {
        return Ok(());
    }
    // Another process may be at the same, where a directory is shared.
    let new = directory.join(format!("{name}.{}.new", std::process::id()));
    let mut file = File::create(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, &path)
}

fn earlier(directory: &Path, scripts_max: usize) -> io::Result<Vec<Edition>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(named) = name.to_str().and_then(parse) else { continue };
        if current().any(|(edition, _)| edition.versioned(STEM) == named.versioned(STEM)) {
            continue;
        }
        let written = entry.metadata().and_then(|file| file.modified());
        found.push((written.unwrap_or(SystemTime::UNIX_EPOCH), named));
    }
    found.sort_by(|(left, one), (right, other)| {
        (right, other.versioned(STEM)).cmp(&(left, one.versioned(STEM)))
    });
    let surplus = found.split_off(found.len().min(scripts_max));
    for name in surplus.iter().map(|(_, named)| named.versioned(STEM)) {
        tracing::info!(name, scripts_max, "a script of an earlier version is let go");
        let map = format!("{name}.map");
        // One that stays in the way is seen again at the next start.
        drop([name, map].map(|name| fs::remove_file(directory.join(name))));
    }
    Ok(found.into_iter().filter_map(|(_, named)| filled(directory, named)).collect())
}

/// The script with its content, if that is what the name says.
fn filled(directory: &Path, named: Edition) -> Option<Edition> {
    let name = named.versioned(STEM);
    let content = read(&directory.join(&name))
        .and_then(|text| Ok((text, read(&directory.join(format!("{name}.map")))?)));
    match content {
        Ok((text, map)) if hash(&text) == named.hash => {
            Some(Edition { text: text.into(), map: map.into(), ..named })
        }
        Ok(_) => {
            tracing::warn!(name, "a script is not what its name says, and is not served");
            None
        }
        Err(error) => {
            tracing::warn!(name, %error, "a script cannot be read, and is not served");
            None
        }
    }
}

/// A file's content; what a link leads to is none of ours.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut content = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut content)?;
    Ok(content)
}

fn hash(text: &[u8]) -> String {
    Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn is_hash(text: &str) -> bool {
    text.len() == 16
        && text.chars().all(|digit| digit.is_ascii_digit() || ('a'..='f').contains(&digit))
}

/// What a file's name says: `ethogram-vitals-0.1.0.0123456789abcdef.js`.
fn parse(name: &str) -> Option<Edition> {
    let (rest, hash) = name.strip_prefix(STEM)?.strip_suffix(".js")?.rsplit_once('.')?;
    let mut begins = rest.match_indices('-').map(|(at, _)| at);
    let at = begins.find(|at| rest[at + 1..].starts_with(|first: char| first.is_ascii_digit()))?;
    let (variant, version) = (&rest[..at], &rest[at + 1..]);
    let is_plain = rest.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c));
    (is_hash(hash) && is_plain).then(|| Edition {
        variant: variant.to_owned(),
        version: version.to_owned(),
        hash: hash.to_owned(),
        text: Bytes::new(),
        map: Bytes::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "// of an earlier version\n";

    fn put(directory: &Path, name: &str, text: &str) {
        fs::write(directory.join(name), text).expect("the script is written");
        fs::write(directory.join(format!("{name}.map")), "{}").expect("the map is written");
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).expect("the directory is read");
        let name = |entry: io::Result<fs::DirEntry>| {
            entry.expect("an entry").file_name().into_string().expect("names of ours are text")
        };
        let mut names: Vec<_> = entries.map(name).collect();
        names.sort();
        names
    }

    #[test]
    fn names_say_what_a_script_is() {
        let check = |name: &str, expected: Option<(&str, &str)>| {
            let found = parse(name);
            let found = found.as_ref().map(|named| (&*named.variant, &*named.version));
            assert_eq!(found, expected, "{name}");
        };
        check("ethogram-0.1.0.0123456789abcdef.js", Some(("", "0.1.0")));
        check("ethogram-vitals-1.2.0-rc.1.0123456789abcdef.js", Some(("-vitals", "1.2.0-rc.1")));
        check("ethogram-0.1.0.0123456789ABCDEF.js", None);
        check("ethogram-0.1.0.js", None);
        check("ethogram.0123456789abcdef.js", None);
        check("ethogram-{x}-1.0123456789abcdef.js", None);
        check("other-0.1.0.0123456789abcdef.js", None);
        check("ethogram-0.1.0.0123456789abcdef.js.map", None);
    }

    #[test]
    fn each_version_leaves_its_scripts_and_finds_the_earlier_ones() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("scripts");
        assert_eq!(keep(&path, 2), [], "the first version finds none");
        let own: Vec<_> = current().map(|(edition, _)| edition.versioned(STEM)).collect();
        let here = names(&path);
        assert!(own.iter().all(|name| here.contains(name)), "{here:?}");
        assert!(own.iter().all(|name| here.contains(&format!("{name}.map"))), "{here:?}");

        let name = format!("ethogram-0.0.9.{}.js", hash(TEXT.as_bytes()));
        put(&path, &name, TEXT);
        put(&path, "ethogram-0.0.8.0123456789abcdef.js", "other bytes than the name says");
        let found = keep(&path, 2);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].versioned(STEM), name);
        assert_eq!((&found[0].text[..], &found[0].map[..]), (TEXT.as_bytes(), &b"{}"[..]));

        // What is torn is written again.
        fs::write(path.join(&own[0]), "torn").expect("a file is torn");
        keep(&path, 2);
        let whole = fs::read(path.join(&own[0])).expect("the script is there");
        assert_eq!(hash(&whole), parse(&own[0]).expect("a name of ours").hash);
    }

    #[test]
    fn those_that_came_last_stay() {
        let directory = tempfile::tempdir().expect("a directory");
        for second in 1..=5_u64 {
            let text = format!("// {second}");
            let name = format!("ethogram-0.0.{second}.{}.js", hash(text.as_bytes()));
            put(directory.path(), &name, &text);
            let file = File::options().write(true).open(directory.path().join(&name));
            let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(second);
            file.and_then(|file| file.set_modified(at)).expect("the time is set");
        }
        let versions: Vec<_> =
            keep(directory.path(), 2).into_iter().map(|edition| edition.version).collect();
        assert_eq!(versions, ["0.0.5", "0.0.4"]);
        let left = names(directory.path());
        assert_eq!(left.len(), 2 * 2 + 2 * current().count(), "{left:?}");
    }

    #[test]
    fn a_directory_that_cannot_be_does_not_hinder_the_start() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("file");
        fs::write(&file, "").expect("a file is written");
        assert_eq!(keep(&file.join("scripts"), 2), []);
    }
}
