//! Tests of counting evaluations.

use std::collections::BTreeMap;

use super::*;
use crate::{
    adapter::{EvaluationRecord, Lineage, NewVersion},
    gate::{GateInput, GatePolicy, GateReport, decide},
    results::{EvaluationResult, TrainingResult},
    samples::{self, artifact, digest, spec},
    spec::Method,
};

fn report(mean: Option<f64>) -> GateReport {
    GateReport { mean, ..decide(&GatePolicy::default(), &GateInput::default()) }
}

/// Two versions that were evaluated with the golden dataset of the digest `golden`.
fn family() -> Family {
    let mut family = Family::new("law".parse().unwrap(), Method::Lora);
    let training = TrainingResult {
        adapter: artifact("adapter"),
        report: artifact("report"),
        base_model: "base".into(),
        base_model_digest: digest("base"),
        validation_loss_before: None,
        validation_loss_after: None,
        training_loss: 1.1,
        steps: 10,
        tokens: 1000,
    };
    for job in ["job-1", "job-2"] {
        let lineage = Lineage {
            job: job.parse().unwrap(),
            adapter: artifact("adapter"),
            training: spec().training,
            dataset: artifact("dataset"),
            source_digest: digest("source"),
            dataset_key: None,
            golden_dataset: "law-golden@1.0.0".into(),
            golden_digest: digest("golden"),
            code_version: "0.1.0".into(),
            report: None,
            sources: Vec::new(),
            query: None,
            train_records: None,
            steps: None,
            submitted_by: None,
        };
        let (created_at, created_by) = ("2026-01-01T00:00:00Z".into(), "x".into());
        let new = NewVersion { training: &training, lineage, version: None, created_at, created_by };
        family.register(new).unwrap();
    }
    family
}

fn judged(prefix: &str) -> EvaluationResult {
    EvaluationResult {
        evaluation: samples::artifact(prefix),
        samples: 20,
        unscored: 0,
        average_score: Some(60.0),
        pass_rate: Some(0.4),
    }
}

#[test]
fn each_new_evaluation_of_one_version_counts_and_a_second_decision_on_it_does_not() {
    let (first, second) = (judged("first"), judged("second"));
    let record = |evaluation, earlier: Option<&EvaluationRecord>, mean| {
        EvaluationRecord::new("2026-01-01T00:00:00Z".into(), &report(mean), None, Some(evaluation), earlier)
    };
    let once = record(&first, None, Some(60.0));
    assert_eq!((once.number, once.number_before(Some(&first.evaluation))), (1, 0));
    let again = record(&first, Some(&once), Some(60.0));
    assert_eq!(again.number, 1, "the gate alone was repeated");
    let twice = record(&second, Some(&again), Some(60.0));
    assert_eq!((twice.number, again.number_before(Some(&second.evaluation))), (2, 1));
    let unscored = record(&judged("third"), Some(&twice), None);
    assert_eq!(unscored.number, 2, "without a mean nothing was tried");
}

#[test]
fn repeats_of_a_version_and_other_versions_are_summed_up() {
    let mut family = family();
    let golden = samples::digest("golden");
    let evaluation = judged("now");
    for version in &mut family.versions {
        version.metrics = BTreeMap::from([(Family::SCORE.to_owned(), 60.0)]);
        let record = EvaluationRecord::new(
            "2026-01-01T00:00:00Z".into(),
            &report(Some(60.0)),
            None,
            Some(&evaluation),
            None,
        );
        version.evaluation = Some(EvaluationRecord { number: 3, ..record });
    }
    let adapter_id = family.versions[0].adapter_id.clone();
    assert_eq!(family.evaluations_with(&golden, None), 6);
    let deciding = |evaluation| Some(Deciding { adapter_id: &adapter_id, evaluation });
    assert_eq!(family.evaluations_with(&golden, deciding(Some(&evaluation.evaluation))), 5);
    let new = judged("new");
    assert_eq!(family.evaluations_with(&golden, deciding(Some(&new.evaluation))), 6);
    assert_eq!(family.evaluations_with(&Digest::of(b"other"), None), 0);
}
