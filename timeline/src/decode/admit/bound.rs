//! The sizes a record may have, and how an oversized one is brought within them.
//!
//! Size never rejects a record: a sender cannot mend it, and the part that matters (ids, times,
//! status) is small. What is cut is counted.
//!
//! The constants are a part of what a row is: whoever reads the log holds to them, so that equal logs give
//! equal rows. Whoever writes it may let in less ([`Sizes`]).

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use serde::{Deserialize, Serialize};

use super::super::counts::Counts;
use super::super::json::DEPTH_READ_MAX;
use super::super::value::{self, TEXT_BYTES_MAX};

/// Attributes of one record; eight times the default of OpenTelemetry's SDKs (128).
pub const ATTRIBUTES_MAX: usize = 1024;

/// The longest key. The longest of the conventions has 60 letters.
pub const KEY_BYTES_MAX: usize = 256;

/// The longest text, and the sum of all texts in a list.
pub const VALUE_BYTES_MAX: usize = TEXT_BYTES_MAX;

/// The attributes of one record together, its events' and links' included: a thousand such records
/// still are one commit of the log.
pub const RECORD_BYTES_MAX: usize = 64 * 1024;

/// The longest name of a span, a metric, a scope: they are grouped by, so they must be short.
pub const NAME_BYTES_MAX: usize = 1024;

/// The longest event name, as the conventions have it.
pub const EVENT_NAME_BYTES_MAX: usize = 256;

/// The longest `tracestate` kept; the standard asks for 512 at least. A cut one would be a
/// different state, so a longer one is dropped.
pub const TRACE_STATE_BYTES_MAX: usize = 4096;

/// Events or links of one span, exemplars of one data point; the default of the SDKs.
pub const PARTS_MAX: usize = 128;

/// Lists inside each other; one less than what JSON reads, so that what it left out is noticed.
pub const DEPTH_MAX: u32 = DEPTH_READ_MAX - 1;

/// What a value costs beside its bytes: its tag and length, at least.
const OVERHEAD_BYTES: usize = 8;

/// How much of one record is let in. Of what is beyond it the first part is kept, and the rest counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sizes {
    /// Attributes of one record. 1,024 is eight times the default of OpenTelemetry's SDKs, and the most.
    pub attributes_max: usize,
    /// Bytes of the attributes of one record together, those of its events and links included. With 64
    /// KiB, which is the most, a thousand such records still are one commit of the log.
    pub attribute_bytes_max: usize,
    /// Bytes of one text, or of all texts of one list. 16 KiB, which is the most, is a long stack trace.
    pub value_bytes_max: usize,
    /// Events or links of one span, exemplars of one data point. 128 is the default of the SDKs, and the
    /// most.
    pub parts_max: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            attributes_max: ATTRIBUTES_MAX,
            attribute_bytes_max: RECORD_BYTES_MAX,
            value_bytes_max: VALUE_BYTES_MAX,
            parts_max: PARTS_MAX,
        }
    }
}

impl Sizes {
    /// Says what is wrong with these sizes, if anything, naming the field.
    pub fn check(&self) -> Result<(), String> {
        for (field, size, most) in [
            ("attributes_max", self.attributes_max, ATTRIBUTES_MAX),
            ("attribute_bytes_max", self.attribute_bytes_max, RECORD_BYTES_MAX),
            ("value_bytes_max", self.value_bytes_max, VALUE_BYTES_MAX),
            ("parts_max", self.parts_max, PARTS_MAX),
        ] {
            if size == 0 || size > most {
                return Err(format!("{field} must be from 1 to {most}: a row holds no more"));
            }
        }
        Ok(())
    }
}

/// Brings one record within the limits, counting what it cuts.
pub(super) struct Bounds<'a> {
    sizes: Sizes,
    left_bytes: usize,
    shortened: &'a mut Counts,
}

impl<'a> Bounds<'a> {
    /// The limits of a new record.
    pub(super) fn new(sizes: Sizes, shortened: &'a mut Counts) -> Self {
        Self { sizes, left_bytes: sizes.attribute_bytes_max, shortened }
    }

    /// Cuts a text that may be as long as a value.
    pub(super) fn long_text(&mut self, text: &mut String) {
        self.text(text, self.sizes.value_bytes_max);
    }

    /// Cuts a text.
    pub(super) fn text(&mut self, text: &mut String, bytes: usize) {
        if text.len() > bytes {
            text.truncate(value::cut(text, bytes).len());
            self.shortened.add("text_cut", 1);
        }
    }

    /// Drops a `tracestate` that is too long.
    pub(super) fn trace_state(&mut self, trace_state: &mut String) {
        if trace_state.len() > TRACE_STATE_BYTES_MAX {
            trace_state.clear();
            self.shortened.add("trace_state_dropped", 1);
        }
    }

    /// Keeps the first parts of a list.
    pub(super) fn parts<T>(&mut self, parts: &mut Vec<T>) {
        let over = parts.len().saturating_sub(self.sizes.parts_max);
        parts.truncate(self.sizes.parts_max);
        self.shortened.add("part_dropped", over as u64);
    }

    /// Cuts long and deep values, and drops the attributes that do not fit.
    pub(super) fn attributes(&mut self, attributes: &mut Vec<KeyValue>) {
        let before = attributes.len();
        attributes.truncate(self.sizes.attributes_max);
        attributes.retain_mut(|attribute| {
            if attribute.key.len() > KEY_BYTES_MAX {
                return false;
            }
            let used = attribute.key.len() + OVERHEAD_BYTES + self.value(&mut attribute.value);
            let left = self.left_bytes.checked_sub(used);
            self.left_bytes = left.unwrap_or(self.left_bytes);
            left.is_some()
        });
        self.shortened.add("attribute_dropped", (before - attributes.len()) as u64);
    }

    /// Cuts a value that is long or deep; answers how many bytes remain of it.
    pub(super) fn value(&mut self, value: &mut Option<AnyValue>) -> usize {
        let bytes_max = self.sizes.value_bytes_max;
        let mut left = bytes_max;
        let mut cuts = 0;
        if let Some(value) = value {
            shorten(value, 0, &mut left, &mut cuts);
        }
        self.shortened.add("value_cut", cuts.min(1));
        bytes_max - left
    }

    /// Bounds a scope's texts and attributes.
    pub(super) fn scope(&mut self, scope: &mut Option<InstrumentationScope>) {
        if let Some(scope) = scope {
            self.text(&mut scope.name, NAME_BYTES_MAX);
            self.text(&mut scope.version, NAME_BYTES_MAX);
            self.attributes(&mut scope.attributes);
        }
    }

    /// Bounds a resource's attributes.
    pub(super) fn resource(&mut self, resource: &mut Option<Resource>) {
        if let Some(resource) = resource {
            self.attributes(&mut resource.attributes);
            self.parts(&mut resource.entity_refs);
            for entity in &mut resource.entity_refs {
                self.parts(&mut entity.id_keys);
                self.parts(&mut entity.description_keys);
            }
        }
    }
}

fn shorten(value: &mut AnyValue, depth: u32, left: &mut usize, cuts: &mut u64) {
    let too_deep = depth >= DEPTH_MAX;
    match &mut value.value {
        Some(Value::StringValue(text)) => {
            let kept = value::cut(text, *left).len();
            *cuts += u64::from(kept < text.len());
            text.truncate(kept);
            *left -= kept;
        }
        Some(Value::BytesValue(bytes)) => {
            *cuts += u64::from(*left < bytes.len());
            bytes.truncate(*left);
            *left -= bytes.len();
        }
        Some(Value::ArrayValue(_) | Value::KvlistValue(_)) if too_deep => {
            *cuts += 1;
            value.value = None;
        }
        Some(Value::ArrayValue(array)) => array.values.retain_mut(|element| {
            let kept = spend(OVERHEAD_BYTES, left, cuts);
            if kept {
                shorten(element, depth + 1, left, cuts);
            }
            kept
        }),
        Some(Value::KvlistValue(pairs)) => pairs.values.retain_mut(|pair| {
            let kept = spend(OVERHEAD_BYTES + pair.key.len(), left, cuts);
            if let Some(value) = pair.value.as_mut().filter(|_| kept) {
                shorten(value, depth + 1, left, cuts);
            }
            kept
        }),
        _ => {}
    }
}

/// Whether `bytes` are left; takes them.
fn spend(bytes: usize, left: &mut usize, cuts: &mut u64) -> bool {
    let rest = left.checked_sub(bytes);
    *left = rest.unwrap_or(*left);
    *cuts += u64::from(rest.is_none());
    rest.is_some()
}
