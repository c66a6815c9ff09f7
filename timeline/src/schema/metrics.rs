//! `metrics`: one row per OTLP data point: the pressure behind the behaviour.

use super::column::columns;
use super::{Attributes, Label, Time};
use crate::rollup::Buckets;

columns! {
    /// One data point.
    pub struct MetricRow / MetricBuilders {
        /// When it was measured.
        pub time: Time,
        /// When the collector received it.
        pub time_received: Time,
        /// The application, from the key.
        pub app: Label,
        /// deployment.environment.name.
        pub environment: Label,
        /// service.name.
        pub service: Label,
        /// service.version.
        pub service_version: Label,
        /// The metric's name.
        pub name: Label,
        /// The metric's unit.
        pub unit: Label,
        /// gauge | sum | histogram | summary.
        pub kind: Label,
        /// cumulative | delta | unspecified.
        pub temporality: Label,
        /// True for a sum that only rises.
        pub monotonic: bool,
        /// The value of a gauge or a sum.
        pub value: Option<f64>,
        /// How many measurements a histogram holds.
        pub count: Option<i64>,
        /// The sum of a histogram's measurements, in the metric's unit.
        pub sum: Option<f64>,
        /// A histogram in our buckets; a time is in microseconds, whatever the unit was.
        pub h: Option<Buckets>,
        /// cloud.region.
        pub cloud_region: Label,
        /// True where the sender was authenticated.
        pub verified: bool,
        /// The data point's attributes in the sender's names.
        pub attributes: Attributes,
        /// The resource's attributes in the sender's names.
        pub resource: Attributes,
    }
}
