//! Tests of golden datasets.

use semver::Version;
use serde_json::json;

use super::{AnswerChecks, Difficulty, FindingCode, GoldenDataset, GoldenSample, Severity};

mod change;

fn empty() -> GoldenDataset {
    let (id, domain) = ("baurecht-golden".parse().unwrap(), "baurecht".parse().unwrap());
    GoldenDataset::new(id, domain, "anna".into(), "2026-01-02T03:04:05Z".into())
}

fn with_samples(count: usize) -> GoldenDataset {
    let mut dataset = empty();
    for number in 0..count {
        let mut sample = GoldenSample::new(format!("Frage {number}?"), format!("Antwort {number}."));
        sample.difficulty = Difficulty::ALL[number % 3];
        dataset.add(sample);
    }
    dataset
}

fn codes(dataset: &GoldenDataset) -> Vec<FindingCode> {
    dataset.lint().iter().map(|finding| finding.code).collect()
}

#[test]
fn samples_get_numbered_ids_and_the_values_of_their_dataset() {
    let mut dataset = empty();
    let mut named = GoldenSample::new("a?".into(), "a".into());
    named.sample_id = "baurecht-golden-2".into();
    assert_eq!(dataset.add(named), "baurecht-golden-2");
    // The number 2 is taken already.
    assert_eq!(dataset.add(GoldenSample::new("b?".into(), "b".into())), "baurecht-golden-3");
    let sample = dataset.sample("baurecht-golden-3").unwrap();
    assert_eq!((sample.domain.as_str(), sample.created_at.as_str()), ("baurecht", "2026-01-02T03:04:05Z"));
}

#[test]
fn a_file_with_the_least_that_is_needed_is_read_with_defaults() {
    let dataset: GoldenDataset = serde_json::from_value(json!({
        "dataset_id": "d", "domain": "baurecht", "version": "1.2.0", "total_samples": 99,
        "samples": [{"prompt": "p", "expected_output": "o"}],
    }))
    .unwrap();
    let sample = &dataset.samples[0];
    assert_eq!((sample.sample_id.as_str(), sample.difficulty), ("d-1", Difficulty::Medium));
    assert_eq!((sample.source.as_str(), dataset.created_by.as_str()), ("manual", "system"));
    assert!((sample.expected_score - 1.0).abs() < f64::EPSILON);
}

#[test]
fn the_written_file_has_the_familiar_names_and_counts_afresh() {
    let value = serde_json::to_value(with_samples(4)).unwrap();
    assert_eq!(value["total_samples"], 4);
    assert_eq!(value["difficulty_distribution"], json!({"easy": 2, "medium": 1, "hard": 1}));
    let sample = value["samples"][0].as_object().unwrap();
    let names = [
        "sample_id",
        "domain",
        "prompt",
        "context",
        "expected_output",
        "expected_score",
        "tags",
        "difficulty",
        "created_at",
        "source",
        "criteria",
    ];
    assert_eq!(sample.len(), names.len());
    assert!(names.iter().all(|name| sample.contains_key(*name)), "{sample:?}");
    let again: GoldenDataset = serde_json::from_value(value).unwrap();
    assert_eq!(again, with_samples(4));
}

#[test]
fn a_wrong_difficulty_or_an_unknown_field_is_refused() {
    let sample = |extra: serde_json::Value| {
        let mut value = json!({"prompt": "p", "expected_output": "o"});
        value.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        serde_json::from_value::<GoldenSample>(value)
    };
    assert!(sample(json!({"difficulty": "hard"})).is_ok());
    assert!(sample(json!({"difficulty": "extreme"})).is_err());
    assert!(sample(json!({"expected_ouput": "typo"})).is_err());
    let message = "extreme".parse::<Difficulty>().unwrap_err().to_string();
    assert_eq!(message, "`extreme` is not a difficulty; expected easy, medium or hard");
}

#[test]
fn the_digest_follows_the_content_and_its_order_but_not_who_wrote_it_when() {
    let dataset = with_samples(3);
    let mut imported = dataset.clone();
    imported.created_at = "2030-01-01T00:00:00Z".into();
    imported.created_by = "bert".into();
    imported.description = "again".into();
    imported.samples[0].created_at = "2030-01-01T00:00:00Z".into();
    assert_eq!(dataset.digest(), imported.digest());

    let edits: [fn(&mut GoldenDataset); 14] = [
        |dataset| dataset.version = Version::new(1, 0, 1),
        |dataset| dataset.samples.swap(0, 1),
        |dataset| dataset.samples[0].prompt.push('x'),
        |dataset| dataset.samples[0].context = Some(String::new()),
        |dataset| dataset.samples[0].expected_output.push('x'),
        |dataset| dataset.samples[0].expected_score = 0.9,
        |dataset| dataset.samples[0].difficulty = Difficulty::Hard,
        |dataset| dataset.samples[0].tags.push("x".into()),
        |dataset| drop(dataset.samples[0].criteria.insert("accuracy".into(), "x".into())),
        |dataset| dataset.samples[0].cluster = Some("BauGB".into()),
        |dataset| dataset.samples[0].held_out = true,
        |dataset| dataset.samples[0].checks.must_cite.push("§ 35 BauGB".into()),
        |dataset| dataset.samples[0].checks.must_contain.push("§ 35 BauGB".into()),
        |dataset| dataset.samples[0].checks.max_chars = Some(9),
    ];
    for (number, edit) in edits.into_iter().enumerate() {
        let mut changed = dataset.clone();
        edit(&mut changed);
        assert_ne!(dataset.digest(), changed.digest(), "edit {number}");
    }
}

#[test]
fn a_sound_dataset_has_no_findings() {
    assert_eq!(with_samples(30).lint(), Vec::new());
}

#[test]
fn duplicates_are_found_whatever_their_blanks_and_case() {
    let mut dataset = with_samples(30);
    dataset.samples[7].sample_id = dataset.samples[3].sample_id.clone();
    dataset.samples[9].prompt = "  FRAGE \n 4? ".into();
    let findings = dataset.lint();
    let found: Vec<_> = findings.iter().map(|finding| (finding.code, finding.severity)).collect();
    assert_eq!(
        found,
        [(FindingCode::DuplicateId, Severity::Error), (FindingCode::DuplicatePrompt, Severity::Error)]
    );
    assert!(findings[1].message.contains("baurecht-golden-5"), "{findings:?}");
    // The same question about another case is another sample.
    dataset.samples[9].context = Some("Der Fall B".into());
    assert_eq!(codes(&dataset), [FindingCode::DuplicateId]);
}

#[test]
fn what_a_judge_could_not_use_is_an_error() {
    let mut dataset = with_samples(30);
    dataset.samples[0].prompt = " ".into();
    dataset.samples[1].expected_output = "\n".into();
    dataset.samples[2].expected_score = 1.5;
    dataset.samples[3].criteria.insert("acuracy".into(), "typo".into());
    dataset.samples[4].domain = "steuerrecht".into();
    let expected = [
        FindingCode::EmptyPrompt,
        FindingCode::EmptyExpectedOutput,
        FindingCode::ExpectedScoreOutOfRange,
        FindingCode::UnknownCriterion,
        FindingCode::OtherDomain,
    ];
    assert_eq!(codes(&dataset), expected);
    let errors = dataset.lint().iter().filter(|finding| finding.severity == Severity::Error).count();
    assert_eq!(errors, 4);
}

#[test]
fn a_small_dataset_is_warned_about() {
    assert_eq!(codes(&empty()), [FindingCode::NoSamples]);
    let findings = with_samples(12).lint();
    assert!(findings[0].message.contains("add 18 more"), "{findings:?}");
    let expected = [FindingCode::FewSamples, FindingCode::ThinDifficulty, FindingCode::ThinDifficulty];
    assert_eq!(findings.iter().map(|finding| finding.code).take(3).collect::<Vec<_>>(), expected);
    assert!(findings.iter().all(|finding| finding.severity == Severity::Warning));
}

#[test]
fn prompts_that_ask_nearly_the_same_are_warned_about() {
    let mut dataset = with_samples(30);
    dataset.samples[3].prompt = "Unter welchen Voraussetzungen ist eine Photovoltaikanlage zulässig?".into();
    dataset.samples[8].prompt = "Unter welcher Voraussetzung ist eine Photovoltaikanlage zulaessig?".into();
    let findings = dataset.lint();
    assert_eq!(codes(&dataset), [FindingCode::NearDuplicatePrompt]);
    assert_eq!(findings[0].severity, Severity::Warning);
    assert!(findings[0].message.contains("baurecht-golden-4"), "{findings:?}");
    // Another number or another case makes another question.
    dataset.samples[8].prompt.push_str(" (2. Fall)");
    assert_eq!(codes(&dataset), []);
    dataset.samples[8].prompt = dataset.samples[3].prompt.clone();
    dataset.samples[8].context =
        Some("Die Anlage steht auf einem Dach in der Altstadt, neben einem Denkmal.".into());
    assert_eq!(codes(&dataset), []);
}

#[test]
fn an_expected_output_that_fails_its_own_checks_is_an_error() {
    let mut dataset = with_samples(30);
    let checks = |cite: &str| AnswerChecks { must_cite: vec![cite.into()], ..AnswerChecks::default() };
    dataset.samples[0].expected_output = "Das regelt § 35 Abs. 1 BauGB.".into();
    dataset.samples[0].checks = checks("§ 35 BauGB");
    assert_eq!(codes(&dataset), []);
    dataset.samples[0].checks = checks("§ 34 BauGB");
    let findings = dataset.lint();
    assert_eq!(codes(&dataset), [FindingCode::ExpectedOutputFailsCheck]);
    assert!(findings[0].message.contains("citation_missing: `§ 34 BauGB`"), "{findings:?}");
}

#[test]
fn checks_that_cannot_be_carried_out_are_errors() {
    let mut dataset = with_samples(30);
    dataset.samples[0].checks = AnswerChecks {
        must_cite: vec!["die Gemeinde".into()],
        must_contain: vec![" ".into()],
        language: Some("deutsch".into()),
        min_chars: Some(9),
        max_chars: Some(3),
        ..AnswerChecks::default()
    };
    let invalid = codes(&dataset).into_iter().filter(|code| *code == FindingCode::InvalidCheck).count();
    assert_eq!(invalid, 4, "{:?}", dataset.lint());
}

#[test]
fn samples_of_one_statute_should_share_a_cluster() {
    let mut dataset = with_samples(30);
    for (index, cited) in
        [(2, "§ 35 Abs. 1 BauGB"), (5, "§ 34 BauGB"), (7, "§§ 10, 11 BauGB"), (9, "Art. 14 GG")]
    {
        dataset.samples[index].expected_output = format!("Das folgt aus {cited}.");
    }
    let findings = dataset.lint();
    assert_eq!(codes(&dataset), [FindingCode::MissingCluster]);
    let message = &findings[0].message;
    assert!(
        message.contains("3 samples about BauGB") && message.contains("\"cluster\": \"BauGB\""),
        "{message}"
    );
    dataset.samples[2].cluster = Some("Bauplanungsrecht".into());
    let message = &dataset.lint()[0].message;
    assert!(message.contains("other samples about it are in Bauplanungsrecht"), "{message}");
    for index in [5, 7] {
        dataset.samples[index].cluster = Some("Bauplanungsrecht".into());
    }
    assert_eq!(codes(&dataset), []);
}

#[test]
fn a_statute_that_nearly_all_samples_cite_is_split_by_provision() {
    let mut dataset = with_samples(30);
    for (index, sample) in dataset.samples.iter_mut().enumerate() {
        sample.expected_output = format!("Das folgt aus § {} Abs. 1 BauGB.", 30 + index % 10);
    }
    let findings = dataset.lint();
    assert_eq!(findings.len(), 10, "{findings:?}");
    assert!(findings[0].message.contains("3 samples about § 30 BauGB"), "{findings:?}");
}

#[test]
fn only_what_is_asked_counts_as_size() {
    let mut dataset = with_samples(33);
    for sample in dataset.samples.iter_mut().take(3) {
        sample.held_out = true;
    }
    assert_eq!(codes(&dataset), []);
    dataset.samples[3].held_out = true;
    assert_eq!(codes(&dataset), [FindingCode::FewSamples]);
    dataset.samples.iter_mut().for_each(|sample| sample.held_out = true);
    assert_eq!(codes(&dataset), [FindingCode::NoSamples]);
}

#[test]
fn every_finding_code_is_documented() {
    let page = include_str!("../../../docs/golden.md");
    for code in FindingCode::ALL {
        assert!(page.contains(&format!("`{code}`")), "docs/golden.md does not name {code}");
    }
}

#[test]
fn the_dataset_of_the_example_has_no_findings() {
    let text = include_str!("../../../examples/verwaltungsrecht/golden.json");
    let example: GoldenDataset = serde_json::from_str(text).unwrap();
    assert_eq!(example.lint(), Vec::new());
}
