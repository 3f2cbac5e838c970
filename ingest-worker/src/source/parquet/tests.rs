//! Parquet files, written by the library and damaged by hand.

use std::sync::Arc;

use ::parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};
use arrow_array::{
    Array as _, ArrayRef, BinaryArray, FixedSizeListArray, Float32Array, Int64Array, ListArray, RecordBatch,
    StringArray, StructArray, types::Int32Type,
};
use arrow_schema::{DataType, Field};
use clara_lifecycle::{
    dataset::{ChatMessage, TrainingContent},
    digest::Digest,
    spec::FieldNames,
};

use super::batch_rows;
use crate::source::{
    SourceItem,
    fixtures::{read, read_fields},
};

fn write(batch: &RecordBatch, properties: WriterProperties) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    bytes
}

fn table(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    write(&RecordBatch::try_from_iter(columns).unwrap(), WriterProperties::default())
}

fn strings<const N: usize>(values: [Option<&str>; N]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

#[test]
fn each_row_is_a_record_and_the_digest_is_of_the_whole_file() {
    let file = table(vec![
        ("id", Arc::new(Int64Array::from(vec![Some(7), None, Some(9)]))),
        ("text", strings([Some("eins"), Some("zwei"), None])),
        ("law", strings([Some("BauGB"), None, None])),
        ("license", strings([Some("CC0"), None, None])),
    ]);
    let read = read("laws.parquet", &file).unwrap();
    let summary = read.summary();
    assert_eq!(summary[..2], ["7", "laws.parquet:2"]);
    assert!(summary[2].starts_with("laws.parquet:3 expected the fields"), "{summary:?}");
    let SourceItem::Document(first) = &read.items[0] else { panic!("{summary:?}") };
    assert_eq!(first.metadata["law"], "BauGB");
    assert_eq!(first.licence.as_deref(), Some("CC0"));
    assert_eq!(read.size_and_digest, (file.len() as u64, Digest::of(&file)));
}

#[test]
fn lists_of_structs_are_messages_and_structs_are_metadata() {
    let roles = strings([Some("user"), Some("assistant"), Some("user"), Some("assistant")]);
    let contents = strings([Some("q1"), Some("a1"), Some("q2"), Some("a2")]);
    let turn = StructArray::try_from(vec![("role", roles), ("content", contents)]).unwrap();
    let field = Arc::new(Field::new("item", turn.data_type().clone(), true));
    let two_each = [Some(vec![Some(0), Some(0)]), Some(vec![Some(0), Some(0)])];
    let offsets = ListArray::from_iter_primitive::<Int32Type, _, _>(two_each).offsets().clone();
    let chat = ListArray::try_new(field, offsets, Arc::new(turn), None).unwrap();
    let about = StructArray::try_from(vec![("section", strings([Some("§ 35"), None]))]).unwrap();
    let file = table(vec![("chat", Arc::new(chat)), ("about", Arc::new(about))]);
    let fields = FieldNames { messages: "chat".into(), ..FieldNames::default() };
    let read = read_fields("chat.parquet", &file, fields).unwrap();
    let turn = |role: &str, content: &str| ChatMessage { role: role.into(), content: content.into() };
    let chat = |number: u32| TrainingContent::Chat {
        messages: vec![turn("user", &format!("q{number}")), turn("assistant", &format!("a{number}"))],
    };
    let documents = read.documents();
    assert_eq!((&documents[0].content, &documents[1].content), (&chat(1), &chat(2)));
    assert_eq!(documents[0].metadata["about.section"], "§ 35");
}

#[test]
fn columns_that_say_nothing_are_not_read() {
    let vectors = FixedSizeListArray::from_iter_primitive::<arrow_array::types::Float32Type, _, _>(
        vec![Some(vec![Some(1.0), Some(2.0)])],
        2,
    );
    let file = table(vec![
        ("picture", Arc::new(BinaryArray::from_vec(vec![b"\xff\xd8"]))),
        ("vector", Arc::new(vectors)),
        ("score", Arc::new(Float32Array::from(vec![0.5]))),
        ("text", strings([Some("eins")])),
    ]);
    let read = read("laws.parquet", &file).unwrap();
    assert_eq!(read.texts(), ["eins"]);
    assert!(read.documents()[0].metadata.is_empty());
}

#[test]
fn bytes_of_old_writers_are_texts_where_they_are_valid() {
    let file = table(vec![("text", Arc::new(BinaryArray::from_vec(vec!["ä".as_bytes(), b"Geb\xe4ude"])))]);
    let summary = read("laws.parquet", &file).unwrap().summary();
    let problem = "laws.parquet:2 column `text` holds bytes that are not valid UTF-8 from byte 4";
    assert_eq!(summary, ["laws.parquet:1", problem]);
}

#[test]
fn every_compression_and_many_row_groups_are_read_in_order() {
    let texts: Vec<String> = (0..5_000).map(|number| format!("Text {number}")).collect();
    let batch =
        RecordBatch::try_from_iter([("text", Arc::new(StringArray::from(texts.clone())) as ArrayRef)])
            .unwrap();
    for compression in [Compression::SNAPPY, Compression::LZ4_RAW, Compression::ZSTD(ZstdLevel::default())] {
        let properties = WriterProperties::builder()
            .set_compression(compression)
            .set_max_row_group_row_count(Some(700))
            .build();
        assert_eq!(read("laws.parquet", &write(&batch, properties)).unwrap().texts(), texts);
    }
}

#[test]
fn batches_of_long_documents_hold_fewer_rows() {
    use ::parquet::arrow::{ProjectionMask, arrow_reader::ParquetRecordBatchReaderBuilder};
    let rows = |length: usize| {
        let texts: Vec<String> = (0..64).map(|number: u32| format!("{number}").repeat(length)).collect();
        let file = table(vec![("text", Arc::new(StringArray::from(texts)))]);
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(file)).unwrap();
        batch_rows(builder.metadata(), &ProjectionMask::all())
    };
    assert_eq!(rows(10), 1_024);
    assert!((4..=16).contains(&rows(1 << 20)), "{}", rows(1 << 20));
}

#[test]
fn a_table_without_a_known_shape_is_refused_with_its_columns() {
    let file = table(vec![("inhalt", strings([Some("eins")]))]);
    let message = read("laws.parquet", &file).unwrap_err().to_string();
    assert!(message.contains("`text`; found `inhalt`"), "{message}");
}

#[test]
fn a_table_without_a_row_holds_no_document() {
    let schema = Arc::new(arrow_schema::Schema::new(vec![Field::new("text", DataType::Utf8, true)]));
    let file = write(&RecordBatch::new_empty(schema), WriterProperties::default());
    assert!(read("laws.parquet", &file).unwrap().items.is_empty());
}

#[test]
fn damaged_files_are_errors_that_name_the_place() {
    let texts: Vec<String> =
        (0..20_000).map(|number: u64| format!("{:x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    let file = table(vec![("text", Arc::new(StringArray::from(texts)))]);
    let truncated = &file[..file.len() / 2];
    let mut overwritten = file.clone();
    let middle = file.len() / 3;
    overwritten[middle..middle + 3_000].fill(0xff);
    for (bytes, problem) in [
        (b"".as_slice(), "first bytes are not `PAR1`"),
        (b"<html>".as_slice(), "first bytes are not `PAR1`"),
        (truncated, "the table is damaged at its end"),
        (overwritten.as_slice(), "the table is damaged after row"),
    ] {
        let error = read("laws.parquet", bytes).unwrap_err();
        assert!(!error.is_retryable());
        assert!(error.to_string().contains(problem), "{error}");
    }
}

#[test]
fn no_byte_that_is_overwritten_ends_the_process() {
    let texts: Vec<String> = (0..300).map(|number| format!("Text {number}")).collect();
    let file = table(vec![("text", Arc::new(StringArray::from(texts)))]);
    let mut failed = 0;
    for place in 0..file.len() {
        let mut damaged = file.clone();
        damaged[place] ^= 0xff;
        failed += u32::from(read("laws.parquet", &damaged).is_err());
    }
    assert!(failed > 0);
}
