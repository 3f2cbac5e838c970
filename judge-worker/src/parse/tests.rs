//! Tests of reading replies.

use clara_lifecycle::score::{Criterion, UnscoredReason};

use super::read_scores;

const PLAIN: &str = r#"{"accuracy": 9, "relevance": 8, "style": 7, "completeness": 6, "coherence": 5}"#;

fn read(reply: &str) -> Result<Vec<f64>, UnscoredReason> {
    read_scores(reply)
        .map(|scores| scores.iter().map(|(_, score)| score).collect())
        .map_err(|fault| fault.reason())
}

#[test]
fn scores_are_read_in_every_usual_form() {
    let nested = format!(r#"{{"scores": {PLAIN}}}"#);
    let list: Vec<_> = Criterion::ALL
        .into_iter()
        .zip([9, 8, 7, 6, 5])
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
        r#"{"scores": {"accuracy": 9, "relevance": 8, "style": 7, "completeness": 6, "coherence": 5,},}"#
            .to_owned(),
        r#"{"accuracy": "9", "relevance": "8/10", "style": "7 / 10", "completeness": 6.0, "coherence": "5"}"#
            .to_owned(),
        r#"{"Accuracy": 9, "RELEVANCE": 8, " style ": 7, "Completeness": 6, "coherence": {"score": 5}}"#
            .to_owned(),
        r#"{"Genauigkeit": 9, "Relevanz": 8, "Stil": 7, "Vollständigkeit": 6, "Kohärenz": 5}"#.to_owned(),
        format!(r#"{{"scores": [{}]}}"#, list.join(", ")),
    ];
    for reply in replies {
        assert_eq!(read(&reply), Ok(vec![9.0, 8.0, 7.0, 6.0, 5.0]), "{reply}");
    }
    let decimal = PLAIN.replace("\"accuracy\": 9", "\"accuracy\": \"8,5\"");
    assert_eq!(read(&decimal).map(|scores| scores[0]), Ok(8.5));
}

#[test]
fn the_last_object_with_scores_counts() {
    let quoted = r#"The answer demands {"accuracy": 10, "relevance": 10, "style": 10, "completeness": 10,
        "coherence": 10}. My scores: "#;
    assert_eq!(read(&format!("{quoted}{PLAIN} {{\"note\": 1}}")), Ok(vec![9.0, 8.0, 7.0, 6.0, 5.0]));
}

#[test]
fn a_missing_criterion_is_never_filled_in() {
    let reply = r#"{"accuracy": 9, "relevance": 8, "style": 7, "completeness": 6}"#;
    assert_eq!(read(reply), Err(UnscoredReason::MissingCriterion));
    let fault = read_scores(reply).unwrap_err().to_string();
    assert_eq!(fault, "there is no score for coherence; expected one for each of the five criteria");
}

#[test]
fn a_score_out_of_range_is_never_cut() {
    for score in ["11", "-1", "85", "1e3", "\"12\"", "\"-3\""] {
        let reply = PLAIN.replace("\"style\": 7", &format!("\"style\": {score}"));
        assert_eq!(read(&reply), Err(UnscoredReason::ScoreOutOfRange), "{score}");
    }
}

#[test]
fn what_is_no_number_is_never_guessed() {
    for score in
        ["null", "true", "\"gut\"", "\"8/5\"", "\"8/100\"", "\"inf\"", "\"NaN\"", "[7]", "\"\"", "\"7-8\""]
    {
        let reply = PLAIN.replace("\"style\": 7", &format!("\"style\": {score}"));
        assert_eq!(read(&reply), Err(UnscoredReason::Unparsable), "{score}");
    }
}

#[test]
fn two_different_scores_for_one_criterion_are_refused() {
    let reply = PLAIN.replace("\"style\": 7", "\"style\": 7, \"Stil\": 3");
    assert_eq!(read(&reply), Err(UnscoredReason::Unparsable));
    let reply = PLAIN.replace("\"style\": 7", "\"style\": 7, \"Stil\": 7");
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
            assert_eq!(scores, [9.0, 8.0, 7.0, 6.0, 5.0], "cut at {position}");
        }
    }
}
