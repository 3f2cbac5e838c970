//! Whole datasets with shaped, mixed, ordered and clustered records.

use std::{collections::BTreeSet, fmt::Write as _, fs};

use clara_lifecycle::{
    dataset::{DropReason, TrainingContent, TrainingRecord},
    query::QueryError,
    spec::{IngestOptions, RecordOrder, RecordShape, ShapeOptions},
};

use super::{Bench, Watch, golden};
use crate::{
    error::IngestError,
    ingest::{IngestRequest, run},
};

/// Sections of a law, each with a text of its own.
fn sections(law: &str, count: usize) -> String {
    (1..=count).fold(String::new(), |mut text, n| {
        writeln!(
            text,
            r#"{{"id":"{law}-{n}","law":"{law}","section":"§ {n}","heading":"Regel {n}","text":"Nach Regel {n} des {law} ist der Antrag schriftlich zu stellen."}}"#
        )
        .unwrap();
        text
    })
}

#[test]
fn a_dataset_is_shaped_mixed_ordered_and_split_as_its_manifest_says() {
    let bench = Bench::new();
    bench.source("gesetze.jsonl", &["BauGB", "VwGO", "VwVfG", "UVPG"].map(|law| sections(law, 20)).concat());
    bench.source("weiteres.jsonl", &sections("EEG", 60));
    let folder = bench.options().sources.concat();
    let (laws, others) = (format!("{folder}/gesetze.jsonl"), format!("{folder}/weiteres.jsonl"));
    let options = IngestOptions {
        sources: vec![laws.clone(), others.clone()],
        validation_share: 0.2,
        shape: ShapeOptions {
            records: RecordShape::Instruction,
            cite: true,
            order: RecordOrder::Shuffle,
            cluster: Some("law".into()),
            weights: [(laws.clone(), 0.8), (others, 0.2)].into(),
            ..ShapeOptions::default()
        },
        ..bench.options()
    };
    let manifest = bench.run(&options).unwrap();
    assert_eq!((manifest.documents_read, manifest.documents_kept), (140, 100));
    assert_eq!(manifest.dropped, [(DropReason::BeyondShare, 40)].into());
    assert_eq!(manifest.validation_documents, 20);
    // What was not trained on is not known to later datasets.
    assert_eq!(fs::metadata(bench.out().join("signatures.bin")).unwrap().len(), 16 + 100 * 144);
    let shape = manifest.shape;
    assert_eq!((shape.records, shape.order), (RecordShape::Instruction, RecordOrder::Shuffle));
    let clusters = shape.clusters.unwrap();
    assert_eq!((clusters.clusters, clusters.validation_clusters), (5, 1));
    let mixture: Vec<_> = shape.mixture.iter().map(|share| (share.available, share.kept)).collect();
    assert_eq!(mixture, [(80, 80), (60, 20)]);
    assert!(shape.tokens_not_counted.unwrap().contains("no base model"));
    let law = |record: &TrainingRecord| record.document_id.split('-').next().unwrap().to_owned();
    let (train, validation) = (bench.records("train.jsonl"), bench.records("validation.jsonl"));
    let laws: BTreeSet<String> = train.iter().map(law).collect();
    assert!(validation.iter().all(|record| !laws.contains(&law(record))));
    for record in train.iter().chain(&validation) {
        let TrainingContent::Chat { messages } = &record.content else { panic!("{record:?}") };
        let (_, number) = record.document_id.split_once('-').unwrap();
        let provision = format!("§ {number} {}", law(record));
        assert!(messages[0].content.contains(&provision), "{}", messages[0].content);
        assert!(messages[1].content.ends_with(&format!(" ({provision})")), "{}", messages[1].content);
    }
}

#[test]
fn tokens_are_counted_with_the_tokenizer_of_the_base_model() {
    let bench = Bench::new();
    bench.source("law.jsonl", &sections("BauGB", 20));
    let (model, scratch) = (crate::tokens::tests::model(), tempfile::tempdir().unwrap());
    let request = IngestRequest {
        options: &bench.options(),
        domain: &"verwaltungsrecht".parse().unwrap(),
        golden: Some(&golden()),
        known: &[],
        collected: &crate::fetch::Collected::default(),
        base_model: model.path().to_str(),
        out: &bench.out(),
        scratch: scratch.path(),
    };
    let shape = run(&request, &Watch::default()).unwrap().shape;
    let tokens = shape.tokens.unwrap();
    // Eleven words and a full stop.
    assert_eq!((tokens.p50, tokens.p95, tokens.longest), (12, 12, 12));
    assert_eq!((tokens.train, tokens.validation), (18 * 12, 2 * 12));
    assert_eq!(shape.tokens_not_counted, None);
}

#[test]
fn wrong_options_are_refused_before_anything_is_read() {
    let bench = Bench::new();
    let nowhere = || IngestOptions { sources: vec!["nowhere.jsonl".into()], ..bench.options() };
    let malformed = IngestOptions { query: Some("Bau \"Recht".into()), ..nowhere() };
    assert!(matches!(bench.run(&malformed), Err(IngestError::Query(QueryError::Malformed { place: 5, .. }))));
    let unknown = ShapeOptions { weights: [("else.jsonl".into(), 0.5)].into(), ..ShapeOptions::default() };
    let template = ShapeOptions {
        records: RecordShape::Instruction,
        questions: vec!["{{ heading".into()],
        ..ShapeOptions::default()
    };
    for (shape, part) in [(unknown, "`else.jsonl`"), (template, "template 1 of ingest.shape.questions")] {
        let error = bench.run(&IngestOptions { shape, ..nowhere() }).unwrap_err();
        assert!(matches!(error, IngestError::Options { .. }) && error.to_string().contains(part), "{error}");
    }
}

#[test]
fn a_shaped_dataset_is_the_same_each_time() {
    let bench = Bench::new();
    bench.source("law.jsonl", &sections("BauGB", 50));
    let shape = |order| ShapeOptions {
        records: RecordShape::Instruction,
        order,
        cluster: Some("section".into()),
        ..ShapeOptions::default()
    };
    for order in [RecordOrder::Shuffle, RecordOrder::Curriculum] {
        let options = IngestOptions {
            query: Some("Antrag AND § 7 BauGB OR Regel".into()),
            shape: shape(order),
            ..bench.options()
        };
        let read = || ["train.jsonl", "manifest.json"].map(|name| fs::read(bench.out().join(name)).unwrap());
        bench.run(&options).unwrap();
        let first = read();
        bench.run(&options).unwrap();
        assert_eq!(read(), first);
    }
}
