//! The model card of a version: Markdown with the front matter that Hugging Face reads, written from the record alone.

use std::fmt::Write as _;

use super::{AdapterVersion, EvaluationRecord, Lineage};
use crate::{
    job::Verdict,
    markdown::{cell, code},
    score::JudgeIdentity,
};

/// What a card tells beside the record.
#[derive(Debug, Clone, Copy, Default)]
pub struct CardContext<'a> {
    /// Licence of the adapter as Hugging Face names it, e.g. `apache-2.0`; `unknown` when nobody gave one.
    pub licence: Option<&'a str>,
    /// Who judged the answers, from the evaluation.
    pub judge: Option<&'a JudgeIdentity>,
}

/// Writes the card. What the record does not hold is told as missing, never made up.
pub fn model_card(version: &AdapterVersion, context: CardContext<'_>) -> String {
    let mut card = front_matter(version, context);
    let method = match version.method {
        crate::spec::Method::Lora => "LoRA",
        crate::spec::Method::Qlora => "QLoRA",
        crate::spec::Method::Dora => "DoRA",
    };
    push(&mut card, &format!("# {}", version.adapter_id));
    push(
        &mut card,
        &format!(
            "A {method} adapter for the domain `{}` on the base model `{}`. Status: **{}**.",
            version.domain,
            cell(&version.base_model),
            version.status
        ),
    );
    if let Some(deprecation) = &version.deprecation {
        let instead = deprecation.successor.as_deref().map(|id| format!(" Use {id} instead."));
        let (reason, instead) = (cell(&deprecation.reason), instead.unwrap_or_default());
        push(&mut card, &format!("**Deprecated** on {}: {reason}.{instead}", deprecation.at));
    }
    push(&mut card, &method_section(version));
    push(&mut card, &data_section(version.lineage.as_ref()));
    push(&mut card, &evaluation_section(version, context.judge));
    push(&mut card, &decision_section(version));
    push(&mut card, &limits_section(version));
    push(&mut card, &files_section(version));
    card.truncate(card.trim_end().len());
    card.push('\n');
    card
}

fn push(card: &mut String, section: &str) {
    card.push_str(section.trim_end());
    card.push_str("\n\n");
}

fn front_matter(version: &AdapterVersion, context: CardContext<'_>) -> String {
    let mut lines = vec![
        "---".to_owned(),
        format!("base_model: {}", quoted(&version.base_model)),
        "library_name: peft".to_owned(),
        format!("license: {}", quoted(context.licence.unwrap_or("unknown"))),
        "pipeline_tag: text-generation".to_owned(),
        format!("tags: [clara, {}, {}]", quoted(version.method.as_str()), quoted(version.domain.as_str())),
    ];
    let report = version.evaluation.as_ref().map(|evaluation| &evaluation.report);
    if let (Some(lineage), Some(mean)) = (&version.lineage, report.and_then(|report| report.mean)) {
        lines.extend([
            "model-index:".to_owned(),
            format!("  - name: {}", quoted(&version.adapter_id)),
            "    results:".to_owned(),
            "      - task: { type: text-generation }".to_owned(),
            format!("        dataset: {{ name: {0}, type: {0} }}", quoted(&lineage.golden_dataset)),
            "        metrics:".to_owned(),
            format!(
                "          - {{ type: llm_judge_score, value: {mean:.2}, name: \"judge score (0-100)\" }}"
            ),
        ]);
    }
    lines.push("---\n\n".to_owned());
    lines.join("\n")
}

fn method_section(version: &AdapterVersion) -> String {
    let mut rows = vec![("method", version.method.to_string()), ("rank", version.rank.to_string())];
    if let Some(lineage) = &version.lineage {
        let training = &lineage.training;
        rows.extend([
            ("alpha", training.alpha.to_string()),
            ("seed", training.seed.to_string()),
            ("optimiser steps", lineage.steps.map_or_else(missing, |steps| steps.to_string())),
            ("made with", format!("clara {}", lineage.code_version)),
        ]);
    }
    rows.push(("base model digest", code(&version.base_model_hash)));
    for (name, value) in &version.metrics {
        if name.contains("loss") {
            rows.push((name, format!("{value:.4}")));
        }
    }
    format!(
        "## Training\n\n{}",
        table(["", ""], rows.into_iter().map(|(name, value)| [name.to_owned(), value]))
    )
}

fn data_section(lineage: Option<&Lineage>) -> String {
    let Some(lineage) = lineage else {
        return "## Data\n\nUnknown: the version was imported from a registry that did not record it."
            .to_owned();
    };
    let sources: Vec<String> = lineage.sources.iter().map(|source| code(source)).collect();
    let mut rows = vec![
        ("sources", if sources.is_empty() { missing() } else { sources.join(", ") }),
        ("source digest", code(lineage.source_digest.as_str())),
        ("query", lineage.query.as_deref().map_or_else(|| "none, all documents".to_owned(), code)),
        ("training records", lineage.train_records.map_or_else(missing, |records| records.to_string())),
        ("dataset digest", code(lineage.dataset.digest().as_str())),
    ];
    rows.extend(lineage.dataset_key.iter().map(|key| ("dataset key", code(key.as_str()))));
    let rows = rows.into_iter().map(|(name, value)| [name.to_owned(), value]);
    let mut section = format!("## Data\n\n{}", table(["", ""], rows));
    section.push_str(
        "\nSamples of the golden dataset were looked for in the training data and removed; the dataset's \
                      `manifest.json` says how many.\n",
    );
    section
}

fn evaluation_section(version: &AdapterVersion, judge: Option<&JudgeIdentity>) -> String {
    let Some(EvaluationRecord { report, candidate_nll, .. }) = &version.evaluation else {
        return "## Evaluation\n\nNone is recorded.".to_owned();
    };
    let bounds = |lower: Option<f64>, upper: Option<f64>| match (lower, upper) {
        (Some(lower), Some(upper)) => format!("{lower:.1} to {upper:.1}"),
        _ => "not computed".to_owned(),
    };
    let number = |value: Option<f64>| value.map_or_else(missing, |value| format!("{value:.1}"));
    let mut rows = vec![
        [
            "judge score (0–100)".to_owned(),
            number(report.mean),
            bounds(report.lower_bound, report.upper_bound),
        ],
        ["samples that pass".to_owned(), report.pass_rate.map_or_else(missing, percent), String::new()],
        [
            "samples scored".to_owned(),
            report.scored.to_string(),
            format!("{} without a score", report.unscored),
        ],
    ];
    if let Some(delta) = &report.champion_delta {
        let range = bounds(Some(delta.lower_bound), Some(delta.upper_bound));
        rows.push(["difference to the champion".to_owned(), format!("{:+.1}", delta.mean), range]);
    }
    if let Some(nll) = candidate_nll {
        let name = "negative log-likelihood of the expected outputs".to_owned();
        rows.push([name, format!("{nll:.3}"), "nats per token".to_owned()]);
    }
    let mut section = "## Evaluation\n\n".to_owned();
    if let Some(lineage) = &version.lineage {
        let (golden, digest) = (cell(&lineage.golden_dataset), &lineage.golden_digest);
        let _ = writeln!(section, "Golden dataset `{golden}`, digest `{digest}`.\n");
    }
    if let Some(judge) = judge {
        let (model, rubric) = (cell(&judge.model), cell(&judge.rubric_version));
        let compared = if judge.calibrated { "compared" } else { "**not** compared" };
        let _ = writeln!(section, "Judge `{model}`, rubric `{rubric}`, {compared} with human labels.\n");
    }
    section.push_str(&table3(["metric", "value", "one-sided 95 % bounds"], rows));
    section
}

fn decision_section(version: &AdapterVersion) -> String {
    let mut section = "## Decision\n\n".to_owned();
    if let Some(EvaluationRecord { report, at, .. }) = &version.evaluation {
        let _ = writeln!(section, "- gate, {at}: **{}** (mode {})", report.decision, report.mode);
        for reason in &report.reasons {
            let _ = writeln!(section, "  - `{}`: {}", cell(&reason.code), cell(&reason.text));
        }
    }
    for review in &version.reviews {
        let verdict = match review.verdict {
            Verdict::Approve => "approved",
            Verdict::Reject => "rejected",
        };
        let (actor, reason) = (cell(&review.actor), cell(&review.reason));
        let _ = writeln!(section, "- {actor}, {}: **{verdict}**: {reason}", review.at);
    }
    if version.evaluation.is_none() && version.reviews.is_empty() {
        section.push_str("None is recorded.\n");
    }
    section
}

fn limits_section(version: &AdapterVersion) -> String {
    let scored = version.evaluation.as_ref().map(|evaluation| evaluation.report.scored);
    let basis = scored.map_or_else(
        || "It was not evaluated.".to_owned(),
        |scored| {
            format!(
                "The scores rest on {scored} samples of one golden dataset and say nothing about other tasks."
            )
        },
    );
    format!(
        "## Limits\n\n- Trained for the domain `{}` alone.\n- {basis}\n- Answers can be wrong or out of date; they are no \
         legal or professional advice.\n- It fits the base model with the digest above and no other.",
        version.domain
    )
}

fn files_section(version: &AdapterVersion) -> String {
    let Some(lineage) = &version.lineage else { return String::new() };
    let rows = lineage.adapter.files.iter().map(|file| [code(&file.path), code(file.digest.as_str())]);
    let signed = match &version.signature {
        Some(_) => {
            "Signed: `model_signing verify key . --signature model.sig --public_key KEY` checks all of them."
        }
        None => "Not signed.",
    };
    format!("## Files\n\n{}\n{signed}", table(["file", "SHA-256"], rows))
}

fn table(header: [&str; 2], rows: impl IntoIterator<Item = [String; 2]>) -> String {
    let mut table = format!("| {} |\n|---|---|\n", header.join(" | "));
    for row in rows {
        let _ = writeln!(table, "| {} |", row.join(" | "));
    }
    table
}

fn table3(header: [&str; 3], rows: Vec<[String; 3]>) -> String {
    let mut table = format!("| {} |\n|---|---|---|\n", header.join(" | "));
    for row in rows {
        let _ = writeln!(table, "| {} |", row.join(" | "));
    }
    table
}

fn missing() -> String {
    "not recorded".to_owned()
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// A string as YAML and JSON both write it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
