//! `clara eval compare`: a version beside a baseline, with the significance of their difference.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use clara_lifecycle::{
    comparison::{Comparison, ComparisonOptions, ComparisonVerdict, SampleChange},
    counted::counted,
    gate::GatePolicy,
    time::Timestamp,
};
use clara_runtime::clock::{Clock as _, SystemClock};
use serde::Serialize;

use super::find_or_read;
use crate::{
    commands::{DONE, INCONCLUSIVE, REJECTED},
    figures,
    output::Output,
    report::{Case, Outcome, Report, ReportFiles},
    session::Session,
};

/// Changes that are shown on each side.
const SHOWN: usize = 10;

/// What is compared, and how.
#[derive(Debug, Clone, Args)]
pub(crate) struct CompareArgs {
    /// The version under test: an adapter version, a job or an evaluation file
    candidate: String,
    /// What it is compared with: an adapter version, a job or an evaluation file
    baseline: String,
    /// How many points (0 to 100) worse it may be
    #[arg(long, value_name = "POINTS", default_value_t = GatePolicy::default().champion_margin, allow_negative_numbers = true)]
    margin: f64,
    /// Seed of the resampling
    #[arg(long, default_value_t = GatePolicy::default().seed, allow_negative_numbers = true)]
    seed: u64,
    /// Compare although golden dataset or judge differ
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    report: ReportFiles,
}

#[derive(Debug, Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    comparison: &'a Comparison,
    /// Since the baseline was evaluated.
    baseline_age_seconds: Option<u64>,
}

pub(super) async fn run(session: &Session, args: &CompareArgs) -> Result<u8> {
    args.report.check()?;
    let candidate = find_or_read(session, &args.candidate).await?.evaluation;
    let baseline = find_or_read(session, &args.baseline).await?.evaluation;
    let options = ComparisonOptions { margin: args.margin, seed: args.seed, force: args.force };
    let comparison = Comparison::of(&candidate, &baseline, options)?;
    let age = age_of(&comparison.baseline.evaluated_at, SystemClock.now());
    args.report.write(&report(&comparison, age))?;
    if session.output.is_json() {
        let baseline_age_seconds = age.map(|age| age.as_secs());
        session.output.json(&Document { comparison: &comparison, baseline_age_seconds })?;
    } else {
        print(session.output, &comparison, age)?;
    }
    Ok(match comparison.verdict {
        ComparisonVerdict::Better | ComparisonVerdict::NotWorse => DONE,
        ComparisonVerdict::Worse => REJECTED,
        ComparisonVerdict::Inconclusive => INCONCLUSIVE,
    })
}

fn age_of(evaluated_at: &str, now: Timestamp) -> Option<Duration> {
    let at = evaluated_at.parse::<jiff::Timestamp>().ok()?.as_millisecond();
    Some(now.since(Timestamp(at)))
}

fn print(output: Output, comparison: &Comparison, age: Option<Duration>) -> Result<()> {
    let facts = facts(comparison, age);
    let fields: Vec<_> = facts.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    output.fields(&fields)?;
    for (title, changes) in
        [("regressions", &comparison.regressions), ("improvements", &comparison.improvements)]
    {
        output.line("")?;
        output.line(format!("{title}: {}", changes.len()))?;
        if changes.is_empty() {
            continue;
        }
        let row = |change: &SampleChange| {
            let passed = |passed: bool| if passed { "" } else { " failed" };
            [
                change.sample_id.clone(),
                format!("{:.1}{}", change.baseline, passed(change.baseline_passed)),
                format!("{:.1}{}", change.candidate, passed(change.candidate_passed)),
                format!("{:+.1}", change.change),
            ]
        };
        let rows = changes.iter().take(SHOWN).map(row).collect();
        output.table(["sample", "baseline", "candidate", "change"], rows)?;
    }
    Ok(())
}

/// Names and values at the head of what is shown.
fn facts(comparison: &Comparison, age: Option<Duration>) -> Vec<(String, String)> {
    let side = |side: &clara_lifecycle::comparison::Side| {
        format!("{}, score {}", side.adapter_id, figures::number(side.mean, 1))
    };
    let age = age.map_or_else(String::new, |age| format!(", evaluated {} ago", figures::age(age)));
    let mut facts = vec![
        ("verdict", verdict_text(comparison)),
        ("candidate", side(&comparison.candidate)),
        ("baseline", format!("{}{age}", side(&comparison.baseline))),
        ("golden dataset", comparison.baseline.golden_dataset.clone()),
        ("judge", comparison.baseline.judges.join(", ")),
    ];
    if let Some(delta) = &comparison.delta {
        facts.push((
            "difference",
            format!(
                "{:+.2} points (95 % interval {:+.2} to {:+.2}), p = {:.4}",
                delta.mean, delta.lower, delta.upper, delta.p_value
            ),
        ));
        facts.push((
            "effect size",
            format!("{:+.2} (Hedges' g of the paired differences)", delta.effect_size),
        ));
        let smallest = delta.minimum_detectable_effect;
        facts.push(("detectable", format!("a difference of {smallest:.1} points in 80 of 100 cases")));
        let mut pairs = counted(delta.pairs, "pair");
        if delta.clusters < delta.pairs {
            let effective = delta.effective_pairs;
            pairs = format!(
                "{pairs} in {}, as much as {effective:.1} that stand alone",
                counted(delta.clusters, "cluster")
            );
        }
        facts.push(("evidence", pairs));
    }
    let criteria: Vec<_> =
        comparison.criteria.iter().map(|(criterion, change)| format!("{criterion} {change:+.2}")).collect();
    facts.push(("criteria", criteria.join(", ")));
    if !comparison.unpaired.is_empty() {
        facts.push((
            "not paired",
            format!("{}: {}", counted(comparison.unpaired.len(), "sample"), some(&comparison.unpaired)),
        ));
    }
    if !comparison.differences.is_empty() {
        facts.push(("compared by force", comparison.differences.join("\n")));
    }
    facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn verdict_text(comparison: &Comparison) -> String {
    let margin = comparison.margin;
    match comparison.verdict {
        ComparisonVerdict::Better => "better".to_owned(),
        ComparisonVerdict::NotWorse => format!("not worse by more than {margin} points"),
        ComparisonVerdict::Worse => "worse".to_owned(),
        ComparisonVerdict::Inconclusive => {
            "inconclusive: the samples show neither a difference nor its absence".to_owned()
        }
    }
}

fn some(ids: &[String]) -> String {
    let more = if ids.len() > SHOWN { ", …" } else { "" };
    format!("{}{more}", ids.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", "))
}

fn report(comparison: &Comparison, age: Option<Duration>) -> Report {
    let said = verdict_text(comparison);
    let outcome = match comparison.verdict {
        ComparisonVerdict::Better | ComparisonVerdict::NotWorse => Outcome::Passed(said),
        ComparisonVerdict::Worse => Outcome::Failed(said),
        ComparisonVerdict::Inconclusive => Outcome::Broken(said),
    };
    let mut cases = vec![Case { group: "comparison", name: "verdict".to_owned(), outcome }];
    let said = |change: &SampleChange| {
        format!("{:.1} → {:.1} ({:+.1})", change.baseline, change.candidate, change.change)
    };
    cases.extend(comparison.regressions.iter().map(|change| Case {
        group: "sample",
        name: change.sample_id.clone(),
        outcome: Outcome::Failed(said(change)),
    }));
    cases.extend(comparison.improvements.iter().map(|change| Case {
        group: "sample",
        name: change.sample_id.clone(),
        outcome: Outcome::Passed(said(change)),
    }));
    Report {
        title: format!("{} beside {}", comparison.candidate.adapter_id, comparison.baseline.adapter_id),
        facts: facts(comparison, age),
        cases,
    }
}
