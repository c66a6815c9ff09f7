//! One answer in every format.

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, DictionaryArray, Float64Array, Int64Array,
    MapBuilder, StringArray, StringBuilder, TimestampNanosecondArray, UInt64Array,
};
use arrow::datatypes::Int32Type;
use arrow::ipc::reader::StreamReader;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, UnboundedMemoryPool};

use super::*;

fn answer(columns: Vec<(&str, ArrayRef)>) -> Answer {
    let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
    let rows = columns[0].1.len();
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, column)| Field::new(*name, column.data_type().clone(), true))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let columns = columns.into_iter().map(|column| column.1).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).expect("equal lengths");
    let (first, second) = (batch.slice(0, 1), batch.slice(1, rows - 1));
    Answer::new(
        schema,
        vec![first, second],
        1_700_000_000_500_000_000,
        MemoryConsumer::new("answer").register(&pool),
    )
}

fn text(answer: Answer, format: Format) -> String {
    let bytes: Vec<u8> = chunks(answer, format)
        .expect("types with a text form")
        .flat_map(|chunk| chunk.expect("encodes").to_vec())
        .collect();
    String::from_utf8(bytes).expect("UTF-8")
}

fn everything() -> Answer {
    let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    map.keys().append_value("a");
    map.values().append_value("1");
    map.append(true).expect("equal lengths");
    map.append(false).expect("equal lengths");
    let dictionary: DictionaryArray<Int32Type> = vec![Some("GB"), None].into_iter().collect();
    let times = TimestampNanosecondArray::from(vec![Some(1_700_000_000_000_000_001), None]);
    answer(vec![
        ("int", Arc::new(Int64Array::from(vec![Some(i64::MIN), None]))),
        ("big", Arc::new(UInt64Array::from(vec![u64::MAX, 0]))),
        ("float", Arc::new(Float64Array::from(vec![f64::NAN, -1.5]))),
        ("bool", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("text", Arc::new(StringArray::from(vec![Some("a \"b\",\n\u{1f600}"), Some("")]))),
        ("region", Arc::new(dictionary)),
        ("time", Arc::new(times.clone().with_timezone("UTC"))),
        ("naive", Arc::new(times)),
        ("day", Arc::new(Date32Array::from(vec![Some(0), None]))),
        ("id", Arc::new(BinaryArray::from(vec![Some(&[0xAB_u8, 0x01][..]), None]))),
        ("map", Arc::new(map.finish())),
    ])
}

#[test]
fn json_is_an_object_with_columns_and_rows() {
    let text = text(everything(), Format::Json);
    let value: serde_json::Value = serde_json::from_str(&text).expect("valid JSON");
    assert_eq!(value["row_count"], 2);
    assert_eq!(value["complete_until"], "2023-11-14T22:13:20.500Z");
    assert_eq!(value["columns"][0], serde_json::json!({"name": "int", "type": "Int64"}));
    assert!(
        text.contains("\"int\":-9223372036854775808,\"big\":18446744073709551615,\"float\":null")
    );
    assert_eq!(
        value["rows"][0],
        serde_json::json!({
            "int": i64::MIN, "big": u64::MAX, "float": null, "bool": true,
            "text": "a \"b\",\n\u{1f600}", "region": "GB",
            "time": "2023-11-14T22:13:20.000000001Z", "naive": "2023-11-14T22:13:20.000000001Z",
            "day": "1970-01-01", "id": "ab01", "map": {"a": "1"},
        })
    );
    assert_eq!(
        value["rows"][1],
        serde_json::json!({
            "int": null, "big": 0, "float": -1.5, "bool": null, "text": "", "region": null,
            "time": null, "naive": null, "day": null, "id": null, "map": null,
        })
    );
}

#[test]
fn json_lines_are_the_same_rows() {
    let whole: serde_json::Value =
        serde_json::from_str(&text(everything(), Format::Json)).expect("valid JSON");
    let lines = text(everything(), Format::JsonLines);
    assert!(lines.ends_with('\n'));
    for (line, row) in lines.lines().zip(whole["rows"].as_array().expect("an array")) {
        assert_eq!(&serde_json::from_str::<serde_json::Value>(line).expect("valid JSON"), row);
    }
}

#[test]
fn csv_quotes_and_defuses() {
    let answer = answer(vec![
        ("n", Arc::new(Int64Array::from(vec![-5, 7]))),
        ("a,b", Arc::new(StringArray::from(vec![Some("=1+1"), Some("say \"hi\"\nnow")]))),
        ("x", Arc::new(StringArray::from(vec![None, Some("@sum")]))),
        ("f", Arc::new(Float64Array::from(vec![f64::INFINITY, 0.25]))),
    ]);
    assert_eq!(
        text(answer, Format::Csv),
        "n,\"a,b\",x,f\r\n-5,'=1+1,,\r\n7,\"say \"\"hi\"\"\nnow\",'@sum,0.25\r\n"
    );
    let lines = text(everything(), Format::Csv);
    assert!(lines.contains(",2023-11-14T22:13:20.000000001Z,"), "{lines}");
    assert!(lines.contains("\"{\"\"a\"\":\"\"1\"\"}\""), "{lines}");
}

#[test]
fn arrow_streams_round_trip() {
    let bytes: Vec<u8> = chunks(everything(), Format::Arrow)
        .expect("encodes")
        .flat_map(|chunk| chunk.expect("encodes").to_vec())
        .collect();
    let reader = StreamReader::try_new(bytes.as_slice(), None).expect("a stream");
    let rows: usize = reader.map(|batch| batch.expect("a batch").num_rows()).sum();
    assert_eq!(rows, 2);
}

#[test]
fn two_columns_of_one_name_stay_two() {
    let one = || Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef;
    let columns = vec![("a", one()), ("a", one()), ("a_2", one())];
    let text = text(answer(columns), Format::JsonLines);
    assert_eq!(text.lines().next(), Some("{\"a\":1,\"a_3\":1,\"a_2\":1}"));
}

#[test]
fn negotiates_by_accept() {
    for (accept, expected) in [
        (None, Some(Format::Json)),
        (Some("*/*"), Some(Format::Json)),
        (Some("application/json"), Some(Format::Json)),
        (Some("application/x-ndjson"), Some(Format::JsonLines)),
        (Some("text/csv; header=present"), Some(Format::Csv)),
        (Some("TEXT/CSV"), Some(Format::Csv)),
        (Some("application/vnd.apache.arrow.stream"), Some(Format::Arrow)),
        (Some("image/png, text/csv;q=0.5"), Some(Format::Csv)),
        (Some("text/csv;q=0.5, application/x-ndjson"), Some(Format::JsonLines)),
        (Some("text/csv; q=0.2, application/jsonl; q=0.9, */*;q=0.1"), Some(Format::JsonLines)),
        (Some("text/csv, application/json"), Some(Format::Csv)),
        (Some("application/json;q=0, */*"), Some(Format::JsonLines)),
        (Some("text/*;q=0.3, application/*;q=0.2"), Some(Format::Csv)),
        (Some("text/csv;q=0"), None),
        (Some("text/csv;q=much, application/json;q=0.1"), Some(Format::Json)),
        (Some("image/*"), None),
        (Some("image/png"), None),
    ] {
        let mut headers = HeaderMap::new();
        if let Some(accept) = accept {
            headers.insert(http::header::ACCEPT, accept.parse().expect("a header"));
        }
        assert_eq!(Format::negotiate(&headers), expected, "{accept:?}");
    }
}
