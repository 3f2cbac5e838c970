//! Files on disk against what is said about them.

use std::fs;

use clara_lifecycle::{
    dataset::{DropReason, DroppedDocument, TrainingContent, TrainingRecord},
    digest::Digest,
};

use super::DatasetWriter;
use crate::split::SplitKey;

fn records(document: usize) -> Vec<TrainingRecord> {
    (1..=3)
        .map(|chunk| TrainingRecord {
            document_id: format!("doc-{document}#{chunk}"),
            content: TrainingContent::Text { text: format!("Zeile\n{chunk} ") },
        })
        .collect()
}

#[test]
fn all_chunks_of_a_document_stay_on_one_side_and_digests_are_of_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let (out, scratch) = (folder.path().join("out"), folder.path().join("scratch"));
    let mut writer = DatasetWriter::create(&out, &scratch).unwrap();
    for document in 0..20 {
        writer.keep(SplitKey::new(1, &format!("doc-{document}")), &records(document)).unwrap();
    }
    let written = writer.finish(0.25).unwrap();
    assert_eq!((written.documents_kept, written.validation_documents), (20, 5));
    assert_eq!((written.train.records, written.validation.records), (45, 15));
    let train = fs::read_to_string(out.join("train.jsonl")).unwrap();
    let validation = fs::read_to_string(out.join("validation.jsonl")).unwrap();
    assert_eq!(Digest::of(train.as_bytes()), written.train.digest);
    assert_eq!(Digest::of(validation.as_bytes()), written.validation.digest);
    for document in 0..20 {
        let id = format!("\"doc-{document}#");
        assert_eq!(
            (train.matches(&id).count(), validation.matches(&id).count()) == (3, 0),
            !validation.contains(&id)
        );
    }
}

#[test]
fn dropped_documents_are_listed_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = DatasetWriter::create(folder.path(), &folder.path().join("scratch")).unwrap();
    let dropped = DroppedDocument {
        document_id: "a".into(),
        origin: "law.jsonl:1".into(),
        reason: DropReason::TooShort,
        detail: "3 characters, expected at least 40".into(),
    };
    writer.drop(&dropped).unwrap();
    assert_eq!(writer.finish(0.1).unwrap().dropped, [(DropReason::TooShort, 1)].into());
    let line = fs::read(folder.path().join("dropped.jsonl.zst")).unwrap();
    let line = String::from_utf8(zstd::decode_all(line.as_slice()).unwrap()).unwrap();
    assert_eq!(serde_json::from_str::<DroppedDocument>(&line).unwrap(), dropped);
}
