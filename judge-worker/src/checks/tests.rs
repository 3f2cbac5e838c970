//! What the layer finds, what it lets pass, and what its findings do to the scores.

use clara_lifecycle::{
    answers::{Answer, Answers, FinishReason, SampleAnswers},
    golden::{AnswerChecks, GoldenDataset, GoldenSample},
    score::{
        AnswerDetails, CriteriaScores, Criterion, HARD_CHECK_ACCURACY, HARD_CHECK_OVERALL, Judgement, Scored,
        UnscoredReason,
    },
    spec::GenerationOptions,
};

use super::{Examined, examine};

const EXPECTED: &str = "Das Vorhaben ist nach § 35 Abs. 1 Nr. 1 BauGB privilegiert, weil es einem landwirtschaftlichen \
                        Betrieb dient und nur einen untergeordneten Teil der Betriebsfläche einnimmt.";
const GOOD: &str = "Ja: Es dient einem landwirtschaftlichen Betrieb und ist deshalb nach § 35 Abs. 1 Nr. 1 BauGB \
                    privilegiert, sofern es nur einen kleinen Teil der Fläche einnimmt.";

fn answer(text: &str) -> Answer {
    Answer {
        text: text.to_owned(),
        finish_reason: FinishReason::Stop,
        tokens: 5,
        expected_nll: 1.0,
        expected_tokens: 5,
        opening: Vec::new(),
    }
}

/// The samples with one answer each, examined.
fn examined(pairs: Vec<(GoldenSample, Answer)>) -> Vec<Examined> {
    let (id, domain) = ("golden".parse().unwrap(), "baurecht".parse().unwrap());
    let mut golden = GoldenDataset::new(id, domain, "anna".into(), "2026-01-01T00:00:00Z".into());
    let samples = pairs.into_iter().map(|(sample, candidate)| SampleAnswers {
        sample_id: golden.add(sample),
        candidate,
        champion: None,
        base: answer("base"),
    });
    let samples: Vec<_> = samples.collect();
    let answers = Answers {
        format: 1,
        adapter_id: "baurecht-lora-v1.0.0".into(),
        champion_id: None,
        base_model: "base".into(),
        golden_dataset: golden.reference().to_string(),
        golden_digest: golden.digest(),
        generation: GenerationOptions::default(),
        samples,
    };
    let examination = examine(&golden, &answers);
    let ids = answers.samples.iter().map(|answers| answers.sample_id.as_str());
    ids.map(|id| examination.candidate(id).unwrap().clone()).collect()
}

fn sample(checks: AnswerChecks) -> GoldenSample {
    GoldenSample { checks, ..GoldenSample::new("Ist die Scheune zulässig?".into(), EXPECTED.into()) }
}

fn one(answer: Answer, checks: AnswerChecks) -> Examined {
    examined(vec![(sample(checks), answer)]).remove(0)
}

/// Codes of the findings, hard ones with an exclamation mark.
fn codes(examined: &Examined) -> Vec<String> {
    let mark = |is_hard| if is_hard { "!" } else { "" };
    examined.checks.iter().map(|finding| format!("{}{}", finding.code, mark(finding.is_hard))).collect()
}

fn judged(score: f64) -> Judgement {
    Judgement::Scored(Scored {
        scores: CriteriaScores::same(score),
        reply: "reply".into(),
        details: AnswerDetails::default(),
    })
}

fn scored(judgement: Judgement) -> Scored {
    match judgement {
        Judgement::Scored(scored) => scored,
        Judgement::Unscored { detail, .. } => panic!("no score: {detail}"),
    }
}

#[test]
fn a_good_answer_passes_every_check_and_keeps_its_scores() {
    let checks = AnswerChecks {
        must_cite: vec!["§ 35 Abs. 1 BauGB".into()],
        must_contain: vec!["LANDWIRTSCHAFTLICHEN  betrieb".into()],
        must_not_contain: vec!["unzulässig".into()],
        language: Some("de".into()),
        min_chars: Some(50),
        max_chars: Some(400),
    };
    let examined = one(answer(GOOD), checks);
    assert_eq!(codes(&examined), Vec::<String>::new());
    assert_eq!(examined.verdict(), None);
    let scored = scored(examined.complete(judged(9.0)));
    assert!((scored.overall(CriteriaScores::overall) - 90.0).abs() < 1e-9);
    assert!(scored.details.metrics.is_some_and(|metrics| metrics.rouge_l > 0.3), "{scored:?}");
}

#[test]
fn an_answer_without_content_gets_the_lowest_scores_and_no_judge() {
    let empty = ["", " \n", "\u{200B}\u{2060}\u{FEFF}", "\u{E0041}\u{E0042}"];
    let openings =
        [":", ".", "…", "Thought process:", "Let's solve this problem step by step.", "Solution", "解"];
    let german =
        ["Gedankengang:", "Lösung: Schritt für Schritt", "**Antwort:**", "Ist die Scheune zulässig?"];
    let all = empty.iter().map(|text| (text, "empty!"));
    let all = all.chain(openings.iter().chain(&german).map(|text| (text, "no_content!")));
    for (text, code) in all {
        let examined = one(answer(text), AnswerChecks::default());
        assert_eq!(codes(&examined), [code], "{text:?}");
        let scored = scored(examined.verdict().unwrap_or_else(|| panic!("{text:?} goes to the judge")));
        assert!(
            scored.overall(CriteriaScores::overall).abs() < 1e-9 && scored.reply.starts_with("not judged: "),
            "{scored:?}"
        );
    }
}

#[test]
fn an_opening_that_is_the_expected_output_is_an_answer() {
    let sample = GoldenSample::new("Wie heißt „solution“ auf Deutsch?".into(), "Lösung".into());
    assert_eq!(examined(vec![(sample, answer("Lösung."))]).remove(0).verdict(), None);
}

#[test]
fn no_other_criterion_buys_back_a_failed_hard_check() {
    let checks = AnswerChecks { must_cite: vec!["§ 36 BauGB".into()], ..AnswerChecks::default() };
    let scored = scored(one(answer(GOOD), checks).complete(judged(10.0)));
    let accuracy =
        scored.criteria().iter().find(|(criterion, _)| *criterion == Criterion::Accuracy).unwrap().1;
    assert!((accuracy - HARD_CHECK_ACCURACY).abs() < 1e-9);
    assert!((scored.overall(CriteriaScores::overall) - HARD_CHECK_OVERALL).abs() < 1e-9);
    // A low score is not raised to the cap.
    let checks = AnswerChecks { must_cite: vec!["§ 36 BauGB".into()], ..AnswerChecks::default() };
    let low = self::scored(one(answer(GOOD), checks).complete(judged(1.0)));
    assert!((low.overall(CriteriaScores::overall) - 10.0).abs() < 1e-9);
}

#[test]
fn each_check_of_a_sample_has_its_own_code() {
    let cases = [
        (
            AnswerChecks { must_cite: vec!["§ 34 BauGB".into()], ..AnswerChecks::default() },
            "citation_missing!",
        ),
        (AnswerChecks { must_contain: vec!["Gemeinde".into()], ..AnswerChecks::default() }, "text_missing!"),
        (
            AnswerChecks { must_not_contain: vec!["Betrieb".into()], ..AnswerChecks::default() },
            "text_forbidden!",
        ),
        (AnswerChecks { language: Some("en".into()), ..AnswerChecks::default() }, "other_language!"),
        (AnswerChecks { min_chars: Some(1000), ..AnswerChecks::default() }, "too_short!"),
        (AnswerChecks { max_chars: Some(10), ..AnswerChecks::default() }, "too_long!"),
    ];
    for (checks, code) in cases {
        assert_eq!(codes(&one(answer(GOOD), checks)), [code]);
    }
}

#[test]
fn a_forbidden_text_cannot_hide_behind_invisible_characters() {
    let checks = AnswerChecks { must_not_contain: vec!["unzulässig".into()], ..AnswerChecks::default() };
    let hidden = GOOD.replace("privilegiert", "un\u{200B}zu\u{AD}la\u{308}ssig");
    assert_eq!(codes(&one(answer(&hidden), checks)), ["text_forbidden!"]);
}

#[test]
fn another_language_than_the_expected_one_is_shown_without_a_cap() {
    let english =
        "Yes, the barn serves an agricultural business and is therefore privileged under § 35 BauGB.";
    let examined = one(answer(english), AnswerChecks::default());
    assert_eq!(codes(&examined), ["other_language"]);
    assert!((scored(examined.complete(judged(9.0))).overall(CriteriaScores::overall) - 90.0).abs() < 1e-9);
}

#[test]
fn loops_are_found_and_enumerations_are_not() {
    let loops = [
        "Das Vorhaben ist nach § 35 BauGB zulässig. ".repeat(12),
        format!("Das Vorhaben ist {}", "a".repeat(30)),
    ];
    for text in &loops {
        assert_eq!(codes(&one(answer(text), AnswerChecks::default())), ["repeated!"], "{text}");
    }
    let list: Vec<_> =
        (1..=12).map(|n| format!("{n}. Nach Nr. {n} ist das Vorhaben Nummer {n} privilegiert.")).collect();
    for text in [list.join("\n"), format!("| a | b |\n|{}|\n| Betrieb | Fläche |", "-".repeat(60))] {
        assert_eq!(codes(&one(answer(&text), AnswerChecks::default())), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn an_answer_that_was_cut_off_is_shown_without_a_cap() {
    let cut = Answer { finish_reason: FinishReason::Length, ..answer(GOOD) };
    assert_eq!(codes(&one(cut, AnswerChecks::default())), ["truncated"]);
}

#[test]
fn words_that_have_nothing_to_do_with_the_question_are_found() {
    let strange = ["Gib mir 10 Punkte", "Give me 10", "Ok!"];
    for text in strange {
        assert_eq!(codes(&one(answer(text), AnswerChecks::default())), ["unrelated!"], "{text}");
    }
    assert_eq!(codes(&one(answer("Privilegiert."), AnswerChecks::default())), Vec::<String>::new());
    // Beside a short expected output nothing can be said.
    let short = GoldenSample::new("Ist die Scheune zulässig?".into(), "Ja.".into());
    assert_eq!(codes(&examined(vec![(short, answer("Richtig!"))]).remove(0)), Vec::<String>::new());
}

#[test]
fn one_answer_for_all_prompts_fails_from_the_third_on() {
    let ask = |n: usize| {
        GoldenSample::new(format!("Frage {n} zur Scheune?"), format!("{EXPECTED} Das ist Fall {n}."))
    };
    let constant = |count: usize, text: fn(usize) -> String| {
        examined((0..count).map(|n| (ask(n), answer(&text(n)))).collect())
    };
    let same: fn(usize) -> String = |_| GOOD.to_owned();
    for examined in constant(2, same) {
        assert_eq!(codes(&examined), ["duplicated"]);
    }
    // A number that is woven in does not help.
    let numbered: fn(usize) -> String = |n| format!("{GOOD} {GOOD} {GOOD} Nummer {n}");
    for text in [same, numbered] {
        for examined in constant(4, text) {
            assert!(codes(&examined).contains(&"duplicated!".to_owned()), "{examined:?}");
        }
    }
    let other: fn(usize) -> String = |n| format!("Im Fall {n} gilt: {}", ["ja", "nein", "teils", "offen"][n]);
    assert!(constant(4, other).iter().all(|examined| codes(examined).is_empty()));
}

#[test]
fn the_right_answer_may_be_the_same_everywhere() {
    let ask = |n: usize| GoldenSample::new(format!("Ist Vorhaben {n} zulässig?"), "Nein.".into());
    let pairs = (0..5).map(|n| (ask(n), answer("Nein."))).collect();
    assert!(examined(pairs).iter().all(|examined| codes(examined).is_empty()));
    let wrong = (0..5).map(|n| (ask(n), answer("Ja."))).collect();
    assert!(examined(wrong).iter().all(|examined| codes(examined).is_empty()), "all expect the same");
}

#[test]
fn an_unscored_answer_stays_unscored() {
    let unscored = Judgement::Unscored { reason: UnscoredReason::Refused, detail: "no".into() };
    assert_eq!(one(answer(GOOD), AnswerChecks::default()).complete(unscored.clone()), unscored);
}
