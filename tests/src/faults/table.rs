//! The outcome of many trials as a table in Markdown.

use std::{collections::BTreeMap, fmt};

use super::Outcome;

#[derive(Debug, Default)]
struct Row {
    trials: usize,
    jobs: usize,
    seeds: Option<(u64, u64)>,
    lost: usize,
    double_commits: usize,
    other_violations: usize,
    duplicate_executions: u64,
    detect: Vec<f64>,
    resume: Vec<f64>,
    steps_lost: u64,
    dead_letters: u64,
}

impl Row {
    fn add<C>(&mut self, outcome: &Outcome<C>) {
        let (least, most) = self.seeds.unwrap_or((outcome.seed, outcome.seed));
        self.seeds = Some((least.min(outcome.seed), most.max(outcome.seed)));
        self.trials += 1;
        self.jobs += outcome.jobs;
        self.lost += outcome.lost();
        self.double_commits += outcome.double_commits();
        self.other_violations += outcome.other_violations();
        self.duplicate_executions += outcome.cost.duplicate_executions;
        self.detect.extend(&outcome.cost.detect);
        self.resume.extend(&outcome.cost.resume);
        self.steps_lost += outcome.cost.steps_lost;
        self.dead_letters += outcome.dead_letters;
    }

    fn line(&self, name: &str) -> String {
        let (least, most) = self.seeds.unwrap_or_default();
        format!(
            "| {name} | {} | {least}–{most} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            self.trials,
            self.jobs,
            self.lost,
            self.double_commits,
            self.other_violations,
            self.duplicate_executions,
            percentiles(&self.detect),
            percentiles(&self.resume),
            self.steps_lost,
            self.dead_letters,
        )
    }
}

/// One row for each case and one for all.
pub fn table<C: Ord + Copy + fmt::Display>(outcomes: &[Outcome<C>]) -> String {
    let mut rows: BTreeMap<C, Row> = BTreeMap::new();
    let mut all = Row::default();
    for outcome in outcomes {
        rows.entry(outcome.case).or_default().add(outcome);
        all.add(outcome);
    }
    let mut lines = vec![
        "| case | trials | seeds | jobs | lost | double commits | other violations | duplicate executions \
         | detect p50 / p99, s | resume p50 / p99, s | steps lost | tasks set aside |"
            .to_owned(),
        "|---|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|".to_owned(),
    ];
    lines.extend(rows.iter().map(|(case, row)| row.line(&case.to_string())));
    lines.push(all.line("**all**"));
    lines.join("\n")
}

fn percentiles(seconds: &[f64]) -> String {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |percent: usize| {
        let rank = (sorted.len() * percent).div_ceil(100).max(1) - 1;
        sorted.get(rank).copied()
    };
    match (at(50), at(99)) {
        (Some(median), Some(most)) => format!("{median:.1} / {most:.1}"),
        _ => "–".to_owned(),
    }
}
