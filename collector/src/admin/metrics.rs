//! The counters as Prometheus reads them: text 0.0.4, or OpenMetrics 1.0.0 where it is asked for.
//!
//! Invariants: names and labels are fixed at compile time, except for the names of the databases
//! of places, which are escaped: one bad label would cost the whole scrape.

use std::fmt::Write;

use crate::admit::Collector;

/// A text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Prometheus,
    OpenMetrics,
}

impl Format {
    /// The format that `Accept` asks for. Only those who know OpenMetrics name it.
    pub(super) fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// All metrics of the role.
pub(super) fn page(collector: &Collector, format: Format) -> String {
    let mut page = Page { text: String::new(), format };
    doors(&mut page, collector);
    records(&mut page, collector);
    log(&mut page, collector);
    let databases = collector.geo.sources().map(|source| (label("source", source), 1));
    page.gauge(
        "geo_database_info",
        "Databases of places in use, with the day each was built.",
        databases,
    );
    if format == Format::OpenMetrics {
        page.text.push_str("# EOF\n");
    }
    page.text
}

fn doors(page: &mut Page, collector: &Collector) {
    let values = collector.counters.read();
    let by_door = |cells: &[(crate::counters::Door, u64)]| {
        cells.iter().map(|(door, count)| (label("door", door.name()), *count)).collect::<Vec<_>>()
    };
    page.counter("requests", "Requests to a data path.", by_door(&values.requests));
    let refused = values.refused.iter().map(|(reason, door, count)| {
        (format!("{},{}", label("reason", reason.name()), label("door", door.name())), *count)
    });
    page.counter("refused", "Requests refused, by reason.", refused);
    let connections = values
        .connections
        .iter()
        .map(|(door, open)| (label("door", door.name()), open.max(&0).unsigned_abs()));
    page.gauge("connections", "Connections open now.", connections);
    let refused = values.connections_refused.iter().flat_map(|(door, counts)| {
        counts.iter().map(|(full, count)| {
            (format!("{},{}", label("reason", full.name()), label("door", door.name())), *count)
        })
    });
    page.counter(
        "connections_refused",
        "Connections closed at once, because the listener or the address had as many as it may.",
        refused,
    );
    let cut = values.connections_cut.iter().flat_map(|(door, counts)| {
        counts.iter().map(|(cut, count)| {
            (format!("{},{}", label("reason", cut.name()), label("door", door.name())), *count)
        })
    });
    page.counter("connections_ended", "Connections that the collector ended, by reason.", cut);
    page.counter(
        "body_bytes",
        "Bytes of bodies, as they were on the wire.",
        [(String::new(), values.body_bytes)],
    );
    let in_flight = collector.budget.used() as u64;
    page.gauge(
        "in_flight_bytes",
        "Bytes of bodies between arrival and answer.",
        [(String::new(), in_flight)],
    );
}

fn records(page: &mut Page, collector: &Collector) {
    let values = collector.counters.read();
    let accepted =
        values.accepted.iter().map(|(kind, count)| (label("signal", kind.name()), *count));
    page.counter("records_accepted", "Records acknowledged after they were on disk.", accepted);
    let by_reason = |cells: &[(crate::admit::Kind, &'static str, u64)]| {
        let labels = |kind: &crate::admit::Kind, reason| {
            format!("{},{}", label("signal", kind.name()), label("reason", reason))
        };
        cells.iter().map(|(kind, reason, count)| (labels(kind, reason), *count)).collect::<Vec<_>>()
    };
    page.counter(
        "rejected_records",
        "Records that can never be accepted, of requests that were.",
        by_reason(&values.rejected),
    );
    page.counter(
        "shortened_parts",
        "Parts cut from records that were accepted.",
        by_reason(&values.shortened),
    );
    page.counter(
        "ticks_refused",
        "Ticks the log did not take.",
        [(String::new(), values.ticks_refused)],
    );
}

fn log(page: &mut Page, collector: &Collector) {
    let stats = collector.log.stats();
    let one = |value: u64| [(String::new(), value)];
    page.counter(
        "log_records",
        "Records appended and synced, ticks included.",
        one(stats.appended_records),
    );
    page.counter(
        "log_appended_bytes",
        "Bytes of those records, without frames.",
        one(stats.appended_bytes),
    );
    page.gauge(
        "log_bytes",
        "Bytes of the segments kept, reserved space included.",
        one(stats.bytes),
    );
    page.gauge("log_segments", "Segments kept.", one(stats.segments));
    page.counter(
        "log_segments_removed",
        "Segments removed after all followers had passed them.",
        one(stats.removed_segments),
    );
    page.gauge("log_queue_bytes", "Bytes waiting for the disk.", one(stats.queue_bytes));
    page.gauge(
        "log_failed",
        "1 where the log has failed and the process ends.",
        one(u64::from(stats.failed)),
    );
    page.summary(
        "log_fsync_seconds",
        "Time in fdatasync, one per commit.",
        stats.commits,
        stats.fsync_us_sum,
    );
    page.seconds(
        "log_fsync_seconds_max",
        "The slowest fdatasync since the start.",
        stats.fsync_us_max,
    );
    let committed = collector.log.committed();
    page.gauge("committed_segment", "Segment of the committed position.", one(committed.segment));
    page.gauge(
        "committed_offset_bytes",
        "Offset of the committed position in its segment.",
        one(committed.offset),
    );
}

/// The text so far.
struct Page {
    text: String,
    format: Format,
}

impl Page {
    /// A counter; its samples end in `_total` in both formats, its family only in the older one.
    fn counter(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (String, u64)>,
    ) {
        match self.format {
            Format::Prometheus => self.family(&format!("{name}_total"), help, "counter"),
            Format::OpenMetrics => self.family(name, help, "counter"),
        }
        self.samples(&format!("{name}_total"), samples);
    }

    fn gauge(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = (String, u64)>) {
        self.family(name, help, "gauge");
        self.samples(name, samples);
    }

    fn seconds(&mut self, name: &str, help: &str, us: u64) {
        self.family(name, help, "gauge");
        self.line(&format!("{name} {}", us as f64 / 1e6));
    }

    fn summary(&mut self, name: &str, help: &str, count: u64, sum_us: u64) {
        self.family(name, help, "summary");
        self.line(&format!("{name}_count {count}"));
        self.line(&format!("{name}_sum {}", sum_us as f64 / 1e6));
    }

    fn family(&mut self, name: &str, help: &str, kind: &str) {
        writeln!(self.text, "# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} {kind}")
            .expect("a String takes all");
    }

    fn samples(&mut self, name: &str, samples: impl IntoIterator<Item = (String, u64)>) {
        for (labels, value) in samples {
            let braced = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
            self.line(&format!("{name}{braced} {value}"));
        }
    }

    fn line(&mut self, line: &str) {
        writeln!(self.text, "{PREFIX}{line}").expect("a String takes all");
    }
}

const PREFIX: &str = "ethogram_collector_";

fn label(name: &str, value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("{name}=\"{value}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats() {
        let check = |format: Format, expected: &str| {
            let mut page = Page { text: String::new(), format };
            page.counter("refused", "Why.", [(label("reason", "a\"b\\c\nd"), 3)]);
            page.summary("sync", "How long.", 2, 1_500_000);
            assert_eq!(page.text, expected);
        };
        let sample = "ethogram_collector_refused_total{reason=\"a\\\"b\\\\c\\nd\"} 3\n";
        let summary = "# HELP ethogram_collector_sync How long.\n# TYPE ethogram_collector_sync summary\n\
                       ethogram_collector_sync_count 2\nethogram_collector_sync_sum 1.5\n";
        let family = |name: &str| {
            format!(
                "# HELP ethogram_collector_{name} Why.\n# TYPE ethogram_collector_{name} counter\n"
            )
        };
        check(Format::Prometheus, &format!("{}{sample}{summary}", family("refused_total")));
        check(Format::OpenMetrics, &format!("{}{sample}{summary}", family("refused")));
        assert_eq!(
            Format::accepted("application/openmetrics-text;version=1.0.0,text/plain;q=0.5"),
            Format::OpenMetrics
        );
        assert_eq!(Format::accepted("text/plain"), Format::Prometheus);
    }
}
