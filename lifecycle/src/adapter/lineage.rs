//! Where a version comes from and where it went, step by step: data, configuration, training, adapter, evaluation,
//! approval, rollout.

use serde::{Deserialize, Serialize};

use super::AdapterVersion;
use crate::{job::Verdict, score::JudgeIdentity};

/// One step of a version's way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineageStep {
    /// `data`, `configuration`, `training`, `adapter`, `evaluation`, `approval` or `rollout`.
    pub step: String,
    /// What is known about it, in order; empty when nothing is recorded.
    pub facts: Vec<LineageFact>,
}

/// One thing that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineageFact {
    /// What it is.
    pub name: String,
    /// What it says.
    pub value: String,
}

/// The steps of a version, oldest first, from its record and the judge's identity where the evaluation could be read.
pub fn lineage_steps(version: &AdapterVersion, judge: Option<&JudgeIdentity>) -> Vec<LineageStep> {
    vec![
        step("data", data(version)),
        step("configuration", configuration(version)),
        step("training", training(version)),
        step("adapter", adapter(version)),
        step("evaluation", evaluation(version, judge)),
        step("approval", approval(version)),
        step("rollout", rollout(version)),
    ]
}

type Facts = Vec<(&'static str, String)>;

fn step(step: &str, facts: Facts) -> LineageStep {
    let fact = |(name, value): (&str, String)| LineageFact { name: name.to_owned(), value };
    LineageStep { step: step.to_owned(), facts: facts.into_iter().map(fact).collect() }
}

fn data(version: &AdapterVersion) -> Facts {
    let Some(lineage) = &version.lineage else { return Facts::new() };
    let mut facts: Facts = lineage.sources.iter().map(|source| ("source", source.clone())).collect();
    facts.push(("source digest", lineage.source_digest.to_string()));
    facts.extend(lineage.query.iter().map(|query| ("query", query.clone())));
    facts.extend(lineage.train_records.map(|records| ("training records", records.to_string())));
    facts.push(("dataset", lineage.dataset.digest().to_string()));
    facts.extend(lineage.dataset_key.iter().map(|key| ("dataset key", key.to_string())));
    facts.extend(
        lineage
            .dataset
            .file("card.md")
            .map(|card| ("dataset card", format!("{}/{}", lineage.dataset.prefix, card.path))),
    );
    let file =
        |file: &crate::artifact::ArtifactFile| ("dataset file", format!("{} {}", file.path, file.digest));
    facts.extend(lineage.dataset.files.iter().map(file));
    facts
}

fn configuration(version: &AdapterVersion) -> Facts {
    let mut facts = vec![
        ("base model", version.base_model.clone()),
        ("base model digest", version.base_model_hash.clone()),
        ("method", format!("{}, rank {}", version.method, version.rank)),
    ];
    if let Some(lineage) = &version.lineage {
        let training = &lineage.training;
        facts.extend([("alpha", training.alpha.to_string()), ("seed", training.seed.to_string())]);
    }
    facts
}

fn training(version: &AdapterVersion) -> Facts {
    let Some(lineage) = &version.lineage else { return Facts::new() };
    let mut facts = vec![("job", lineage.job.to_string())];
    facts.extend(lineage.submitted_by.iter().map(|person| ("submitted by", person.clone())));
    facts.extend(lineage.steps.map(|steps| ("optimiser steps", steps.to_string())));
    facts.extend(lineage.report.iter().map(|report| ("report", report.prefix.clone())));
    facts.push(("made with", format!("clara {}", lineage.code_version)));
    facts
}

fn adapter(version: &AdapterVersion) -> Facts {
    let mut facts = vec![
        ("version", version.adapter_id.clone()),
        ("status", version.status.to_string()),
        ("registered", version.created_at.clone()),
        ("checksum", version.adapter_checksum.clone()),
        ("signature", if version.signature.is_some() { "yes" } else { "none" }.to_owned()),
    ];
    facts.extend(version.files_removed_at.iter().map(|at| ("files removed", at.clone())));
    facts
}

fn evaluation(version: &AdapterVersion, judge: Option<&JudgeIdentity>) -> Facts {
    let mut facts = Facts::new();
    if let Some(lineage) = &version.lineage {
        facts.push(("golden dataset", lineage.golden_dataset.clone()));
        facts.push(("golden digest", lineage.golden_digest.to_string()));
    }
    if let Some(judge) = judge {
        facts.push(("judge", judge.judge_id.clone()));
        facts.push(("rubric", format!("{} {}", judge.rubric_version, judge.rubric_digest)));
    }
    let Some(record) = &version.evaluation else { return facts };
    facts.push(("decided", record.at.clone()));
    let report = &record.report;
    if let Some(mean) = report.mean {
        let bounds = report.lower_bound.zip(report.upper_bound);
        let bounds = bounds.map(|(lower, upper)| format!(" ({lower:.1} to {upper:.1})")).unwrap_or_default();
        facts.push(("score", format!("{mean:.1}{bounds}, {} samples", report.scored)));
    }
    facts.push(("gate", report.decision.to_string()));
    facts.extend(report.reasons.iter().map(|reason| ("reason", format!("{}: {}", reason.code, reason.text))));
    facts.extend(record.evaluation.iter().map(|artifact| ("evaluation", artifact.prefix.clone())));
    facts
}

fn approval(version: &AdapterVersion) -> Facts {
    let mut facts = Facts::new();
    for review in &version.reviews {
        let said = match review.verdict {
            Verdict::Approve => "approved",
            Verdict::Reject => "rejected",
        };
        facts.push((said, format!("{} by {}: {}", review.at, review.actor, review.reason)));
    }
    if let (true, Some(by), Some(at)) = (facts.is_empty(), &version.approved_by, &version.approved_at) {
        facts.push(("approved", format!("{at} by {by}")));
    }
    if let Some(deprecation) = &version.deprecation {
        let why = format!("{} by {}: {}", deprecation.at, deprecation.actor, deprecation.reason);
        facts.push(("deprecated", why));
    }
    facts
}

fn rollout(version: &AdapterVersion) -> Facts {
    let mut facts = Facts::new();
    for rollout in &version.rollouts {
        let replaced = rollout.replaced.as_ref().map(|id| format!(", replaces {id}")).unwrap_or_default();
        let targets = if rollout.targets.is_empty() {
            String::new()
        } else {
            format!(", to {}", rollout.targets.join(", "))
        };
        facts.push(("champion", format!("{} by {}{replaced}{targets}", rollout.at, rollout.actor)));
    }
    facts
}
