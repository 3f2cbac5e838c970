//! Files on disk against what is said about them.

use std::{collections::BTreeSet, fs, path::Path};

use clara_lifecycle::{
    dataset::{DropReason, DroppedDocument, TrainingContent, TrainingRecord},
    digest::Digest,
    spec::{IngestOptions, RecordOrder, ShapeOptions},
};
use clara_runtime::stop::StopReason;

use super::{DatasetWriter, Kept, Written};
use crate::{error::IngestError, ingest::IngestObserver};

struct Watch(Option<StopReason>);

impl IngestObserver for Watch {
    fn documents(&self, _: u64, _: Option<u64>) {}

    fn stop(&self) -> Option<StopReason> {
        self.0
    }
}

fn records(document: usize) -> Vec<TrainingRecord> {
    (1..=3)
        .map(|chunk| TrainingRecord {
            document_id: format!("doc-{document}#{chunk}"),
            content: TrainingContent::Text { text: format!("Zeile\n{chunk} ") },
        })
        .collect()
}

/// Documents of the sources `a` and `b` in turn, of `laws` laws.
fn write(
    folder: &Path,
    options: &IngestOptions,
    documents: usize,
    laws: usize,
) -> Result<Written, IngestError> {
    let mut writer = DatasetWriter::create(&folder.join("out"), &folder.join("scratch"), options)?;
    for document in 0..documents {
        let (id, law) = (format!("doc-{document}"), format!("law-{}", document % laws));
        let source = if document % 2 == 0 { "a" } else { "b" };
        let kept = Kept { id: &id, origin: format!("{source}:{document}"), source, cluster: Some(&law) };
        writer.keep(&kept, &records(document))?;
    }
    writer.finish(None, &Watch(None))
}

fn options(shape: ShapeOptions, validation_share: f64) -> IngestOptions {
    IngestOptions {
        shape,
        validation_share,
        sources: vec!["a".into(), "b".into()],
        ..IngestOptions::default()
    }
}

fn ids(folder: &Path, name: &str) -> Vec<String> {
    let text = fs::read_to_string(folder.join("out").join(name)).unwrap();
    let records = text.lines().map(|line| serde_json::from_str::<TrainingRecord>(line).unwrap());
    records.map(|record| record.document_id).collect()
}

/// The number of the document of a record `doc-N#n`.
fn number(id: &str) -> usize {
    id.trim_start_matches("doc-").split('#').next().unwrap().parse().unwrap()
}

#[test]
fn all_chunks_of_a_document_stay_on_one_side_and_digests_are_of_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let written = write(folder.path(), &options(ShapeOptions::default(), 0.25), 20, 5).unwrap();
    assert_eq!((written.documents_kept, written.validation_documents), (20, 5));
    assert_eq!((written.train.records, written.validation.records), (45, 15));
    let out = folder.path().join("out");
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
fn no_cluster_stands_on_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    let shape = ShapeOptions { cluster: Some("law".into()), ..ShapeOptions::default() };
    let written = write(folder.path(), &options(shape, 0.2), 100, 10).unwrap();
    assert_eq!(written.validation_documents, 20);
    let clusters = written.shape.clusters.unwrap();
    assert_eq!((clusters.clusters, clusters.validation_clusters, clusters.documents_without), (10, 2, 0));
    let laws = |name| ids(folder.path(), name).iter().map(|id| number(id) % 10).collect::<BTreeSet<_>>();
    let (train, validation) = (laws("train.jsonl"), laws("validation.jsonl"));
    assert_eq!((train.len(), validation.len()), (8, 2));
    assert!(train.is_disjoint(&validation));
}

#[test]
fn one_cluster_alone_cannot_be_split() {
    let folder = tempfile::tempdir().unwrap();
    let shape = ShapeOptions { cluster: Some("law".into()), ..ShapeOptions::default() };
    let error = write(folder.path(), &options(shape.clone(), 0.2), 30, 1).unwrap_err();
    assert!(!error.is_retryable());
    assert!(error.to_string().contains("all 30 kept documents have the same `law`"), "{error}");
    assert_eq!(write(folder.path(), &options(shape, 0.0), 30, 1).unwrap().validation_documents, 0);
}

#[test]
fn what_is_beyond_a_share_is_dropped_by_name_and_never_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let shape =
        ShapeOptions { weights: [("a".into(), 3.0), ("b".into(), 1.0)].into(), ..ShapeOptions::default() };
    let written = write(folder.path(), &options(shape, 0.1), 120, 5).unwrap();
    assert_eq!((written.documents_kept, written.validation_documents), (80, 8));
    assert_eq!(written.dropped, [(DropReason::BeyondShare, 40)].into());
    let kept: Vec<(u64, u64)> =
        written.shape.mixture.iter().map(|share| (share.available, share.kept)).collect();
    assert_eq!(kept, [(60, 60), (60, 20)]);
    let text = fs::read(folder.path().join("out/dropped.jsonl.zst")).unwrap();
    let text = String::from_utf8(zstd::decode_all(text.as_slice()).unwrap()).unwrap();
    let dropped: Vec<DroppedDocument> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut all: Vec<usize> = dropped.iter().map(|dropped| number(&dropped.document_id)).collect();
    assert!(dropped.iter().all(|dropped| dropped.origin.starts_with("b:")), "{dropped:?}");
    for name in ["train.jsonl", "validation.jsonl"] {
        all.extend(ids(folder.path(), name).iter().filter(|id| id.ends_with("#1")).map(|id| number(id)));
    }
    all.sort_unstable();
    assert_eq!(all, (0..120).collect::<Vec<_>>());
}

#[test]
fn a_shuffle_follows_the_seed_and_holds_the_same_records() {
    let folder = tempfile::tempdir().unwrap();
    let shape = |order| ShapeOptions { order, ..ShapeOptions::default() };
    let train = |order, seed| {
        let options = IngestOptions { seed, ..options(shape(order), 0.0) };
        write(folder.path(), &options, 50, 5).unwrap();
        ids(folder.path(), "train.jsonl")
    };
    let source = train(RecordOrder::Source, 1);
    let shuffled = train(RecordOrder::Shuffle, 1);
    assert_eq!(train(RecordOrder::Shuffle, 1), shuffled);
    assert_ne!(train(RecordOrder::Shuffle, 2), shuffled);
    assert_ne!(source, shuffled);
    assert_eq!(source.iter().collect::<BTreeSet<_>>(), shuffled.iter().collect::<BTreeSet<_>>());
    assert_eq!(shuffled.len(), 150);
}

#[test]
fn a_curriculum_puts_short_and_common_words_first() {
    let folder = tempfile::tempdir().unwrap();
    let shape = ShapeOptions { order: RecordOrder::Curriculum, ..ShapeOptions::default() };
    let options = options(shape, 0.0);
    let mut writer =
        DatasetWriter::create(&folder.path().join("out"), &folder.path().join("scratch"), &options).unwrap();
    let texts = [
        ("long", "Der Antrag ist bei der Gemeinde zu stellen und der Antrag ist zu begründen."),
        ("rare", "Planfeststellungsbeschluss Präklusion Enteignung"),
        ("common", "Der Antrag ist"),
        ("shorter", "Der Antrag"),
    ];
    for (id, text) in texts {
        let kept = Kept { id, origin: id.into(), source: "a", cluster: None };
        let content = TrainingContent::Text { text: text.into() };
        writer.keep(&kept, &[TrainingRecord { document_id: id.into(), content }]).unwrap();
    }
    writer.finish(None, &Watch(None)).unwrap();
    assert_eq!(ids(folder.path(), "train.jsonl"), ["shorter", "common", "rare", "long"]);
}

#[test]
fn a_stop_ends_the_writing() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(ShapeOptions::default(), 0.1);
    let mut writer = DatasetWriter::create(folder.path(), &folder.path().join("scratch"), &options).unwrap();
    let kept = Kept { id: "x", origin: "x".into(), source: "a", cluster: None };
    writer.keep(&kept, &records(1)).unwrap();
    let stopped = writer.finish(None, &Watch(Some(StopReason::Cancel))).unwrap_err();
    assert!(matches!(stopped, IngestError::Stopped(StopReason::Cancel)));
}

#[test]
fn dropped_documents_are_listed_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(ShapeOptions::default(), 0.1);
    let mut writer = DatasetWriter::create(folder.path(), &folder.path().join("scratch"), &options).unwrap();
    let dropped = DroppedDocument {
        document_id: "a".into(),
        origin: "law.jsonl:1".into(),
        reason: DropReason::TooShort,
        detail: "3 characters, expected at least 40".into(),
    };
    writer.drop(&dropped).unwrap();
    assert_eq!(writer.finish(None, &Watch(None)).unwrap().dropped, [(DropReason::TooShort, 1)].into());
    let line = fs::read(folder.path().join("dropped.jsonl.zst")).unwrap();
    let line = String::from_utf8(zstd::decode_all(line.as_slice()).unwrap()).unwrap();
    assert_eq!(serde_json::from_str::<DroppedDocument>(&line).unwrap(), dropped);
}
