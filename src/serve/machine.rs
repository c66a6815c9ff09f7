//! What a role asks of the machine before it serves: descriptors enough, and that it is the query
//! role that goes where memory ends. Not a requirement: where the system refuses, the role goes on.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::role::Role;

/// How much likelier the kernel ends the query role than others of its size, of 1,000. What somebody
/// types may take memory, and what was promised on acknowledge must not depend on it.
const QUERY_SCORE: &str = "500";

/// Prepares this process for `role`.
pub(super) fn prepare(role: Role) {
    raise_descriptors();
    if role == Role::Query {
        // Only Linux has it; anybody may raise their own.
        std::fs::write("/proc/self/oom_score_adj", QUERY_SCORE).ok();
    }
}

/// Allows as many open files as the system lets us have. Each connection is one, and a log that finds
/// none left for its next segment has to end.
fn raise_descriptors() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, ?current, "cannot raise the limit of open files");
    }
}
