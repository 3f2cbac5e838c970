//! What changes from version to version: differences and rotation.

use serde_json::{Value, json};

use super::{AnswerChecks, Difficulty, GoldenDataset, with_samples};

#[test]
fn equal_datasets_have_no_differences_whoever_made_them() {
    let dataset = with_samples(5);
    let mut again = dataset.clone();
    again.created_by = "bert".into();
    again.samples[2].created_at = "2030-01-01T00:00:00Z".into();
    let diff = dataset.diff(&again).unwrap();
    assert!(diff.is_empty(), "{diff:?}");
    assert_eq!(diff.from_digest, diff.to_digest);
}

#[test]
fn samples_are_added_removed_and_changed_field_by_field() {
    let before = with_samples(5);
    let mut after = before.clone();
    after.version = "1.1.0".parse().unwrap();
    let removed = after.samples.remove(0);
    after.samples[0].prompt = "Neu?".into();
    after.samples[0].checks =
        AnswerChecks { must_cite: vec!["§ 35 BauGB".into()], ..AnswerChecks::default() };
    after.samples[1].held_out = true;
    let mut new = removed.clone();
    new.sample_id = "neu-1".into();
    after.samples.push(new);
    let diff = before.diff(&after).unwrap();
    assert_eq!(
        (diff.added, diff.removed, diff.reordered),
        (vec!["neu-1".into()], vec![removed.sample_id], false)
    );
    let fields = |index: usize| {
        let fields = diff.changed[index].fields.iter();
        fields
            .map(|change| (change.field.clone(), change.old.clone(), change.new.clone()))
            .collect::<Vec<_>>()
    };
    let cite = ("checks.must_cite".to_owned(), Value::Null, json!(["§ 35 BauGB"]));
    assert_eq!(fields(0), [cite, ("prompt".to_owned(), json!("Frage 1?"), json!("Neu?"))]);
    assert_eq!(fields(1), [("held_out".to_owned(), Value::Null, json!(true))]);
    assert_eq!(diff.changed.len(), 2);
    assert_eq!((diff.fields.len(), diff.fields[0].field.as_str()), (1, "version"));
}

#[test]
fn another_order_is_a_difference() {
    let before = with_samples(3);
    let mut after = before.clone();
    after.samples.swap(0, 2);
    let diff = before.diff(&after).unwrap();
    assert!(diff.reordered && diff.changed.is_empty() && !diff.is_empty());
}

fn held_out(dataset: &GoldenDataset) -> Vec<&str> {
    let held_out = dataset.samples.iter().filter(|sample| sample.held_out);
    held_out.map(|sample| sample.sample_id.as_str()).collect()
}

#[test]
fn rotation_holds_other_samples_back_in_each_difficulty() {
    let first = with_samples(30).rotated(0.3, 7);
    assert_eq!(first.version.to_string(), "1.1.0");
    assert_eq!((held_out(&first).len(), first.asked().count()), (9, 21));
    for difficulty in Difficulty::ALL {
        let of = first.samples.iter().filter(|sample| sample.held_out && sample.difficulty == difficulty);
        assert_eq!(of.count(), 3, "{difficulty}");
    }
    assert_eq!(first, with_samples(30).rotated(0.3, 7));
    assert_ne!(held_out(&first), held_out(&with_samples(30).rotated(0.3, 8)));
    let second = first.rotated(0.3, 7);
    let again: Vec<_> = held_out(&second).into_iter().filter(|id| held_out(&first).contains(id)).collect();
    assert_eq!(again, Vec::<&str>::new());
    assert_ne!(first.digest(), second.digest());
}

#[test]
fn rotation_never_holds_back_all_and_may_hold_back_none() {
    assert_eq!(with_samples(4).rotated(1.0, 1).asked().count(), 1);
    assert_eq!(with_samples(4).rotated(0.3, 1).rotated(0.0, 1).asked().count(), 4);
    assert_eq!(with_samples(1).rotated(0.9, 1).asked().count(), 1);
}
