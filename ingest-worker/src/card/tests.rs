//! What stands on a card, and that nothing in a dataset can break it.

use std::collections::BTreeMap;

use clara_lifecycle::{
    dataset::{DropReason, TrainingContent, TrainingRecord},
    digest::Digest,
};

use super::*;

fn record(id: &str, text: &str) -> TrainingRecord {
    TrainingRecord { document_id: id.to_owned(), content: TrainingContent::Text { text: text.to_owned() } }
}

fn seen(records: &[TrainingRecord]) -> SeenRecords {
    let mut seen = SeenRecords::default();
    for record in records {
        seen.see(record);
    }
    seen
}

fn manifest() -> DatasetManifest {
    let json = serde_json::json!({
        "format": 1, "domain": "verwaltungsrecht", "query": null, "sources": ["law.jsonl"],
        "source_digest": Digest::of(b"s"), "source_files": [], "skipped_files": [], "most_relevant": [],
        "documents_read": 12, "documents_kept": 9, "dropped": {}, "validation_documents": 1,
        "train_records": 8, "validation_records": 1, "train_digest": Digest::of(b"t"),
        "validation_digest": Digest::of(b"v"), "golden_overlap": null,
    });
    let mut manifest: DatasetManifest = serde_json::from_value(json).unwrap();
    manifest.dropped = BTreeMap::from([(DropReason::Duplicate, 3)]);
    manifest
}

#[test]
fn a_card_tells_counts_reasons_and_that_nothing_was_compared() {
    let card = markdown(&manifest(), &seen(&[record("a", "Der Bauantrag.")]));
    assert!(card.contains("| documents read | 12 |"), "{card}");
    assert!(card.contains("| `duplicate` | 3 |"), "{card}");
    assert!(card.contains("nothing was compared"), "{card}");
    assert!(card.contains("~~~text\nDer Bauantrag.\n~~~"), "{card}");
}

#[test]
fn a_sample_cannot_leave_its_fence_and_an_id_not_its_heading() {
    let card = markdown(&manifest(), &seen(&[record("a`\n# b", "vor\n~~~\n# Überschrift\n~~~~\nnach")]));
    let fences = card.lines().filter(|line| line.starts_with("~~~")).count();
    assert_eq!(fences, 2, "{card}");
    assert!(card.contains("### `a' # b`"), "{card}");
}

#[test]
fn the_same_ten_samples_are_drawn_in_whatever_order_records_come() {
    let records: Vec<_> = (0..500).map(|number| record(&format!("d{number}"), "Text")).collect();
    let ids =
        |seen: &SeenRecords| seen.samples().map(|sample| sample.document_id.clone()).collect::<Vec<_>>();
    let forward = ids(&seen(&records));
    let backward = ids(&seen(&records.iter().rev().cloned().collect::<Vec<_>>()));
    assert_eq!(forward, backward);
    assert_eq!(forward.len(), 10);
    let numbers: Vec<u32> = forward.iter().map(|id| id[1..].parse().unwrap()).collect();
    assert!(numbers.iter().any(|number| *number < 250) && numbers.iter().any(|number| *number >= 250));
}

#[test]
fn a_drawing_is_well_formed_whatever_it_is_called() {
    let svg = bars("<&\"\u{7}", &[("a<b".to_owned(), 3), ("none".to_owned(), 0)]);
    assert!(svg.contains("&lt;&amp;&quot;</title>"), "{svg}");
    assert_eq!(svg.matches("class=\"bar\"").count(), 2);
    assert!(svg.contains("3 (100.0 %)"), "{svg}");
    let mut reader = quick_xml::Reader::from_str(&svg);
    while !matches!(reader.read_event().unwrap(), quick_xml::events::Event::Eof) {}
}

#[test]
fn lengths_are_counted_in_ranges_that_leave_no_gap() {
    let mut lengths = Lengths::default();
    for chars in [49, 50, 99, 100, 20_000] {
        lengths.add(chars);
    }
    let rows = lengths.rows();
    assert_eq!(rows[0], ("0 to 49".to_owned(), 1));
    assert_eq!(rows[1], ("50 to 99".to_owned(), 2));
    assert_eq!(rows.last().unwrap(), &("10000 and more".to_owned(), 1));
    assert_eq!(rows.iter().map(|(_, count)| count).sum::<u64>(), 5);
}

#[test]
fn options_that_differ_are_named_as_in_a_specification() {
    let mut options = IngestOptions { min_chars: 7, ..IngestOptions::default() };
    options.clean.languages = vec!["de".to_owned()];
    options.sources = vec!["law.jsonl".to_owned()];
    let changed = changed(&options, &IngestOptions::default());
    let expected = [("ingest.clean.languages", "[\"de\"]"), ("ingest.min_chars", "7")];
    let mut found: Vec<_> = changed.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    found.sort_unstable();
    assert_eq!(found, expected);
}
