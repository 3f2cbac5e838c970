//! Tests of the gate.

use super::{Decision, GateInput, GateMode, GatePolicy, GateReport, GateSample, ReasonCode, decide};
use crate::{calibration::JudgeStanding, golden::Difficulty, statistics::SplitMix64};

fn point() -> GatePolicy {
    GatePolicy { mode: GateMode::Point, ..GatePolicy::default() }
}

/// `count` scores with this mean, half of them `spread` above and half below it.
fn around(mean: f64, spread: f64, count: u32) -> Vec<f64> {
    (0..count).map(|index| if index % 2 == 0 { mean + spread } else { mean - spread }).collect()
}

fn scored(scores: Vec<f64>) -> GateInput {
    let sample =
        |(index, score)| GateSample { sample_id: format!("s{index}"), score, ..GateSample::default() };
    GateInput {
        samples: scores.into_iter().enumerate().map(sample).collect(),
        standing: JudgeStanding::calibrated("it agrees with people".to_owned()),
        ..GateInput::default()
    }
}

/// `input` with a change to each sample by its number.
fn changed(mut input: GateInput, change: impl Fn(usize, &mut GateSample)) -> GateInput {
    for (index, sample) in input.samples.iter_mut().enumerate() {
        change(index, sample);
    }
    input
}

fn beside_champion(candidate: Vec<f64>, difference: f64) -> GateInput {
    let input = GateInput { has_champion: true, ..scored(candidate) };
    changed(input, |index, sample| {
        // Differences scatter by one point, so that bounds exist.
        let jitter = if index % 4 < 2 { 1.0 } else { -1.0 };
        sample.champion = Some(sample.score - difference + jitter);
    })
}

fn uncalibrated(input: GateInput) -> GateInput {
    GateInput { standing: JudgeStanding::default(), ..input }
}

fn codes(report: &GateReport) -> Vec<&str> {
    report.reasons.iter().map(|reason| reason.code.as_str()).collect()
}

#[test]
fn point_mode_compares_the_mean_and_its_borders_are_inclusive() {
    let table = [
        (100.0, Decision::Approve, "mean_reaches_approve"),
        (85.0, Decision::Approve, "mean_reaches_approve"),
        (84.99, Decision::Review, "mean_below_approve"),
        (70.0, Decision::Review, "mean_below_approve"),
        (69.99, Decision::Reject, "mean_below_review"),
        (0.0, Decision::Reject, "mean_below_review"),
    ];
    for (mean, decision, code) in table {
        let report = decide(&point(), &scored(vec![mean; 3]));
        assert_eq!((report.decision, codes(&report)), (decision, vec![code]), "mean {mean}");
    }
}

#[test]
fn a_mean_that_misses_the_border_by_rounding_reaches_it() {
    let scores = vec![84.9, 85.1, 84.7, 85.3, 85.0, 84.8, 85.2];
    let rounded_down: f64 = scores.iter().sum::<f64>() / 7.0;
    assert!((rounded_down - 85.0).abs() < 1e-9);
    assert_eq!(decide(&point(), &scored(scores)).decision, Decision::Approve);
}

#[test]
fn nothing_scored_is_an_error_in_both_modes() {
    for policy in [point(), GatePolicy::default()] {
        for unscored in [0, 30] {
            let report = decide(&policy, &GateInput { unscored, ..scored(Vec::new()) });
            assert_eq!((report.decision, codes(&report)), (Decision::Error, vec!["nothing_scored"]));
            assert_eq!((report.mean, report.pass_rate), (None, None));
        }
    }
}

#[test]
fn too_many_unscored_are_an_error_in_both_modes_and_the_border_is_inclusive() {
    for policy in [point(), GatePolicy::default()] {
        // Two of 40 are 5 %, as many as allowed.
        let input = GateInput { unscored: 2, ..scored(around(95.0, 2.0, 38)) };
        assert_eq!(decide(&policy, &input).decision, Decision::Approve);
        let input = GateInput { unscored: 3, ..scored(around(95.0, 2.0, 38)) };
        let report = decide(&policy, &input);
        assert_eq!((report.decision, codes(&report)), (Decision::Error, vec!["too_many_unscored"]));
        assert_eq!((report.scored, report.unscored), (38, 3));
    }
}

#[test]
fn bounds_mode_with_few_samples_is_inconclusive_and_says_how_many_are_missing() {
    let report = decide(&GatePolicy::default(), &scored(around(95.0, 4.0, 29)));
    assert_eq!((report.decision, codes(&report)), (Decision::Inconclusive, vec!["too_few_samples"]));
    assert!(report.reasons[0].text.contains("add 1 golden samples; so many samples show"), "{report:?}");
    assert_eq!(decide(&GatePolicy::default(), &scored(around(95.0, 4.0, 30))).decision, Decision::Approve);
}

#[test]
fn bounds_mode_approves_a_good_mean_with_a_good_lower_bound() {
    let report = decide(&GatePolicy::default(), &scored(around(86.0, 8.0, 30)));
    assert_eq!(report.decision, Decision::Approve);
    assert_eq!(codes(&report), ["mean_reaches_approve", "lower_bound_reaches_guard"]);
    assert!(report.lower_bound.unwrap() > 80.0 && report.upper_bound.unwrap() < 92.0, "{report:?}");
}

#[test]
fn bounds_mode_rejects_only_when_even_the_upper_bound_is_below_review() {
    let report = decide(&GatePolicy::default(), &scored(around(60.0, 5.0, 30)));
    assert_eq!((report.decision, codes(&report)), (Decision::Reject, vec!["upper_bound_below_review"]));
    // A mean of 69 is below 70 too, but the evidence does not exclude 70.
    let report = decide(&GatePolicy::default(), &scored(around(69.0, 15.0, 30)));
    assert_eq!(report.decision, Decision::Review);
}

#[test]
fn bounds_mode_lists_every_doubt() {
    let input = uncalibrated(beside_champion(around(78.0, 15.0, 30), -2.0));
    let report = decide(&GatePolicy::default(), &input);
    assert_eq!(report.decision, Decision::Review);
    let expected =
        ["mean_below_approve", "lower_bound_below_guard", "maybe_worse_than_champion", "judge_uncalibrated"];
    assert_eq!(codes(&report), expected);
}

#[test]
fn an_uncalibrated_judge_can_at_best_produce_review() {
    let report = decide(&GatePolicy::default(), &uncalibrated(scored(around(99.0, 1.0, 60))));
    assert_eq!((report.decision, codes(&report)), (Decision::Review, vec!["judge_uncalibrated"]));
}

#[test]
fn a_judge_that_gives_every_sample_the_same_score_cannot_approve() {
    let report = decide(&GatePolicy::default(), &scored(vec![90.0; 30]));
    assert_eq!((report.decision, codes(&report)), (Decision::Review, vec!["no_spread"]));
}

#[test]
fn a_version_is_compared_with_the_champion_by_its_margin() {
    let table = [
        (5.0, Decision::Approve, "not_worse_than_champion"),
        (-1.0, Decision::Approve, "not_worse_than_champion"),
        (-2.0, Decision::Review, "maybe_worse_than_champion"),
        (-6.0, Decision::Reject, "worse_than_champion"),
    ];
    for (difference, decision, code) in table {
        let report = decide(&GatePolicy::default(), &beside_champion(around(90.0, 4.0, 40), difference));
        assert_eq!(report.decision, decision, "difference {difference}: {report:?}");
        assert!(codes(&report).contains(&code), "difference {difference}: {report:?}");
        let delta = report.champion_delta.unwrap();
        assert!((delta.mean - difference).abs() < 1e-9 && delta.lower_bound < delta.mean, "{delta:?}");
    }
}

#[test]
fn a_champion_that_was_hardly_scored_leaves_the_decision_to_a_human() {
    let mut input = beside_champion(around(95.0, 2.0, 40), 5.0);
    for sample in &mut input.samples[29..] {
        sample.champion = None;
    }
    let report = decide(&GatePolicy::default(), &input);
    assert_eq!((report.decision, codes(&report)), (Decision::Review, vec!["champion_not_comparable"]));
    let input = changed(input, |_, sample| sample.champion = None);
    let report = decide(&GatePolicy::default(), &input);
    assert_eq!((report.decision, codes(&report)), (Decision::Review, vec!["champion_not_comparable"]));
    assert_eq!(report.champion_delta, None);
}

#[test]
fn another_threshold_moves_the_guard_along() {
    let strict = GatePolicy::default().with_approve_at(90.0);
    assert_eq!((strict.approve_at, strict.approve_lower_bound), (90.0, 85.0));
    assert_eq!(strict.problems(), Vec::<String>::new());
    let input = scored(around(88.0, 4.0, 30));
    assert_eq!(decide(&GatePolicy::default(), &input).decision, Decision::Approve);
    assert_eq!(decide(&strict, &input).decision, Decision::Review);
}

#[test]
fn every_problem_of_a_policy_is_reported() {
    assert_eq!(GatePolicy::default().problems(), Vec::<String>::new());
    let policy = GatePolicy {
        approve_at: 60.0,
        review_at: 70.0,
        pass_at: 101.0,
        champion_margin: -1.0,
        min_samples: 1,
        max_unscored_share: f64::NAN,
        max_hard_failure_share: 0.5,
        max_flip_rate: 1.5,
        min_stratum_samples: 1,
        ..GatePolicy::default()
    };
    let problems = policy.problems();
    let fields = [
        "pass_at",
        "review_at",
        "approve_lower_bound",
        "champion_margin",
        "min_samples",
        "max_unscored",
        "max_flip_rate",
        "max_hard_failure_share",
        "min_stratum_samples",
    ];
    assert_eq!(problems.len(), fields.len(), "{problems:?}");
    for (problem, field) in problems.iter().zip(fields) {
        assert!(problem.starts_with(field), "{problem}");
    }
}

fn in_clusters(input: GateInput, clusters: usize) -> GateInput {
    changed(input, |index, sample| sample.cluster = Some(format!("statute {}", index % clusters)))
}

#[test]
fn point_mode_looks_at_nothing_but_the_mean() {
    let input = GateInput {
        canaries: 3,
        canaries_failed: 3,
        flip_rate: Some(1.0),
        evaluations: 99,
        ..uncalibrated(beside_champion(vec![85.0; 3], -40.0))
    };
    let input = changed(input, |_, sample| {
        sample.hard_failures = vec!["empty".to_owned()];
        sample.is_injection = true;
    });
    let report = decide(&point(), &in_clusters(input, 1));
    assert_eq!((report.decision, codes(&report)), (Decision::Approve, vec!["mean_reaches_approve"]));
}

#[test]
fn samples_of_one_cluster_that_are_alike_count_as_one() {
    // Sixty answers about six statutes, alike within a statute.
    let scores =
        (0..60).map(|index| 84.0 + 3.0 * f64::from(index % 6) + 0.1 * f64::from(index / 6)).collect();
    let alone = scored(scores);
    assert_eq!(decide(&GatePolicy::default(), &alone).decision, Decision::Approve);
    let report = decide(&GatePolicy::default(), &in_clusters(alone, 6));
    assert_eq!((report.decision, codes(&report)), (Decision::Inconclusive, vec!["too_few_samples"]));
    assert!(report.evidence.effective_samples.unwrap() < 6.5, "{report:?}");
    assert!(
        report.reasons[0].text.contains("60 scored samples in 6 clusters say as much as 6."),
        "{report:?}"
    );
    // One statute has no bounds at all.
    let one = in_clusters(scored(around(90.0, 4.0, 60)), 1);
    assert_eq!(decide(&GatePolicy::default(), &one).decision, Decision::Inconclusive);
}

#[test]
fn clusters_without_likeness_cost_nothing() {
    let input = in_clusters(scored(around(90.0, 4.0, 60)), 15);
    let report = decide(&GatePolicy::default(), &input);
    assert_eq!(report.decision, Decision::Approve);
    assert!((report.evidence.effective_samples.unwrap() - 60.0).abs() < 1e-9, "{report:?}");
    assert_eq!(report.evidence.clusters, 15);
}

#[test]
fn a_judge_that_falls_for_a_canary_is_an_error_and_no_verdict() {
    let input = GateInput { canaries: 4, canaries_failed: 1, ..scored(around(99.0, 1.0, 60)) };
    let report = decide(&GatePolicy::default(), &input);
    assert_eq!((report.decision, codes(&report)), (Decision::Error, vec!["canary_failed"]));
}

#[test]
fn one_weak_difficulty_stands_against_an_approval() {
    let weak = |samples: u32| {
        let input = scored(around(97.0, 1.0, 60));
        changed(input, |index, sample| {
            if index < samples as usize {
                sample.difficulty = Difficulty::Hard;
                sample.score -= 40.0;
            }
        })
    };
    let report = decide(&GatePolicy::default(), &weak(8));
    assert_eq!((report.decision, codes(&report)), (Decision::Review, vec!["stratum_below_review"]));
    assert!(report.reasons[0].text.starts_with("the 8 hard samples have the mean 57.00"), "{report:?}");
    let levels: Vec<_> =
        report.evidence.strata.iter().map(|level| (level.difficulty, level.samples)).collect();
    assert_eq!(levels, [(Difficulty::Medium, 52), (Difficulty::Hard, 8)]);
    // Seven samples are too few to say so.
    assert_eq!(decide(&GatePolicy::default(), &weak(7)).decision, Decision::Approve);
}

#[test]
fn hard_failures_are_reviewed_and_many_of_them_rejected() {
    let failing = |failures: usize| {
        changed(scored(around(95.0, 2.0, 40)), |index, sample| {
            if index < failures {
                sample.hard_failures = vec!["citation_missing".to_owned(), "empty".to_owned()];
            }
        })
    };
    let table = [
        (0, Decision::Approve, "mean_reaches_approve"),
        (1, Decision::Review, "hard_failures"),
        (4, Decision::Review, "hard_failures"),
        (5, Decision::Reject, "too_many_hard_failures"),
        (40, Decision::Reject, "too_many_hard_failures"),
    ];
    for (failures, decision, code) in table {
        let report = decide(&GatePolicy::default(), &failing(failures));
        assert_eq!((report.decision, codes(&report)[0]), (decision, code), "{failures}: {report:?}");
    }
    let report = decide(&GatePolicy::default(), &failing(7));
    let expected = "7 of 40 answers (17.5 %) fail a hard check (citation_missing, empty), at most 10.0 % may: \
                    s0, s1, s2, s3, s4 and 2 more";
    assert_eq!(report.reasons[0].text, expected);
    let lenient = GatePolicy { max_hard_failure_share: 0.1, ..GatePolicy::default() };
    assert_eq!(decide(&lenient, &failing(4)).decision, Decision::Approve);
}

#[test]
fn text_that_speaks_to_the_judge_is_reviewed() {
    let input = changed(scored(around(95.0, 2.0, 40)), |index, sample| sample.is_injection = index == 7);
    let report = decide(&GatePolicy::default(), &input);
    assert_eq!((report.decision, codes(&report)), (Decision::Review, vec!["injection_flagged"]));
    assert!(report.reasons[0].text.ends_with("speaks to the judge: s7"), "{report:?}");
}

#[test]
fn a_judge_that_goes_by_the_order_is_reviewed() {
    let flips = |rate| GateInput { flip_rate: Some(rate), ..scored(around(95.0, 2.0, 40)) };
    assert_eq!(decide(&GatePolicy::default(), &flips(0.3)).decision, Decision::Approve);
    let report = decide(&GatePolicy::default(), &flips(0.31));
    assert_eq!((report.decision, codes(&report)), (Decision::Review, vec!["judge_flips"]));
}

#[test]
fn trying_until_it_passes_is_seen() {
    let tried = |evaluations| GateInput { evaluations, ..scored(around(95.0, 2.0, 40)) };
    assert_eq!(decide(&GatePolicy::default(), &tried(4)).decision, Decision::Approve);
    let report = decide(&GatePolicy::default(), &tried(5));
    assert_eq!((report.decision, codes(&report)), (Decision::Review, vec!["many_evaluations"]));
    assert_eq!(report.evidence.evaluations, 5);
}

#[test]
fn a_stale_judge_is_told_from_one_that_was_never_calibrated() {
    let standing = JudgeStanding::stale("the rubric changed from 1 to 2".to_owned());
    let report = decide(&GatePolicy::default(), &GateInput { standing, ..scored(around(95.0, 2.0, 40)) });
    assert_eq!((report.decision, codes(&report)), (Decision::Review, vec!["judge_stale"]));
    assert_eq!(report.reasons[0].text, "the rubric changed from 1 to 2; so a human decides");
}

#[test]
fn strict_mode_wants_the_lower_bound_itself_at_the_threshold() {
    let strict = GatePolicy { strict: true, ..GatePolicy::default() };
    let input = scored(around(86.0, 8.0, 30));
    assert_eq!(decide(&GatePolicy::default(), &input).decision, Decision::Approve);
    let report = decide(&strict, &input);
    assert_eq!((report.decision, codes(&report)), (Decision::Review, vec!["lower_bound_below_guard"]));
    assert!(report.reasons[0].text.contains("below the guard 85.00"), "{report:?}");
    assert_eq!(decide(&strict, &scored(around(89.0, 8.0, 30))).decision, Decision::Approve);
}

#[test]
fn random_evaluations_keep_the_rules() {
    const SEED: u64 = 99;
    let mut random = SplitMix64::new(SEED);
    for round in 0..200 {
        let centre = 60.0 + 40.0 * random.unit();
        let count = 20 + random.below(40);
        let scores: Vec<f64> =
            (0..count).map(|_| (centre + 30.0 * (random.unit() - 0.5)).min(100.0)).collect();
        let input = GateInput { unscored: u32::try_from(random.below(4)).unwrap(), ..scored(scores) };
        let policy = GatePolicy::default();
        let report = decide(&policy, &input);
        let context = format!("seed {SEED}, round {round}: {report:?}");
        assert_eq!(report, decide(&policy, &input), "{context}");
        assert!(!report.reasons.is_empty(), "{context}");
        let (lower, mean, upper) =
            (report.lower_bound.unwrap(), report.mean.unwrap(), report.upper_bound.unwrap());
        assert!(0.0 <= lower && lower <= mean && mean <= upper && upper <= 100.0, "{context}");
        if report.decision == Decision::Approve {
            assert!(mean >= 85.0 && lower >= 80.0 && report.scored >= 30, "{context}");
        }
        // Better answers never turn an approval into something worse.
        let better = changed(input, |_, sample| sample.score = sample.score.midpoint(100.0));
        if report.decision == Decision::Approve {
            assert_eq!(decide(&policy, &better).decision, Decision::Approve, "{context}");
        }
    }
}

#[test]
fn every_reason_code_is_documented() {
    let documentation = include_str!("../../../docs/gate.md");
    for code in ReasonCode::ALL {
        let row = format!("| `{code}` |");
        assert!(documentation.contains(&row), "docs/gate.md has no row that starts with {row}");
    }
    let rows = documentation.lines().filter(|line| line.starts_with("| `") && line.matches('|').count() == 4);
    assert_eq!(rows.count(), ReasonCode::ALL.len(), "docs/gate.md lists a reason that does not exist");
}
