//! Arrow files and streams, written by the library and damaged by hand.

use std::sync::Arc;

use arrow_array::{
    Array as _, ArrayRef, DictionaryArray, LargeStringArray, RecordBatch, StringArray, StringViewArray,
    types::Int8Type,
};
use arrow_ipc::{
    CompressionType,
    writer::{FileWriter, IpcWriteOptions, StreamWriter},
};
use clara_lifecycle::digest::Digest;

use crate::source::fixtures::read;

fn batch(texts: ArrayRef) -> RecordBatch {
    let laws: DictionaryArray<Int8Type> =
        (0..texts.len()).map(|row| [Some("BauGB"), None, Some("VwVfG")][row % 3]).collect();
    RecordBatch::try_from_iter([("text", texts), ("law", Arc::new(laws))]).unwrap()
}

fn file(batch: &RecordBatch, compression: Option<CompressionType>) -> Vec<u8> {
    let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
    let mut writer = FileWriter::try_new_with_options(Vec::new(), &batch.schema(), options).unwrap();
    writer.write(batch).unwrap();
    writer.write(batch).unwrap();
    writer.finish().unwrap();
    writer.into_inner().unwrap()
}

fn stream(batch: &RecordBatch) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(batch).unwrap();
    writer.write(batch).unwrap();
    writer.finish().unwrap();
    writer.into_inner().unwrap()
}

#[test]
fn files_and_streams_are_read_with_every_kind_of_text() {
    let texts = vec![Some("eins"), Some("zwei"), Some("ein längerer Text, der nicht in eine Sicht passt")];
    for column in [
        Arc::new(StringArray::from(texts.clone())) as ArrayRef,
        Arc::new(LargeStringArray::from(texts.clone())),
        Arc::new(StringViewArray::from(texts)),
    ] {
        let batch = batch(column);
        for bytes in [
            stream(&batch),
            file(&batch, None),
            file(&batch, Some(CompressionType::ZSTD)),
            file(&batch, Some(CompressionType::LZ4_FRAME)),
        ] {
            let read = read("laws.arrow", &bytes).unwrap();
            assert_eq!(read.texts()[3..5], ["eins", "zwei"]);
            let documents = read.documents();
            assert_eq!((documents.len(), documents[3].id.as_str()), (6, "laws.arrow:4"));
            assert_eq!(documents[2].metadata["law"], "VwVfG");
            assert!(!documents[1].metadata.contains_key("law"));
            assert_eq!(read.size_and_digest, (bytes.len() as u64, Digest::of(&bytes)));
        }
    }
}

#[test]
fn damaged_files_are_errors_that_name_the_place() {
    let texts: Vec<String> = (0..1_000).map(|number| format!("Text {number}")).collect();
    let batch = batch(Arc::new(StringArray::from(texts)));
    let (file, stream) = (file(&batch, None), stream(&batch));
    for (bytes, problem) in [
        (b"".as_slice(), "damaged at its start"),
        (b"<html><body>".as_slice(), "damaged at its start"),
        (b"FEA1....".as_slice(), "Feather of version 1, expected version 2"),
        (&file[..file.len() - 20], "damaged at its start"),
        (&stream[..stream.len() - 500], "damaged after row 1000"),
    ] {
        let error = read("laws.arrow", bytes).unwrap_err();
        assert!(!error.is_retryable());
        assert!(error.to_string().contains(problem), "{problem}: {error}");
    }
}

#[test]
fn a_table_without_a_known_shape_is_refused_with_its_columns() {
    let laws: ArrayRef = Arc::new(StringArray::from(vec!["BauGB"]));
    let batch = RecordBatch::try_from_iter([("inhalt", laws)]).unwrap();
    for bytes in [stream(&batch), file(&batch, None)] {
        let message = read("laws.feather", &bytes).unwrap_err().to_string();
        assert!(message.contains("`text`; found `inhalt`"), "{message}");
    }
}
