//! Evaluations for people.

use anyhow::{Context, Result};
use clara_lifecycle::{
    answers::SampleAnswers,
    score::{Criterion, SampleScore},
};

use super::Found;
use crate::{
    figures::{self, NONE},
    output::Output,
};

/// How many of the worst samples the summary shows.
const WORST: usize = 5;
const ANSWER_CHARS: usize = 300;

/// Summary, criteria and the worst samples.
pub(crate) fn print_summary(output: Output, found: &Found) -> Result<()> {
    let evaluation = &found.evaluation;
    let summary = &evaluation.summary;
    let calibrated = if evaluation.judge.calibrated { "" } else { ", not compared with human labels" };
    output.fields(&[
        ("adapter", summary.adapter_id.clone()),
        ("golden dataset", summary.golden_dataset_id.clone()),
        ("judge", format!("{}{calibrated}", evaluation.judge.judge_id)),
        ("evaluated", summary.evaluated_at.clone()),
        (
            "score",
            format!(
                "{} (least {}, greatest {})",
                figures::number(summary.average_score, 1),
                figures::number(summary.min_score, 1),
                figures::number(summary.max_score, 1)
            ),
        ),
        ("pass rate", figures::percent(summary.pass_rate.map(|percent| percent / 100.0))),
        (
            "samples",
            format!(
                "{}: {} passed, {} failed, {} unscored",
                summary.total_samples, summary.passed, summary.failed, summary.unscored
            ),
        ),
        (
            "champion",
            evaluation.champion.as_ref().map_or(NONE.to_owned(), |champion| {
                format!("{} scores {}", champion.adapter_id, figures::number(champion.average_score, 1))
            }),
        ),
        ("", String::new()),
    ])?;
    let rows = Criterion::ALL.into_iter().map(|criterion| {
        let mean = summary.criteria_averages.get(&criterion).copied();
        [criterion.to_string(), format!("{:.1}", criterion.weight()), figures::number(mean, 2)]
    });
    output.table(["criterion", "weight", "mean (0 to 10)"], rows.collect())?;
    let mut worst: Vec<_> = evaluation.results.iter().collect();
    worst.sort_by(|a, b| a.overall_score.total_cmp(&b.overall_score));
    for score in worst.into_iter().take(WORST) {
        output.line("")?;
        print_answers(output, found, score, ANSWER_CHARS)?;
    }
    Ok(())
}

/// Every sample that does not pass or has no score.
pub(super) fn print_failed(output: Output, found: &Found) -> Result<()> {
    let evaluation = &found.evaluation;
    let failed: Vec<_> = evaluation.results.iter().filter(|score| !score.passed).collect();
    if output.is_json() {
        return output.json(&serde_json::json!({ "failed": failed, "unscored": evaluation.unscored }));
    }
    for score in failed {
        print_answers(output, found, score, ANSWER_CHARS)?;
        output.line("")?;
    }
    for unscored in &evaluation.unscored {
        output.fields(&[
            ("sample", unscored.sample_id.clone()),
            ("score", format!("none, {}: {}", unscored.reason, unscored.detail)),
            ("", String::new()),
        ])?;
    }
    Ok(())
}

/// One sample whole.
pub(super) fn print_sample(output: Output, found: &Found, sample_id: &str) -> Result<()> {
    let scored = found.evaluation.results.iter().find(|score| score.sample_id == sample_id);
    if let Some(score) = scored {
        if output.is_json() {
            let answers = answers_of(found, sample_id);
            return output.json(&serde_json::json!({ "score": score, "answers": answers }));
        }
        print_answers(output, found, score, usize::MAX)?;
        return Ok(output.fields(&[("judge's reply", figures::plain(&score.judge_reasoning))])?);
    }
    let unscored = found.evaluation.unscored.iter().find(|unscored| unscored.sample_id == sample_id);
    let unscored = unscored.with_context(|| {
        format!(
            "the evaluation has no sample {sample_id}; `clara golden show` lists the samples of its dataset"
        )
    })?;
    if output.is_json() {
        return output.json(unscored);
    }
    Ok(output.fields(&[
        ("sample", unscored.sample_id.clone()),
        ("score", format!("none, {}: {}", unscored.reason, unscored.detail)),
    ])?)
}

fn print_answers(output: Output, found: &Found, score: &SampleScore, chars: usize) -> Result<()> {
    let criteria: Vec<_> =
        score.criteria_scores.iter().map(|(criterion, score)| format!("{criterion} {score:.1}")).collect();
    let text = |text: &str| {
        if chars == usize::MAX { figures::plain(text) } else { figures::excerpt(text, chars) }
    };
    let verdict = if score.passed { "passed" } else { "failed" };
    let mut fields = vec![
        ("sample", score.sample_id.clone()),
        ("score", format!("{:.1} {verdict} ({})", score.overall_score, criteria.join(", "))),
        ("prompt", text(&score.prompt)),
        ("expected", text(&score.expected_output)),
        ("answer", text(&score.adapter_output)),
    ];
    if let Some(answers) = answers_of(found, &score.sample_id) {
        if let Some(champion) = &answers.champion {
            fields.push(("champion", text(&champion.text)));
        }
        fields.push(("base model", text(&answers.base.text)));
    }
    Ok(output.fields(&fields)?)
}

fn answers_of<'a>(found: &'a Found, sample_id: &str) -> Option<&'a SampleAnswers> {
    found.answers.as_ref()?.samples.iter().find(|answers| answers.sample_id == sample_id)
}
