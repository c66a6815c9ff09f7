//! A session between two of its rows: packed as bytes while it is silent, unpacked to be spoken of.
//!
//! Most open sessions are silent: somebody reads, or has left and not been closed yet. Packed, a
//! session of one page costs a sixth of what it does as maps and labels.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::session::Session;

/// An open session.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Kept {
    /// Spoken of within the last minute or so.
    Awake(Box<Session>),
    /// Silent: its encoding.
    Asleep(Box<[u8]>),
}

const OWN: &str = "the bytes are our own encoding, made by this process or by an equal form";

impl Kept {
    /// The session, to be changed.
    pub(super) fn wake(&mut self) -> &mut Session {
        if let Self::Asleep(bytes) = self {
            *self = Self::Awake(Box::new(postcard::from_bytes(bytes).expect(OWN)));
        }
        match self {
            Self::Awake(session) => session,
            Self::Asleep(_) => unreachable!("it was woken above"),
        }
    }

    /// The session, to be read.
    pub(super) fn look(&self) -> Cow<'_, Session> {
        match self {
            Self::Awake(session) => Cow::Borrowed(session),
            Self::Asleep(bytes) => Cow::Owned(postcard::from_bytes(bytes).expect(OWN)),
        }
    }

    /// Packs it. One that cannot be packed stays as it is.
    pub(super) fn sleep(&mut self) {
        if let Self::Awake(session) = self
            && let Ok(bytes) = postcard::to_allocvec(session)
        {
            *self = Self::Asleep(bytes.into_boxed_slice());
        }
    }
}
