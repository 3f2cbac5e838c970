//! Tests of rubrics.

use super::{AppliesWhen, Language, Rubric, RubricChoice};
use crate::{
    golden::GoldenSample,
    score::{CriteriaScores, Criterion},
};

const BOTH: [Language; 2] = [Language::German, Language::English];

#[test]
fn the_rubrics_that_come_with_clara_are_sound_and_cover_every_criterion() {
    for rubric in BOTH.map(Rubric::built_in) {
        assert_eq!(rubric.problems(), Vec::<String>::new());
        let criteria: Vec<_> = rubric.criteria.iter().map(|entry| entry.criterion).collect();
        assert_eq!(criteria, Criterion::ALL);
        let weights: Vec<_> = rubric.criteria.iter().map(|entry| entry.weight).collect();
        assert_eq!(weights, [2.0, 1.5, 1.0, 1.5, 1.0]);
    }
}

#[test]
fn a_changed_text_needs_a_new_version() {
    // When this fails, raise the version of the rubric and write its new digest here.
    let known = [("de-2", "09a5c7dc54f7"), ("en-2", "9b5c7ff6ec7c")];
    for (rubric, (version, digest)) in BOTH.map(Rubric::built_in).iter().zip(known) {
        assert_eq!((rubric.version.as_str(), rubric.digest().short()), (version, digest));
    }
}

#[test]
fn every_part_of_a_rubric_changes_its_digest() {
    let changes: [fn(&mut Rubric); 7] = [
        |rubric| rubric.version = "de-3".to_owned(),
        |rubric| rubric.language = Language::English,
        |rubric| rubric.criteria[1].weight = 3.0,
        |rubric| rubric.criteria[1].question.push('!'),
        |rubric| rubric.criteria[1].anchors[2].push('!'),
        |rubric| rubric.criteria[1].applies_when = AppliesWhen::Note,
        |rubric| rubric.criteria[1].hard_fail = Some(1.0),
    ];
    let before = Rubric::built_in(Language::German);
    for (number, change) in changes.into_iter().enumerate() {
        let mut after = before.clone();
        change(&mut after);
        assert_ne!(before.digest(), after.digest(), "change {number}");
    }
}

#[test]
fn every_problem_of_an_own_rubric_is_reported_at_once() {
    let mut rubric = Rubric::built_in(Language::German);
    rubric.version.clear();
    rubric.criteria[0].weight = -1.0;
    rubric.criteria[1].anchors.pop();
    rubric.criteria[2].hard_fail = Some(5.0);
    rubric.criteria[3].question.clear();
    rubric.criteria[4].criterion = Criterion::Accuracy;
    for entry in &mut rubric.criteria {
        entry.applies_when = AppliesWhen::Note;
    }
    let problems = rubric.problems().join("\n");
    for expected in [
        "`version` is empty",
        "accuracy: `weight` is -1",
        "relevance: `anchors` has 5 texts; expected 6",
        "style: `hard_fail` is 5",
        "completeness: `question` is empty",
        "accuracy stands there twice",
        "no criterion applies always",
    ] {
        assert!(problems.contains(expected), "{expected} in {problems}");
    }
    assert_eq!(problems.lines().count(), 7, "{problems}");
}

#[test]
fn a_criterion_applies_where_the_sample_has_what_it_needs() {
    let mut entry = Rubric::built_in(Language::German).criteria[2].clone();
    let bare = GoldenSample::new("q".into(), " ".into());
    let mut rich = GoldenSample::new("q".into(), "expected".into());
    rich.context = Some("case".into());
    rich.criteria.insert("style".into(), "formal".into());
    for when in [AppliesWhen::Note, AppliesWhen::Context, AppliesWhen::Reference] {
        entry.applies_when = when;
        assert_eq!((entry.applies_to(&bare), entry.applies_to(&rich)), (false, true), "{when:?}");
    }
    entry.applies_when = AppliesWhen::Always;
    assert!(entry.applies_to(&bare));
}

#[test]
fn the_overall_score_counts_the_criteria_that_have_a_score() {
    let mut rubric = Rubric::built_in(Language::English);
    rubric.criteria[0].weight = 3.0;
    let scores = [(Criterion::Accuracy, 10.0), (Criterion::Style, 2.0)];
    let scores = CriteriaScores::of(scores.into()).unwrap();
    assert!((rubric.overall(&scores) - 80.0).abs() < 1e-9);
}

#[test]
fn a_hard_failure_begins_at_its_limit() {
    let mut entry = Rubric::built_in(Language::German).criteria[0].clone();
    assert!(!entry.fails_hard(0.0));
    entry.hard_fail = Some(1.0);
    assert_eq!([0.0, 2.0, 2.1].map(|score| entry.fails_hard(score)), [true, true, false]);
}

#[test]
fn a_choice_is_a_name_or_a_whole_rubric() {
    let named: RubricChoice = serde_json::from_str("\"en\"").unwrap();
    assert_eq!(named.rubric().unwrap(), Rubric::built_in(Language::English));
    let own = RubricChoice::Own(Box::new(Rubric::built_in(Language::German)));
    let text = serde_json::to_string(&own).unwrap();
    assert_eq!(serde_json::from_str::<RubricChoice>(&text).unwrap(), own);
    let broken = serde_json::from_str::<RubricChoice>(r#"{"version": "x", "criterias": []}"#).unwrap_err();
    assert!(broken.to_string().contains("criterias"), "{broken}");
    let unknown = RubricChoice::Named("fr".to_owned()).rubric().unwrap_err();
    assert!(unknown.to_string().contains("`fr` is no rubric"), "{unknown}");
}
