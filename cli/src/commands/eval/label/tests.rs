//! Tests of labelling.

use clara_lifecycle::samples;

use super::*;

fn asked(typed: &str) -> (Said, String) {
    let mut evaluation = samples::evaluation("law-lora-v1.0.0", &[40.0]);
    evaluation.results[0].adapter_output = "Der Außenbereich\u{1b}[2J.".to_owned();
    let mut talk = Vec::new();
    let said = ask(&evaluation.results[0], "1 of 1", &mut typed.as_bytes(), &mut talk).unwrap();
    (said, String::from_utf8(talk).unwrap())
}

#[test]
fn scores_are_taken_criterion_by_criterion_and_some_may_be_left_out() {
    let (said, talk) = asked("8\n\n6,5\n\n10\n");
    let expected = [(Criterion::Accuracy, 8.0), (Criterion::Style, 6.5), (Criterion::Coherence, 10.0)];
    assert_eq!(said, Said::Scores(expected.into()));
    assert!(talk.contains("Der Außenbereich[2J.") && !talk.contains('\u{1b}'), "{talk}");
    assert!(!talk.contains("4.0") && !talk.contains("40"), "what the judge said stays hidden: {talk}");
}

#[test]
fn what_is_no_score_is_asked_again() {
    let (said, talk) = asked("eleven\n11\n9\n\n\n\n\n");
    assert_eq!(said, Said::Scores([(Criterion::Accuracy, 9.0)].into()));
    assert!(talk.contains("`eleven` is no score") && talk.contains("`11` is no score"), "{talk}");
}

#[test]
fn nothing_said_is_no_label_and_q_or_the_end_of_input_ends() {
    assert_eq!(asked("\n\n\n\n\n").0, Said::Nothing);
    assert_eq!(asked("8\nq\n").0, Said::End);
    assert_eq!(asked("").0, Said::End);
}

#[test]
fn a_score_on_the_command_line_names_its_criterion() {
    assert_eq!(score_of("accuracy=8").unwrap(), (Criterion::Accuracy, 8.0));
    assert!(score_of("accuracy").unwrap_err().to_string().contains("expected CRITERION=SCORE"));
    assert!(score_of("wit=8").unwrap_err().to_string().contains("is not a criterion"));
    assert!(score_of("style=-1").unwrap_err().to_string().contains("expected 0 to 10"));
}

#[test]
fn a_file_is_read_whole_before_anything_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("labels.jsonl");
    std::fs::write(&path, "{\"sample_id\": \"s1\", \"scores\": {\"accuracy\": 8}}\n\n{\"sample\": 1}\n")
        .unwrap();
    let refused = read_lines(&path).unwrap_err().to_string();
    assert!(refused.ends_with(":3 is no label; nothing was kept"), "{refused}");
    std::fs::write(&path, "\n{\"sample_id\": \"s1\", \"scores\": {\"accuracy\": 8}, \"reason\": \"fits\"}\n")
        .unwrap();
    let line = Line {
        sample_id: "s1".to_owned(),
        scores: [(Criterion::Accuracy, 8.0)].into(),
        reason: "fits".to_owned(),
    };
    assert_eq!(read_lines(&path).unwrap(), [(2, line)]);
}
