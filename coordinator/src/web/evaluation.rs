//! An evaluation, sample by sample; what models wrote is text and nothing else.

use std::collections::BTreeMap;

use clara_lifecycle::score::{AnswerDetails, ChampionScore, Evaluation, SampleScore, Unscored};
use maud::{Markup, html};

use super::page::{badge, score_bar};
use crate::figures;

/// All samples, the worst first, each in a fold.
pub(super) fn show(evaluation: &Evaluation) -> Markup {
    let summary = &evaluation.summary;
    let mut results: Vec<&SampleScore> = evaluation.results.iter().collect();
    results.sort_by(|one, other| one.overall_score.total_cmp(&other.overall_score));
    let champion: BTreeMap<&str, &ChampionScore> = evaluation
        .champion
        .iter()
        .flat_map(|champion| &champion.results)
        .map(|score| (score.sample_id.as_str(), score))
        .collect();
    html! {
        section.card.samples #evaluation {
            h2 { "Evaluation" }
            p.faint {
                "with " a href={ "/golden/" (summary.golden_dataset_id) } { (summary.golden_dataset_id) }
                " by " (evaluation.judge.model) @if !evaluation.judge.calibrated { " (not calibrated)" }
                ": " (summary.passed) " of " (summary.scored) " pass, " (summary.unscored) " unscored"
            }
            @for warning in &evaluation.health.warnings { p.notice { (warning) } }
            table { tbody { tr { @for (criterion, mean) in &summary.criteria_averages { td { span.faint { (criterion) } br; b { (format!("{mean:.1}")) } } } } } }
            @for unscored in &evaluation.unscored { (without_score(unscored)) }
            @for result in results { (sample(result, champion.get(result.sample_id.as_str()).copied())) }
        }
    }
}

fn without_score(unscored: &Unscored) -> Markup {
    html! {
        details {
            summary { (badge("unscored")) " " (unscored.sample_id) " " span.faint { (unscored.reason) } }
            div.text { (unscored.detail) }
        }
    }
}

fn sample(result: &SampleScore, champion: Option<&ChampionScore>) -> Markup {
    html! {
        details id={ "sample-" (result.sample_id) } {
            summary {
                (badge(if result.passed { "passed" } else { "failed" }))
                (score_bar(Some(result.overall_score), None))
                code { (result.sample_id) }
                span.faint { (figures::excerpt(&result.prompt, 90)) }
            }
            p.text { (result.prompt) }
            div.side {
                (answer("Expected", &result.expected_output))
                @if let Some(champion) = champion {
                    (answer(&format!("Champion, {:.1}", champion.overall_score), &champion.adapter_output))
                }
                (answer(&format!("Candidate, {:.1}", result.overall_score), &result.adapter_output))
            }
            p { @for (criterion, score) in result.criteria_scores.iter() { span.faint { (criterion) } " " b { (format!("{score:.1}")) } " · " } (result.difficulty) }
            (details(&result.details))
            details { summary { "What the judge said" } div.text { (result.judge_reasoning) } }
        }
    }
}

fn answer(title: &str, words: &str) -> Markup {
    html! { div { h3 { (title) } div.text { (words) } } }
}

fn details(details: &AnswerDetails) -> Markup {
    html! {
        @for finding in &details.checks {
            p { (badge(if finding.is_hard { "failed" } else { "warn" })) " " code { (finding.code) } " " (finding.text) }
        }
        @if !details.flags.is_empty() {
            p { @for flag in &details.flags { (badge(&format!("{flag:?}").to_lowercase())) " " } }
        }
    }
}
