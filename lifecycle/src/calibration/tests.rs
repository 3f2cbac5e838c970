//! Tests of calibration and of the standing of judges.

use std::collections::BTreeMap;

use super::{
    Calibration, CalibrationContext, CalibrationPolicy, CalibrationState, JudgeStanding, KnownJudge,
    standing_of,
};
use crate::{
    digest::Digest,
    label::{HumanLabel, LabelSource},
    samples,
    score::{Criterion, JudgeIdentity},
};

const CONTEXT: CalibrationContext<'_> = CalibrationContext {
    policy: CalibrationPolicy { min_answers: 30, min_quadratic_kappa: 0.6 },
    at: "2026-01-02T03:04:05Z",
    actor: "anna",
};

fn judge() -> JudgeIdentity {
    samples::judge_identity("judge-model")
}

/// A label of answer `number`: accuracy by the person, and by the judge where it scored it.
fn label(number: u32, person: f64, judge_said: Option<f64>) -> HumanLabel {
    let accuracy = |score| BTreeMap::from([(Criterion::Accuracy, score)]);
    HumanLabel {
        adapter_id: "law-lora-v1.0.0".to_owned(),
        golden_dataset: "golden@1.0.0".to_owned(),
        sample_id: format!("s{number}"),
        answer_digest: Digest::of(b"answer"),
        scores: accuracy(person),
        judged: judge_said.map(|score| (judge().judge_id, accuracy(score))).into_iter().collect(),
        actor: "anna".to_owned(),
        reason: String::new(),
        at: "2026-01-01T00:00:00Z".to_owned(),
        source: LabelSource::Label,
    }
}

/// `count` labels of a judge whose scores lie `offset` above those of people, with every third one off by `noise`.
fn labels(count: u32, offset: f64, noise: f64) -> Vec<HumanLabel> {
    let one = |number: u32| {
        let person = f64::from(1 + number % 8);
        let off = match number % 3 {
            0 => noise,
            _ => 0.0,
        };
        label(number, person, Some((person + offset + off).clamp(0.0, 10.0)))
    };
    (0..count).map(one).collect()
}

#[test]
fn a_judge_that_agrees_with_people_is_calibrated() {
    let calibration = Calibration::of(&judge(), &labels(40, 0.0, 1.0), CONTEXT).unwrap();
    assert_eq!((calibration.answers, calibration.labels, calibration.people), (40, 40, 1));
    let kappa = calibration.overall.quadratic_kappa.unwrap();
    assert!(kappa.value > 0.9 && kappa.lower.unwrap() < kappa.value, "{kappa:?}");
    assert_eq!(calibration.standing().state, CalibrationState::Calibrated);
    assert!(
        calibration.standing().reason.contains("labels of 40 answers: quadratic kappa 0.9"),
        "{calibration:?}"
    );
}

#[test]
fn too_few_labels_or_too_little_agreement_do_not_calibrate() {
    let few = Calibration::of(&judge(), &labels(29, 0.0, 1.0), CONTEXT).unwrap();
    assert_eq!(few.standing().state, CalibrationState::Uncalibrated);
    assert!(few.standing().reason.contains("29 answers, at least 30 are needed"), "{:?}", few.standing());
    assert_eq!(few.offsets(), BTreeMap::new());
    let poor = Calibration::of(&judge(), &labels(40, 4.0, -6.0), CONTEXT).unwrap();
    assert_eq!(poor.standing().state, CalibrationState::Uncalibrated);
    assert!(poor.standing().reason.contains("at least 0.60 is needed"), "{:?}", poor.standing());
    // A judge that always says the same agrees with nobody.
    let same: Vec<_> = (0..40).map(|number| label(number, 8.0, Some(8.0))).collect();
    let same = Calibration::of(&judge(), &same, CONTEXT).unwrap();
    assert_eq!((same.overall.quadratic_kappa, same.standing().state), (None, CalibrationState::Uncalibrated));
}

#[test]
fn labels_of_answers_that_the_judge_did_not_score_play_no_part() {
    let mut all = labels(35, 0.0, 1.0);
    all.push(label(99, 0.0, None));
    assert_eq!(Calibration::of(&judge(), &all, CONTEXT).unwrap().labels, 35);
    assert_eq!(Calibration::of(&samples::judge_identity("other"), &all, CONTEXT), None);
}

#[test]
fn several_people_about_one_answer_are_several_labels_of_one_answer() {
    let mut all = labels(20, 0.0, 1.0);
    let second = all.iter().map(|label| HumanLabel { actor: "ben".to_owned(), ..label.clone() });
    all.extend(second.collect::<Vec<_>>());
    let calibration = Calibration::of(&judge(), &all, CONTEXT).unwrap();
    assert_eq!((calibration.answers, calibration.labels, calibration.people), (20, 40, 2));
    assert_eq!(calibration.standing().state, CalibrationState::Uncalibrated);
}

#[test]
fn the_offset_is_what_the_judge_lacks() {
    let calibration = Calibration::of(&judge(), &labels(40, 1.5, 0.0), CONTEXT).unwrap();
    let offset = calibration.offsets()[&Criterion::Accuracy];
    assert!((offset + 1.5).abs() < 1e-9, "{offset}");
    assert!((calibration.overall.mean_distance - 1.5).abs() < 1e-9);
    assert_eq!(calibration.criteria.len(), 1, "only accuracy has labels");
}

fn known(standing: JudgeStanding) -> KnownJudge {
    let judge = judge();
    KnownJudge {
        judge_id: judge.judge_id,
        model: judge.model,
        prompt_digest: judge.prompt_digest,
        rubric_digest: judge.rubric_digest,
        fingerprint: None,
        standing,
    }
}

fn trusted() -> JudgeStanding {
    JudgeStanding::calibrated("they agree".to_owned())
}

#[test]
fn a_judge_has_the_standing_of_its_calibration() {
    assert_eq!(standing_of(&[judge()], &[known(trusted())]), trusted());
    let poor = JudgeStanding::uncalibrated("they do not".to_owned());
    assert_eq!(standing_of(&[judge()], &[known(poor.clone())]), poor);
    assert_eq!(standing_of(&[judge()], &[]).state, CalibrationState::Uncalibrated);
    assert_eq!(standing_of(&[], &[]).state, CalibrationState::Uncalibrated);
}

#[test]
fn a_judge_whose_endpoint_answers_as_another_model_is_stale() {
    let marked = |mark: Option<&str>| JudgeIdentity { fingerprint: mark.map(str::to_owned), ..judge() };
    let calibrated =
        |mark: Option<&str>| KnownJudge { fingerprint: mark.map(str::to_owned), ..known(trusted()) };
    let both = [calibrated(Some("judge-1 fp_a, judge-1 fp_b"))];
    assert_eq!(standing_of(&[marked(Some("judge-1 fp_b"))], &both), trusted());
    let drifted = standing_of(&[marked(Some("judge-1 fp_b, judge-2 fp_c"))], &both);
    assert_eq!(drifted.state, CalibrationState::Stale);
    assert!(drifted.reason.contains("now it answers as judge-2 fp_c;"), "{}", drifted.reason);
    // Who says nothing of itself cannot be caught by it.
    assert_eq!(standing_of(&[marked(None)], &both), trusted());
    assert_eq!(standing_of(&[marked(Some("judge-2 fp_c"))], &[calibrated(None)]), trusted());
    let labelled = Calibration::of(&marked(Some("judge-1 fp_a")), &labels(40, 0.0, 0.0), CONTEXT).unwrap();
    assert_eq!(labelled.fingerprint.as_deref(), Some("judge-1 fp_a"));
}

#[test]
fn a_changed_judge_is_stale_and_the_reason_says_what_changed() {
    let calibrated = [known(trusted())];
    let rubric = JudgeIdentity {
        judge_id: "judge-model#new".to_owned(),
        rubric_digest: Digest::of(b"new"),
        ..judge()
    };
    let model = JudgeIdentity { judge_id: "other#1-2".to_owned(), model: "other".to_owned(), ..judge() };
    let prompt = JudgeIdentity { prompt_digest: Digest::of(b"new"), ..judge() };
    let table = [
        (rubric, format!("the rubric changed from {} to", Digest::of(b"rubric").short())),
        (model, "the model is other instead of judge-model".to_owned()),
        (prompt, format!("the prompt changed from {} to", Digest::of(b"prompt").short())),
    ];
    for (now, expected) in table {
        let standing = standing_of(&[now], &calibrated);
        assert_eq!(standing.state, CalibrationState::Stale, "{standing:?}");
        assert!(standing.reason.contains(&expected), "{standing:?}");
    }
    // What never was calibrated cannot grow stale.
    let other = JudgeIdentity { rubric_digest: Digest::of(b"new"), ..judge() };
    let never = [known(JudgeStanding::uncalibrated("they do not".to_owned()))];
    assert_eq!(standing_of(&[other], &never).state, CalibrationState::Uncalibrated);
}

#[test]
fn a_panel_is_trusted_as_far_as_its_least_trusted_judge() {
    let other = samples::judge_identity("other");
    let by_hand = JudgeIdentity { calibrated: true, ..other.clone() };
    let calibrated = [known(trusted())];
    assert_eq!(standing_of(&[judge(), by_hand], &calibrated).state, CalibrationState::Calibrated);
    assert_eq!(standing_of(&[judge(), other], &calibrated).state, CalibrationState::Stale);
}
