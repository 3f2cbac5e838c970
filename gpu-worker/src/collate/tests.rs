//! What is learned, what is cut, and how rows are filled.

use std::path::Path;

use clara_lifecycle::{
    dataset::{ChatMessage, TrainingContent, TrainingRecord},
    spec::Overlong,
};

use super::*;
use crate::model::{self, LoadedModel};

fn tiny() -> LoadedModel {
    model::load(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tiny-llama"),
        model::Precision::Full,
    )
    .unwrap()
}

fn record(content: TrainingContent) -> TrainingRecord {
    TrainingRecord { document_id: "doc".into(), content }
}

fn text(text: &str) -> TrainingRecord {
    record(TrainingContent::Text { text: text.into() })
}

fn completion(prompt: &str, completion: &str) -> TrainingRecord {
    record(TrainingContent::PromptCompletion { prompt: prompt.into(), completion: completion.into() })
}

fn options(sequence_length: u32) -> TrainingOptions {
    TrainingOptions { sequence_length, ..TrainingOptions::default() }
}

fn collated(records: &[TrainingRecord], options: &TrainingOptions) -> Result<Rows, CollateError> {
    let model = tiny();
    collate(records, TextTools { tokenizer: &model.tokenizer, chat_template: &model.chat_template }, options)
}

/// The text of the learned tokens of the first document, special tokens included.
fn learned(rows: &Rows) -> String {
    let tokenizer = tiny().tokenizer;
    let ids = rows.documents[0].labels.iter().filter_map(|label| u32::try_from(*label).ok());
    ids.map(|id| String::from_utf8(tokenizer.token_bytes(id).unwrap()).unwrap_or_else(|_| "?".into()))
        .collect()
}

#[test]
fn of_a_running_text_everything_after_the_first_token_is_learned() {
    let rows = collated(&[text("aBc")], &options(64)).unwrap();
    assert_eq!(learned(&rows), "Bc<|im_end|>");
    assert_eq!(*rows.documents[0].labels.last().unwrap(), IGNORED);
}

#[test]
fn of_a_completion_only_the_answer_is_learned() {
    let rows = collated(&[completion("Frage? ", "Ja.")], &options(64)).unwrap();
    assert_eq!(learned(&rows), "Ja.<|im_end|>");
}

#[test]
fn of_a_conversation_only_the_assistant_is_learned() {
    let message = |role: &str, content: &str| ChatMessage { role: role.into(), content: content.into() };
    let messages = vec![
        message("user", "Eins?"),
        message("assistant", "Ja."),
        message("user", "Zwei?"),
        message("assistant", "Nein."),
    ];
    let rows = collated(&[record(TrainingContent::Chat { messages })], &options(256)).unwrap();
    assert_eq!(learned(&rows), "Ja.<|im_end|>Nein.<|im_end|>");
    assert!(rows.report().trained_share() < 0.6);
}

#[test]
fn a_label_is_the_token_that_follows() {
    let rows = collated(&[text("Die Baugenehmigung")], &options(64)).unwrap();
    let document = &rows.documents[0];
    for (label, next) in document.labels.iter().zip(&document.tokens[1..]) {
        assert_eq!(*label, i64::from(*next));
    }
}

#[test]
fn a_long_text_is_split_and_only_its_end_has_the_end_mark() {
    let rows = collated(&[text(&"abc ".repeat(40))], &options(32)).unwrap();
    assert_eq!(rows.report().split, 1);
    assert!(rows.documents.len() > 2);
    assert!(rows.documents.iter().all(|document| document.tokens.len() <= 32));
    let ends = rows.documents.iter().filter(|document| document.tokens.last() == Some(&2)).count();
    assert_eq!(ends, 1);
}

#[test]
fn a_long_answer_is_cut_and_counted() {
    let rows = collated(&[completion("ab", &"x".repeat(100))], &options(32)).unwrap();
    assert_eq!((rows.report().truncated, rows.documents[0].tokens.len()), (1, 32));
}

#[test]
fn a_record_without_a_token_to_learn_is_left_out_and_counted() {
    let records = [completion(&"x".repeat(100), "Ja."), completion("a", ""), text(""), text("bleibt")];
    let rows = collated(&records, &options(32)).unwrap();
    assert_eq!((rows.report().without_target, rows.report().records, rows.documents.len()), (3, 4, 1));
}

#[test]
fn nothing_to_learn_at_all_is_an_error() {
    let refused = collated(&[completion("a", "")], &options(32)).unwrap_err();
    assert!(matches!(refused, CollateError::Empty { without_target: 1, .. }), "{refused}");
}

#[test]
fn packing_fills_rows_without_splitting_a_document() {
    let rows = pack::best_fit(&[5, 4, 3, 3, 2, 1], 6);
    assert_eq!(rows, [vec![0, 5], vec![1, 4], vec![2, 3]]);
}

#[test]
fn without_packing_each_record_is_a_row_in_the_given_order() {
    let records = [text("lang lang lang"), text("kurz")];
    let options = TrainingOptions { packing: false, shuffle: false, ..options(64) };
    let rows = collated(&records, &options).unwrap();
    assert_eq!((rows.len(), rows.order(0), rows.order(7)), (2, vec![0, 1], vec![0, 1]));
    assert_eq!(rows.batch(1).documents.len(), 1);
}

#[test]
fn a_packed_row_keeps_the_borders_of_its_documents() {
    let rows = collated(&[text("eins"), text("zwei")], &options(64)).unwrap();
    let batch = rows.batch(0);
    assert_eq!((rows.len(), batch.documents.len()), (1, 2));
    assert_eq!(batch.documents[0].end, batch.documents[1].start);
    assert_eq!(batch.documents[1].end, batch.tokens.len());
    assert_eq!(batch.labels[batch.documents[0].end - 1], IGNORED);
}

#[test]
fn the_order_depends_on_seed_and_epoch_alone() {
    let mut orders = Vec::new();
    for (seed, epoch) in [(1, 0), (1, 0), (1, 1), (2, 0)] {
        let mut order: Vec<usize> = (0..100).collect();
        shuffle::shuffle(&mut order, seed, epoch);
        orders.push(order);
    }
    assert_eq!(orders[0], orders[1]);
    assert_ne!(orders[0], orders[2]);
    assert_ne!(orders[0], orders[3]);
    let mut sorted = orders[2].clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..100).collect::<Vec<usize>>());
}

#[test]
fn the_digest_tells_two_corpora_apart() {
    let digest = |records: &[TrainingRecord]| collated(records, &options(64)).unwrap().digest();
    assert_eq!(digest(&[text("ab")]), digest(&[text("ab")]));
    assert_ne!(digest(&[text("ab")]), digest(&[text("ac")]));
    assert_ne!(digest(&[completion("a", "bc")]), digest(&[completion("ab", "c")]));
}

#[test]
fn records_come_in_four_shapes() {
    let lines = r#"{"text": "a", "id": "t"}
{"messages": [{"role": "user", "content": "b"}]}

{"prompt": "c", "completion": "d", "document_id": "p"}
{"instruction": "e", "input": "f", "output": "g"}"#;
    let records = parse_records(lines, "data.jsonl").unwrap();
    let ids: Vec<&str> = records.iter().map(|record| record.document_id.as_str()).collect();
    assert_eq!(ids, ["t", "line-2", "p", "line-5"]);
    let TrainingContent::Chat { messages } = &records[3].content else { panic!("{:?}", records[3]) };
    assert_eq!((messages[0].content.as_str(), messages[1].role.as_str()), ("e\n\nf", "assistant"));
}

#[test]
fn a_broken_line_is_named_by_file_and_line() {
    for (line, reason) in [
        ("{", "not JSON"),
        ("[]", "an object"),
        (r#"{"titel": "x"}"#, "`titel`"),
        (r#"{"prompt": "x"}"#, "`completion` is missing"),
    ] {
        let refused =
            parse_records(&format!("{{\"text\": \"a\"}}\n{line}"), "data.jsonl").unwrap_err().to_string();
        assert!(refused.starts_with("data.jsonl:2: ") && refused.contains(reason), "{refused}");
    }
}

#[test]
fn records_longer_than_a_row_are_dropped_by_choice_and_counted() {
    let records =
        [text("kurz und gut"), text(&"lang ".repeat(40)), completion("Frage? ", &"Ja. ".repeat(60))];
    let options = TrainingOptions { overlong: Overlong::Drop, ..options(64) };
    let rows = collated(&records, &options).unwrap();
    assert_eq!((rows.report().dropped, rows.report().split, rows.report().truncated), (2, 0, 0));
    assert_eq!(rows.report().records, 3);
    assert_eq!(rows.documents.len(), 1);
    let error = collated(&records[1..], &options).unwrap_err().to_string();
    assert!(error.contains("2 are longer and were dropped"), "{error}");
}

#[test]
fn the_histogram_counts_every_record_by_its_length_before_it_is_cut() {
    let records = [text("kurz"), text("auch kurz"), text(&"lang ".repeat(40))];
    let rows = collated(&records, &options(64)).unwrap();
    let lengths = &rows.report().lengths;
    assert_eq!(lengths.bins().first().unwrap(), &LengthBin { up_to: 32, records: 2 });
    assert_eq!(lengths.bins().iter().map(|bin| bin.records).sum::<u64>(), 3);
    assert!(lengths.to_string().starts_with("0–32: 2, "), "{lengths}");
}
