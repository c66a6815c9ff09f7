//! `levenshtein(a, b)`, of texts that are short enough.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use crate::error::ApiError;

/// Its work is the product of both lengths, and a batch of 8,192 rows is one step that nothing can
/// interrupt: so long that routes and names fit, and short enough that the step takes a second or two.
const BYTES_MAX: usize = 256;

/// The scalar function `levenshtein`, in the place of the engine's.
pub(crate) fn levenshtein() -> ScalarUDF {
    ScalarUDF::new_from_impl(Levenshtein {
        unbounded: datafusion::functions::string::levenshtein(),
    })
}

/// `levenshtein(a, b)`: how many letters must change to make one text the other (`Int32`). Texts of
/// more than 256 bytes are refused.
///
/// ```sql
/// > SELECT levenshtein('kitten', 'sitting');
/// +---+
/// | 3 |
/// +---+
/// ```
#[derive(Debug, PartialEq, Eq, Hash)]
struct Levenshtein {
    unbounded: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for Levenshtein {
    fn name(&self) -> &str {
        "levenshtein"
    }

    fn signature(&self) -> &Signature {
        self.unbounded.inner().signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.unbounded.inner().return_type(arguments)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if arguments.args.iter().any(|argument| longest(argument) > BYTES_MAX) {
            return Err(DataFusionError::External(Box::new(ApiError::limit(format!(
                "levenshtein compares texts of at most {BYTES_MAX} letters; shorten them with left(x, n)"
            )))));
        }
        self.unbounded.inner().invoke_with_args(arguments)
    }
}

/// The bytes of the longest text.
fn longest(of: &ColumnarValue) -> usize {
    match of {
        ColumnarValue::Scalar(value) => value.try_as_str().flatten().map_or(0, str::len),
        ColumnarValue::Array(texts) => match texts.data_type() {
            DataType::Utf8 => longest_of(texts.as_string::<i32>().iter()),
            DataType::LargeUtf8 => longest_of(texts.as_string::<i64>().iter()),
            DataType::Utf8View => longest_of(texts.as_string_view().iter()),
            // The engine's own takes no other type.
            _ => 0,
        },
    }
}

fn longest_of<'texts>(texts: impl Iterator<Item = Option<&'texts str>>) -> usize {
    texts.flatten().map(str::len).max().unwrap_or(0)
}
