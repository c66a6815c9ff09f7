//! `losses`: what was promised and is not there, by exact range. Empty on a sound machine.

use super::column::columns;
use super::{Label, Time};

columns! {
    /// One range of the log that was lost, one record that was set aside, or a part of the state.
    pub struct LossRow / LossBuilders {
        /// Log time at which it was found out.
        pub time: Time,
        /// The same; every table is kept by its receive time.
        pub time_received: Time,
        /// damaged | removed | undecodable | poison | state.
        pub kind: Label,
        /// Where in the log it begins.
        pub log_from: String,
        /// Where in the log it ends.
        pub log_to: String,
        /// What is known of it, in words.
        pub detail: String,
    }
}
