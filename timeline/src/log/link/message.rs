//! What goes over the socket: a follower's 80-byte greeting, then 64-byte positions both ways
//! (the block of the file `committed`). Not a general protocol: both ends are one binary.

use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use super::super::committed::Committed;
use super::super::frame::u32_at;
use super::super::position::Position;

/// Name of the socket in the log's directory.
pub(super) const SOCKET_NAME: &str = "committed.sock";
/// Bytes of a greeting.
pub(super) const GREETING_BYTES: usize = 80;
/// Longest follower name: what is left in the greeting.
const NAME_BYTES_MAX: usize = 60;
/// Longest socket path every system takes (macOS: 104 bytes with its end mark).
const PATH_BYTES_MAX: usize = 100;

const MAGIC: [u8; 8] = *b"ETHOGFLW";
const VERSION: u32 = 1;
const NAME_AT: usize = 16;
const CRC_AT: usize = 76;

/// A path of the socket that a system call takes, however deep the directory is. The directory
/// must stay open while the path is used.
pub(super) struct SocketPath {
    pub(super) path: PathBuf,
    _directory: Option<std::fs::File>,
}

impl SocketPath {
    pub(super) fn of(directory: &Path) -> io::Result<Self> {
        let path = directory.join(SOCKET_NAME);
        if path.as_os_str().len() <= PATH_BYTES_MAX || !cfg!(target_os = "linux") {
            return Ok(Self { path, _directory: None });
        }
        let directory = std::fs::File::open(directory)?;
        let path = format!("/proc/self/fd/{}/{SOCKET_NAME}", directory.as_raw_fd());
        Ok(Self { path: path.into(), _directory: Some(directory) })
    }
}

/// Whether a follower may have this name: it stands in a line of the file `followers`.
pub(super) fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(allowed)
}

pub(super) fn greeting(name: &str) -> [u8; GREETING_BYTES] {
    let mut bytes = [0; GREETING_BYTES];
    let name = &name.as_bytes()[..name.len().min(NAME_BYTES_MAX)];
    bytes[0..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..16].copy_from_slice(&(name.len() as u32).to_le_bytes());
    bytes[NAME_AT..NAME_AT + name.len()].copy_from_slice(name);
    let crc = crc32c::crc32c(&bytes[..CRC_AT]);
    bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The follower's name; `None` if the bytes are no greeting of this version.
pub(super) fn greeted(bytes: &[u8; GREETING_BYTES]) -> Option<String> {
    let len = u32_at(bytes, 12) as usize;
    let sound = bytes[0..8] == MAGIC
        && u32_at(bytes, 8) == VERSION
        && crc32c::crc32c(&bytes[..CRC_AT]) == u32_at(bytes, CRC_AT)
        && len <= NAME_BYTES_MAX;
    let name = std::str::from_utf8(bytes.get(NAME_AT..NAME_AT + len)?).ok()?;
    (sound && is_name(name)).then(|| name.to_owned())
}

/// A position as a message; only the file `committed` uses the other fields of the block.
pub(super) fn position(position: Position) -> [u8; super::super::committed::BLOCK_BYTES] {
    Committed { position, next_sequence: 0, writer_epoch: 0 }.encode()
}
