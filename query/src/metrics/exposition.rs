//! The two text formats of Prometheus: 0.0.4, and OpenMetrics 1.0.
//!
//! They differ in small ways that break a whole scrape when mixed: the family name of a counter,
//! the `# EOF`, the content type. Callers say what they count; this knows how it is written.
//!
//! Invariant: a label's value may hold anything; it cannot end its line.

use std::fmt::Write;

use http::HeaderMap;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    Prometheus,
    OpenMetrics,
}

impl Syntax {
    /// The one that `Accept` weighs highest; 0.0.4 where it names neither, as every poller reads it.
    pub(super) fn negotiate(headers: &HeaderMap) -> Self {
        let mut best = (0.0_f32, Self::Prometheus);
        let ranges = headers
            .get_all(http::header::ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','));
        for range in ranges {
            let mut parts = range.split(';').map(str::trim);
            let media_type = parts.next().unwrap_or_default();
            let (mut weight, mut version) = (1.0_f32, None);
            for parameter in parts {
                match parameter.split_once('=') {
                    Some(("q", value)) => weight = value.trim().parse().unwrap_or(0.0),
                    Some(("version", value)) => version = Some(value.trim()),
                    _ => {}
                }
            }
            let syntax = match (media_type, version) {
                ("application/openmetrics-text", None | Some("1.0.0")) => Self::OpenMetrics,
                ("text/plain" | "text/*" | "*/*", None | Some("0.0.4")) => Self::Prometheus,
                _ => continue,
            };
            if weight > best.0 {
                best = (weight, syntax);
            }
        }
        best.1
    }

    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What a family's samples mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A text that grows family by family.
#[derive(Debug)]
pub(super) struct Exposition {
    syntax: Syntax,
    text: String,
    family: &'static str,
    kind: Kind,
}

impl Exposition {
    pub(super) fn new(syntax: Syntax) -> Self {
        Self { syntax, text: String::new(), family: "", kind: Kind::Gauge }
    }

    /// Begins a counter, named without `_total`.
    pub(super) fn counter(&mut self, name: &'static str, help: &str) {
        self.family(name, Kind::Counter, help);
    }

    /// Begins a gauge.
    pub(super) fn gauge(&mut self, name: &'static str, help: &str) {
        self.family(name, Kind::Gauge, help);
    }

    /// Begins a family; the samples that follow are its.
    pub(super) fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        (self.family, self.kind) = (name, kind);
        let shown = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // 0.0.4 describes the sample, OpenMetrics the family.
        let suffix = match (self.syntax, kind) {
            (Syntax::Prometheus, Kind::Counter) => "_total",
            _ => "",
        };
        self.line(format_args!("# HELP {name}{suffix} {help}"));
        self.line(format_args!("# TYPE {name}{suffix} {shown}"));
        for unit in ["seconds", "bytes", "ratio"] {
            let named = name.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_'));
            if named && self.syntax == Syntax::OpenMetrics {
                self.line(format_args!("# UNIT {name} {unit}"));
            }
        }
    }

    /// One value of a counter or a gauge.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        let suffix = if self.kind == Kind::Counter { "_total" } else { "" };
        let family = self.family;
        self.line(format_args!("{family}{suffix}{} {}", Labels(labels), Number(value)));
    }

    /// One histogram: counts up to each bound, the last of which is infinite, and the sum.
    pub(super) fn histogram(&mut self, labels: &[(&str, &str)], up_to: &[(f64, u64)], sum: f64) {
        let family = self.family;
        for (bound, count) in up_to {
            let bound = Number(*bound).to_string();
            let mut labels = labels.to_vec();
            labels.push(("le", &bound));
            self.line(format_args!("{family}_bucket{} {count}", Labels(&labels)));
        }
        let count = up_to.last().map_or(0, |(_bound, count)| *count);
        self.line(format_args!("{family}_sum{} {}", Labels(labels), Number(sum)));
        self.line(format_args!("{family}_count{} {count}", Labels(labels)));
    }

    /// The whole text.
    pub(super) fn finish(mut self) -> String {
        if self.syntax == Syntax::OpenMetrics {
            self.line(format_args!("# EOF"));
        }
        self.text
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        self.text.write_fmt(line).expect("writing to a String does not fail");
        self.text.push('\n');
    }
}

/// `{name="value",…}`, or nothing.
struct Labels<'a>(&'a [(&'a str, &'a str)]);

impl std::fmt::Display for Labels<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, (name, value)) in self.0.iter().enumerate() {
            formatter.write_str(if index == 0 { "{" } else { "," })?;
            write!(formatter, "{name}=\"")?;
            for character in value.chars() {
                match character {
                    '\\' => formatter.write_str("\\\\")?,
                    '"' => formatter.write_str("\\\"")?,
                    '\n' => formatter.write_str("\\n")?,
                    other => formatter.write_char(other)?,
                }
            }
            formatter.write_str("\"")?;
        }
        if self.0.is_empty() { Ok(()) } else { formatter.write_str("}") }
    }
}

/// A number as both formats spell it.
struct Number(f64);

impl std::fmt::Display for Number {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            value if value.is_nan() => formatter.write_str("NaN"),
            f64::INFINITY => formatter.write_str("+Inf"),
            f64::NEG_INFINITY => formatter.write_str("-Inf"),
            value => write!(formatter, "{value}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_formats() {
        let write = |syntax| {
            let mut text = Exposition::new(syntax);
            text.counter("a_sends", "Sends.");
            text.sample(&[("route", "/a\"b\\c\nd")], 3.0);
            text.gauge("b_lag_seconds", "Lag.");
            text.sample(&[], f64::NAN);
            text.family("c_seconds", Kind::Histogram, "Durations.");
            text.histogram(&[("region", "GB")], &[(0.5, 2), (f64::INFINITY, 3)], 1.5);
            text.finish()
        };
        assert_eq!(
            write(Syntax::Prometheus),
            "# HELP a_sends_total Sends.\n\
             # TYPE a_sends_total counter\n\
             a_sends_total{route=\"/a\\\"b\\\\c\\nd\"} 3\n\
             # HELP b_lag_seconds Lag.\n\
             # TYPE b_lag_seconds gauge\n\
             b_lag_seconds NaN\n\
             # HELP c_seconds Durations.\n\
             # TYPE c_seconds histogram\n\
             c_seconds_bucket{region=\"GB\",le=\"0.5\"} 2\n\
             c_seconds_bucket{region=\"GB\",le=\"+Inf\"} 3\n\
             c_seconds_sum{region=\"GB\"} 1.5\n\
             c_seconds_count{region=\"GB\"} 3\n"
        );
        assert_eq!(
            write(Syntax::OpenMetrics),
            "# HELP a_sends Sends.\n\
             # TYPE a_sends counter\n\
             a_sends_total{route=\"/a\\\"b\\\\c\\nd\"} 3\n\
             # HELP b_lag_seconds Lag.\n\
             # TYPE b_lag_seconds gauge\n\
             # UNIT b_lag_seconds seconds\n\
             b_lag_seconds NaN\n\
             # HELP c_seconds Durations.\n\
             # TYPE c_seconds histogram\n\
             # UNIT c_seconds seconds\n\
             c_seconds_bucket{region=\"GB\",le=\"0.5\"} 2\n\
             c_seconds_bucket{region=\"GB\",le=\"+Inf\"} 3\n\
             c_seconds_sum{region=\"GB\"} 1.5\n\
             c_seconds_count{region=\"GB\"} 3\n\
             # EOF\n"
        );
    }

    #[test]
    fn negotiates() {
        for (accept, expected) in [
            ("", Syntax::Prometheus),
            ("*/*", Syntax::Prometheus),
            ("text/plain", Syntax::Prometheus),
            ("application/openmetrics-text", Syntax::OpenMetrics),
            ("application/openmetrics-text; version=1.0.0; charset=utf-8", Syntax::OpenMetrics),
            ("application/openmetrics-text; version=2.0.0", Syntax::Prometheus),
            (
                "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.2",
                Syntax::OpenMetrics,
            ),
            (
                "text/plain;version=0.0.4;q=0.9,application/openmetrics-text;q=0.5",
                Syntax::Prometheus,
            ),
            ("image/png", Syntax::Prometheus),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(http::header::ACCEPT, accept.parse().expect("a header"));
            assert_eq!(Syntax::negotiate(&headers), expected, "{accept}");
        }
    }
}
