//! Ids: bytes where the standard says bytes, text where the sender chooses.
//!
//! In SQL every id is text; a binary id is lower-case hex.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringBuilder};
use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

use super::Column;

/// Implements an id of a fixed number of bytes.
macro_rules! binary_id {
    ($(#[$meta:meta])* $name:ident, $bytes:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub [u8; $bytes]);

        impl $name {
            /// The id of exactly these bytes; `None` for another length or all zero, which the
            /// trace context standard calls invalid.
            pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
                let id: [u8; $bytes] = bytes.try_into().ok()?;
                id.iter().any(|byte| *byte != 0).then_some(Self(id))
            }

            fn write_hex<'text>(&self, text: &'text mut [u8; $bytes * 2]) -> &'text str {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                for (index, byte) in self.0.iter().enumerate() {
                    text[index * 2] = DIGITS[usize::from(byte >> 4)];
                    text[index * 2 + 1] = DIGITS[usize::from(byte & 15)];
                }
                std::str::from_utf8(text).expect("hexadecimal digits are ASCII")
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(self.write_hex(&mut [0; $bytes * 2]))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, out)
            }
        }

        impl FromStr for $name {
            type Err = ();

            /// Hexadecimal text of either case.
            fn from_str(text: &str) -> Result<Self, ()> {
                let text = text.as_bytes();
                if text.len() != $bytes * 2 {
                    return Err(());
                }
                let mut id = [0; $bytes];
                for (byte, pair) in id.iter_mut().zip(text.chunks_exact(2)) {
                    let digit = |digit: u8| (digit as char).to_digit(16).ok_or(());
                    *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
                }
                Self::from_bytes(&id).ok_or(())
            }
        }

        impl Column for $name {
            type Builder = StringBuilder;
            const NULLABLE: bool = false;
            fn data_type() -> DataType {
                DataType::Utf8
            }
            fn builder() -> StringBuilder {
                StringBuilder::new()
            }
            fn append(&self, builder: &mut StringBuilder) {
                builder.append_value(self.write_hex(&mut [0; $bytes * 2]));
            }
            fn finish(builder: &mut StringBuilder) -> ArrayRef {
                Arc::new(builder.finish())
            }
        }

        impl Column for Option<$name> {
            type Builder = StringBuilder;
            const NULLABLE: bool = true;
            fn data_type() -> DataType {
                DataType::Utf8
            }
            fn builder() -> StringBuilder {
                StringBuilder::new()
            }
            fn append(&self, builder: &mut StringBuilder) {
                match self {
                    Some(id) => id.append(builder),
                    None => builder.append_null(),
                }
            }
            fn finish(builder: &mut StringBuilder) -> ArrayRef {
                Arc::new(builder.finish())
            }
        }
    };
}

binary_id! {
    /// A W3C trace id. The attempts of one request share it.
    TraceId, 16
}
binary_id! {
    /// A W3C span id, unique within its trace.
    SpanId, 8
}

/// Implements an id that is whatever text the sender chose.
macro_rules! text_id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub Arc<str>);

        impl $name {
            /// The id of this text; `None` where it is empty.
            pub fn new(text: &str) -> Option<Self> {
                (!text.is_empty()).then(|| Self(Arc::from(text)))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }

        impl Column for Option<$name> {
            type Builder = StringBuilder;
            const NULLABLE: bool = true;
            fn data_type() -> DataType {
                DataType::Utf8
            }
            fn builder() -> StringBuilder {
                StringBuilder::new()
            }
            fn append(&self, builder: &mut StringBuilder) {
                builder.append_option(self.as_ref().map(|id| &*id.0));
            }
            fn finish(builder: &mut StringBuilder) -> ArrayRef {
                Arc::new(builder.finish())
            }
        }

        impl Column for $name {
            type Builder = StringBuilder;
            const NULLABLE: bool = false;
            fn data_type() -> DataType {
                DataType::Utf8
            }
            fn builder() -> StringBuilder {
                StringBuilder::new()
            }
            fn append(&self, builder: &mut StringBuilder) {
                builder.append_value(&*self.0);
            }
            fn finish(builder: &mut StringBuilder) -> ArrayRef {
                Arc::new(builder.finish())
            }
        }
    };
}

text_id! {
    /// A session: what one user did on one device without a long pause.
    SessionId
}
text_id! {
    /// A page: one document from load to unload.
    PageId
}
text_id! {
    /// A tab: survives reloads, ends with the tab.
    TabId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_of_either_case_is_the_same_id() {
        let upper: TraceId = "5B8EFFF798038103D269B633813FC60C".parse().expect("32 digits");
        let lower: TraceId = "5b8efff798038103d269b633813fc60c".parse().expect("32 digits");
        assert_eq!(upper, lower);
        assert_eq!(upper.to_string(), "5b8efff798038103d269b633813fc60c");
    }

    #[test]
    fn refuses_zero_short_and_foreign_text() {
        for text in ["", "00", "0000000000000000", "zzzzzzzzzzzzzzzz", "5b8efff79803810"] {
            assert!(text.parse::<SpanId>().is_err(), "{text}");
        }
    }
}
