//! `sessions`: one row per session, what one user did without a long pause.

use super::column::columns;
use super::{Label, SessionId, Time};

columns! {
    /// One session so far.
    pub struct SessionRow / SessionBuilders {
        /// The application; a session is (app, session_id).
        pub app: Label,
        /// deployment.environment.name.
        pub environment: Label,
        /// The session.
        pub session_id: SessionId,
        /// The user, where one is known.
        pub user_id: Option<String>,
        /// ISO 3166-1 alpha-2.
        pub country: Label,
        /// ISO 3166-2 with its country prefix; of a flat database the name instead of the code.
        pub subdivision: Label,
        /// The operator's region, by default the country.
        pub region: Label,
        /// Its first row's time.
        pub start: Time,
        /// Its last row's time.
        pub end: Time,
        /// When the collector received its latest row.
        pub time_received: Time,
        /// Documents loaded.
        pub pages: i64,
        /// Logical requests.
        pub requests: i64,
        /// Attempts of those requests.
        pub attempts: i64,
        /// Reloads.
        pub refreshes: i64,
        /// Bursts of clicks on one thing.
        pub rage_clicks: i64,
        /// Failed requests and uncaught errors.
        pub errors: i64,
        /// Abandoned requests.
        pub abandonments: i64,
        /// Requests in its busiest minute.
        pub requests_per_min_max: i64,
        /// Requests in the median of its active minutes: its own calm.
        pub requests_per_min_calm: i64,
        /// Server clock minus client clock, in microseconds; NULL while nothing bounds it.
        pub clock_offset_us: Option<i64>,
        /// Half the width of the interval that holds the offset; NULL where it is one-sided.
        pub clock_error_us: Option<i64>,
        /// open | closed | reopened.
        pub state: Label,
        /// True where every sender was authenticated.
        pub verified: bool,
        /// How many sessions this one stands for under sampling.
        pub sample_weight: f64,
    }
}
