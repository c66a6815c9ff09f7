//! The query role's configuration: every limit, what happens at it, and why it is this number.
//!
//! It is not where values come from: the root reads files, flags and environment. Keys left out
//! have the defaults below; a key nobody knows is an error.

use serde::{Deserialize, Serialize};

use crate::follow;

/// Everything the query role can be told.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How the log is followed, joined and stored.
    pub follow: follow::Config,
    /// What a statement may use.
    pub sql: SqlConfig,
    /// What a connection may use.
    pub http: HttpConfig,
}

/// Limits of SQL. A statement beyond one of them is answered with 422 and `kind: "limit"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SqlConfig {
    /// Memory of all running statements together. Beyond it they spill, and what cannot spill
    /// fails. 1 GiB leaves room for the head, the join and the page cache on a 4 GiB machine.
    pub memory_bytes: usize,
    /// Disk for spilled intermediate results, below the store's directory. 2 GiB is twice the
    /// memory: a statement that needs more is asked on the wrong machine.
    pub spill_bytes: u64,
    /// Statements that run at once. Each uses every core, so more of them only share.
    pub running_max: usize,
    /// Statements that wait for their turn; the next one is refused. At 30 s each, a longer queue
    /// would outlast every client's patience.
    pub queued_max: usize,
    /// Wall-clock time of a statement, waiting included: nobody looks at a page for longer.
    pub wall_seconds: u64,
    /// Rows of one answer. Beyond this a person wants an aggregate, and a machine wants pages.
    pub result_rows_max: usize,
    /// Bytes of one answer in memory, counted in `memory_bytes` as well.
    pub result_bytes_max: usize,
    /// Bytes of a statement's text. Hand-written SQL ends below 10 KiB, generated SQL below 64.
    pub text_bytes_max: usize,
    /// Words and signs of a statement.
    pub tokens_max: usize,
    /// Operators in one chain (`a AND b AND …`): each is a level of recursion in the planner.
    pub operators_max: usize,
    /// Parentheses within parentheses, for the same reason.
    pub nesting_max: usize,
    /// Tables named in a statement, each use counted: the optimizer's work grows faster than
    /// their number.
    pub tables_max: usize,
    /// Parts of all types together that a statement builds. `named_struct('finished', h, 'left', h)` has
    /// four, and a statement holds some such; a type of thousands of parts is compared in microseconds.
    pub type_parts_max: usize,
    /// Expressions and nodes of a statement's plan. Statements of people have hundreds; a common table
    /// that is named by others is here once for each use.
    pub plan_parts_max: usize,
    /// Bytes of one value that a statement can make, told before it runs: `replace` and `||` can make
    /// any amount out of a few bytes, outside `memory_bytes`. A batch of 8,192 rows makes 128 MiB of
    /// the default, and texts that people build stay below a few hundred bytes.
    pub value_bytes_max: usize,
    /// Bytes of one row that a statement can make, for the same reason: all columns of a batch stand
    /// in memory at once, in half a GiB by default.
    pub row_bytes_max: usize,
    /// Stack of the thread that plans a statement. The planner is recursive; 16 MiB carries any
    /// statement within the limits above with a factor of four to spare.
    pub planner_stack_bytes: usize,
    /// Partitions a statement is split into; 0 means one per core.
    pub partitions: usize,
    /// Rows of a session's timeline. A session beyond this is cut, and the answer says so.
    pub timeline_rows_max: usize,
    /// Seconds that a statement may still work once its time is over or its client has gone. One that
    /// does not stop cannot be stopped, and two would leave nobody a place: the role ends, and its
    /// supervisor starts it again. A step over one batch takes milliseconds; on a machine that is busy
    /// with other work a hundred times that, which is no reason to end.
    pub stop_seconds: u64,
}

impl Default for SqlConfig {
    fn default() -> Self {
        Self {
            memory_bytes: 1 << 30,
            spill_bytes: 2 << 30,
            running_max: 2,
            queued_max: 8,
            wall_seconds: 30,
            result_rows_max: 100_000,
            result_bytes_max: 64 << 20,
            text_bytes_max: 64 << 10,
            tokens_max: 5_000,
            operators_max: 500,
            nesting_max: 32,
            tables_max: 64,
            type_parts_max: 4_096,
            plan_parts_max: 50_000,
            value_bytes_max: 16 << 10,
            row_bytes_max: 64 << 10,
            planner_stack_bytes: 16 << 20,
            partitions: 0,
            timeline_rows_max: 10_000,
            stop_seconds: 15,
        }
    }
}

/// Limits of HTTP.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Open connections; the next ones wait to be accepted. People and pollers, not the public.
    pub connections_max: usize,
    /// Requests at once on one HTTP/2 connection: what browsers assume. The next ones wait.
    pub streams_max: u32,
    /// Headers of one request. Browsers send some twenty. Beyond it: 431.
    pub headers_max: usize,
    /// Bytes of one request's headers. Browsers send two KiB, cookies included. Beyond it: 431. Of HTTP/1
    /// not less than 8 KiB, which is as much as is read at once.
    pub header_bytes_max: u32,
    /// Seconds a client may take to send a request's header, its first one from connecting on: slower
    /// ones hold a connection.
    pub header_seconds: u64,
    /// Seconds a connection may be without a request. Longer than an answer may take, which counts as
    /// none; scrapers come every minute.
    pub idle_seconds: u64,
    /// Seconds a client may take to send a statement, for the same reason.
    pub body_seconds: u64,
    /// Seconds a client may take to receive an answer, which stands in `sql.memory_bytes` meanwhile. The
    /// largest comes through in two minutes at half a MiB a second.
    pub answer_seconds: u64,
    /// Seconds that open requests may still take once the role is told to end.
    pub drain_seconds: u64,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            connections_max: 512,
            streams_max: 100,
            headers_max: 64,
            header_bytes_max: 16 << 10,
            header_seconds: 10,
            idle_seconds: 150,
            body_seconds: 15,
            answer_seconds: 120,
            drain_seconds: 5,
        }
    }
}
