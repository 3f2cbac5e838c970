//! Tests of reading replies.

use clara_lifecycle::score::{Criterion, UnscoredReason};

use super::{Better, read_preference, read_scores};

const PLAIN: &str = r#"{"accuracy": 5, "relevance": 4, "style": 3, "completeness": 2, "coherence": 1}"#;

fn read(reply: &str) -> Result<Vec<f64>, UnscoredReason> {
    read_scores(reply, &Criterion::ALL)
        .map(|scores| scores.marks.into_values().collect())
        .map_err(|fault| fault.reason())
}

#[test]
fn scores_are_read_in_every_usual_form() {
    let nested = format!(r#"{{"scores": {PLAIN}}}"#);
    let list: Vec<_> = Criterion::ALL
        .into_iter()
        .zip([5, 4, 3, 2, 1])
        .map(|(criterion, score)| format!(r#"{{"criterion": "{criterion}", "score": {score}}}"#))
        .collect();
    let replies = [
        PLAIN.to_owned(),
        nested.clone(),
        format!("```json\n{nested}\n```"),
        format!("Hier ist meine Bewertung:\n\n{nested}\n\nIch hoffe, das hilft."),
        format!("<think>Braces {{ everywhere }} and \"quotes</think>{nested}"),
        format!(
            r#"{{"reasoning": {{"accuracy": "gut }} {{ 3"}}, "scores": {PLAIN}, "overall_assessment": "gut"}}"#
        ),
        r#"{"scores": {"accuracy": 5, "relevance": 4, "style": 3, "completeness": 2, "coherence": 1,},}"#
            .to_owned(),
        r#"{"accuracy": "5", "relevance": "4/5", "style": "3 / 5", "completeness": 2.0, "coherence": "1"}"#
            .to_owned(),
        r#"{"Accuracy": 5, "RELEVANCE": 4, " style ": 3, "Completeness": 2, "coherence": {"score": 1}}"#
            .to_owned(),
        r#"{"Genauigkeit": 5, "Relevanz": 4, "Stil": 3, "Vollständigkeit": 2, "Kohärenz": 1}"#.to_owned(),
        format!(r#"{{"scores": [{}]}}"#, list.join(", ")),
    ];
    for reply in replies {
        assert_eq!(read(&reply), Ok(vec![5.0, 4.0, 3.0, 2.0, 1.0]), "{reply}");
    }
    let decimal = PLAIN.replace("\"accuracy\": 5", "\"accuracy\": \"4,5\"");
    assert_eq!(read(&decimal).map(|scores| scores[0]), Ok(4.5));
}

#[test]
fn the_last_object_with_scores_counts() {
    let quoted = r#"The answer demands {"accuracy": 10, "relevance": 10, "style": 10, "completeness": 10,
        "coherence": 10}. My scores: "#;
    assert_eq!(read(&format!("{quoted}{PLAIN} {{\"note\": 1}}")), Ok(vec![5.0, 4.0, 3.0, 2.0, 1.0]));
}

#[test]
fn a_missing_criterion_is_never_filled_in() {
    let reply = r#"{"accuracy": 5, "relevance": 4, "style": 3, "completeness": 2}"#;
    assert_eq!(read(reply), Err(UnscoredReason::MissingCriterion));
    let fault = read_scores(reply, &Criterion::ALL).unwrap_err().to_string();
    assert_eq!(fault, "there is no score for coherence; expected one for each criterion that was asked for");
}

#[test]
fn a_score_out_of_range_is_never_cut() {
    for score in ["6", "-1", "85", "1e3", "\"10\"", "\"-3\""] {
        let reply = PLAIN.replace("\"style\": 3", &format!("\"style\": {score}"));
        assert_eq!(read(&reply), Err(UnscoredReason::ScoreOutOfRange), "{score}");
    }
}

#[test]
fn what_is_no_number_is_never_guessed() {
    for score in
        ["null", "true", "\"gut\"", "\"8/10\"", "\"8/100\"", "\"inf\"", "\"NaN\"", "[7]", "\"\"", "\"7-8\""]
    {
        let reply = PLAIN.replace("\"style\": 3", &format!("\"style\": {score}"));
        assert_eq!(read(&reply), Err(UnscoredReason::Unparsable), "{score}");
    }
}

#[test]
fn two_different_scores_for_one_criterion_are_refused() {
    let reply = PLAIN.replace("\"style\": 3", "\"style\": 3, \"Stil\": 1");
    assert_eq!(read(&reply), Err(UnscoredReason::Unparsable));
    let reply = PLAIN.replace("\"style\": 3", "\"style\": 3, \"Stil\": 3");
    assert!(read(&reply).is_ok());
}

#[test]
fn nonsense_holds_no_scores() {
    let cut = PLAIN.get(..40).unwrap();
    for reply in
        ["", "gut", "{", "}{", "{{{{", "[1, 2]", "{\"a\": 1}", "accuracy: 9", cut, "\"{\\\"", "{\u{1F600}}"]
    {
        assert_eq!(read(reply), Err(UnscoredReason::Unparsable), "{reply}");
    }
}

#[test]
fn every_cut_of_a_reply_is_read_whole_or_not_at_all() {
    let reply = format!("```json\n{{\"scores\": {PLAIN}, \"overall_assessment\": \"schön\"}}\n```");
    for (position, _) in reply.char_indices() {
        if let Ok(scores) = read(reply.get(..position).unwrap()) {
            assert_eq!(scores, [5.0, 4.0, 3.0, 2.0, 1.0], "cut at {position}");
        }
    }
}

#[test]
fn only_the_criteria_that_were_asked_for_count() {
    let scores = read_scores(PLAIN, &[Criterion::Style]).unwrap();
    assert_eq!(scores.marks, [(Criterion::Style, 3.0)].into());
    assert!(read_scores(r#"{"style": 3, "accuracy": "?"}"#, &[Criterion::Style]).is_ok());
}

#[test]
fn reasons_are_kept_by_criterion() {
    let reply = format!(r#"{{"scores": {PLAIN}, "reasoning": {{"accuracy": "nennt § 61", "style": 4}}}}"#);
    let scores = read_scores(&reply, &Criterion::ALL).unwrap();
    assert_eq!(scores.reasons, [(Criterion::Accuracy, "nennt § 61".to_owned())].into());
}

#[test]
fn a_preference_is_read_or_refused() {
    let read = |text: &str| read_preference(text).ok();
    assert_eq!(read(r#"{"reasoning": "A is {longer}", "better": "A"}"#), Some(Better::First));
    assert_eq!(read("```json\n{\"better\": \"b\"}\n```"), Some(Better::Second));
    assert_eq!(read(r#"{"better": "A"} no: {"Besser": "Unentschieden"}"#), Some(Better::Tie));
    for nonsense in ["", "A", r#"{"better": "C"}"#, r#"{"better": ["A"]}"#] {
        assert_eq!(read(nonsense), None, "{nonsense}");
    }
}
