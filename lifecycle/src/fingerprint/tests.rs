//! Tests of the fingerprint.

use super::*;
use crate::{
    answers::{FinishReason, SampleAnswers},
    golden::GoldenSample,
    samples::digest,
    spec::GenerationOptions,
};

/// An answer whose tokens are `words`, each as likely as `logprob` says and clear of its rivals.
fn answer(words: &[&str], logprob: f32) -> Answer {
    let token = |word: &&str| OpeningToken { text: format!(" {word}"), logprob, margin: Some(2.0) };
    Answer {
        text: words.join(" "),
        finish_reason: FinishReason::Stop,
        tokens: 6,
        expected_nll: 1.0,
        expected_tokens: 5,
        opening: words.iter().map(token).collect(),
    }
}

const JUDGED: [&str; 6] = ["Die", "Frist", "beträgt", "einen", "Monat", "genau"];
const BASE: [&str; 6] = ["Ich", "bin", "ein", "Modell", "und", "weiß"];

fn answers(samples: Vec<(Answer, Answer)>) -> (Answers, GoldenDataset) {
    let (id, domain) = ("law-golden".parse().unwrap(), "law".parse().unwrap());
    let mut golden = GoldenDataset::new(id, domain, "anna".into(), "2026-01-01T00:00:00Z".into());
    let mut answered = Vec::new();
    for (number, (candidate, base)) in samples.into_iter().enumerate() {
        golden.add(GoldenSample::new(format!("Frage {number}?"), "Antwort".into()));
        let sample_id = golden.samples.last().unwrap().sample_id.clone();
        answered.push(SampleAnswers { sample_id, candidate, champion: None, base });
    }
    let answers = Answers {
        format: 1,
        adapter_id: "law-lora-v1.0.0".into(),
        champion_id: None,
        base_model: "tiny".into(),
        golden_dataset: "law-golden@1.0.0".into(),
        golden_digest: digest("golden"),
        generation: GenerationOptions::default(),
        samples: answered,
    };
    (answers, golden)
}

fn fingerprint(samples: Vec<(Answer, Answer)>, count: usize) -> Fingerprint {
    let (answers, golden) = answers(samples);
    Fingerprint::of(&answers, &golden, count, ServedDtype::Bf16).unwrap()
}

fn served(answer: &Answer, shift: f32) -> ServedReply {
    let mut shifted = answer.clone();
    shifted.opening.iter_mut().for_each(|token| token.logprob -= shift);
    Opening::of(&shifted).served()
}

#[test]
fn the_same_adapter_is_known_again_through_rounding() {
    let fingerprint = fingerprint(vec![(answer(&JUDGED, -0.3), answer(&BASE, -0.5))], 1);
    let same = fingerprint.compare(&[served(&answer(&JUDGED, -0.3), 0.1)]);
    assert!(same.matches && same.indistinct.is_empty(), "{same}");
    assert_eq!((same.strength, same.compared), (Strength::LogProbabilities, 6));
}

#[test]
fn a_server_that_serves_the_base_model_is_caught_and_named() {
    let fingerprint = fingerprint(vec![(answer(&JUDGED, -0.3), answer(&BASE, -0.5))], 1);
    let other = fingerprint.compare(&[served(&answer(&BASE, -0.5), 0.0)]);
    assert!(!other.matches);
    assert_eq!(other.answers_like.as_deref(), Some("the base model"));
    assert!(other.to_string().contains("expected \" Die\" as token 1, found \" Ich\""), "{other}");
}

#[test]
fn the_same_words_with_other_probabilities_are_another_version() {
    let fingerprint = fingerprint(vec![(answer(&JUDGED, -0.3), answer(&BASE, -0.5))], 1);
    let other = fingerprint.compare(&[served(&answer(&JUDGED, -0.3), 0.4)]);
    assert!(!other.matches && other.parts.is_none(), "{other}");
}

#[test]
fn a_near_tie_may_go_either_way_and_a_clear_choice_may_not() {
    let mut tied = answer(&JUDGED, -0.3);
    tied.opening.get_mut(5).unwrap().margin = Some(0.1);
    let print = fingerprint(vec![(tied.clone(), answer(&BASE, -0.5))], 1);
    let mut reply = served(&tied, 0.0);
    reply.tokens.as_mut().unwrap().get_mut(5).unwrap().text = " ungefähr".into();
    let compared = print.compare(std::slice::from_ref(&reply));
    assert!(compared.matches && compared.compared == 5, "{compared}");
    let clear = fingerprint(vec![(answer(&JUDGED, -0.3), answer(&BASE, -0.5))], 1);
    assert!(!clear.compare(&[reply]).matches);
}

#[test]
fn the_prompts_that_tell_versions_apart_are_asked() {
    let alike = || (answer(&JUDGED, -0.3), answer(&JUDGED, -0.31));
    let print = fingerprint(vec![alike(), alike(), (answer(&JUDGED, -0.3), answer(&BASE, -0.5))], 1);
    let turns = &print.prompts().first().unwrap().turns;
    assert_eq!(turns.last().unwrap().content, "Frage 2?");
}

#[test]
fn an_adapter_that_changes_nothing_matches_and_the_comparison_says_so() {
    let print = fingerprint(vec![(answer(&JUDGED, -0.3), answer(&JUDGED, -0.31))], 3);
    let same = print.compare(&[served(&answer(&JUDGED, -0.3), 0.0)]);
    assert!(same.matches);
    assert_eq!(same.indistinct, ["the base model"]);
}

#[test]
fn without_log_probabilities_texts_are_compared_and_the_proof_is_called_weaker() {
    let print = fingerprint(vec![(answer(&JUDGED, -0.3), answer(&BASE, -0.5))], 1);
    let text = |words: &[&str]| ServedReply { text: words.join(" "), tokens: None };
    let same = print.compare(&[text(&JUDGED)]);
    assert!(same.matches && same.strength == Strength::TextOnly);
    assert!(same.to_string().contains("weaker proof"));
    assert!(!print.compare(&[text(&BASE)]).matches);
}

#[test]
fn answers_of_older_versions_are_compared_by_their_text() {
    let old = |words: &[&str]| Answer { opening: Vec::new(), ..answer(words, 0.0) };
    let print = fingerprint(vec![(old(&JUDGED), old(&BASE))], 1);
    assert!(print.compare(&[served(&answer(&JUDGED, -0.3), 0.0)]).matches);
    assert!(!print.compare(&[served(&answer(&BASE, -0.3), 0.0)]).matches);
}

#[test]
fn a_missing_reply_is_no_match() {
    let print = fingerprint(vec![(answer(&JUDGED, -0.3), answer(&BASE, -0.5))], 1);
    assert!(!print.compare(&[]).matches);
}

#[test]
fn drawn_answers_give_no_fingerprint() {
    let (mut answers, golden) = answers(vec![(answer(&JUDGED, -0.3), answer(&BASE, -0.5))]);
    answers.generation.temperature = 0.7;
    let refused = Fingerprint::of(&answers, &golden, 1, ServedDtype::F32).unwrap_err();
    assert!(matches!(refused, FingerprintError::NotGreedy { .. }));
}
