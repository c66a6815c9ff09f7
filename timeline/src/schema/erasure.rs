//! What somebody asked to be erased.

use serde::{Deserialize, Serialize};

use super::{Label, SessionId};

/// Whose rows are to go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Subject {
    /// One session.
    Session(SessionId),
    /// Every session of one user, and every row that names the user.
    User(String),
}

/// An erasure within one application. It binds what is there and what arrives later; sums that
/// name nobody remain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Erasure {
    /// The application: a session is (app, session_id).
    pub app: Label,
    /// Whose rows.
    pub subject: Subject,
}

impl Erasure {
    /// Whether a row of `app` that names this session and user is to go.
    pub fn covers(&self, app: &Label, session: Option<&SessionId>, user: Option<&str>) -> bool {
        *app == self.app
            && match &self.subject {
                Subject::Session(id) => session == Some(id),
                Subject::User(id) => user == Some(id.as_str()),
            }
    }
}
