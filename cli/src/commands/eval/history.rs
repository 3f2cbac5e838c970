//! `clara eval history`: how the versions of a domain or family did over time.

use anyhow::{Result, bail};
use clap::Args;
use clara_lifecycle::{
    adapter::Family,
    gate::{Decision, GateReport},
};
use clara_proto::v1;
use serde::Serialize;

use super::Judged;
use crate::{
    client::{AdapterDocument, Client},
    commands::DONE,
    figures::{self, NONE},
    session::Session,
};

/// Whose history.
#[derive(Debug, Clone, Args)]
pub(crate) struct HistoryArgs {
    /// A domain or a family, e.g. baurecht or baurecht-lora
    name: String,
}

/// One version in the history.
#[derive(Debug, Serialize)]
struct Entry {
    adapter_id: String,
    created_at: String,
    champion: bool,
    /// Score and bounds, 0 to 100.
    mean: Option<f64>,
    lower_bound: Option<f64>,
    upper_bound: Option<f64>,
    /// Share (0 to 1) of samples that pass.
    pass_rate: Option<f64>,
    decision: Option<Decision>,
    golden_dataset: Option<String>,
    /// Evaluations of the family with the golden dataset before this one.
    evaluations_before: Option<u32>,
    judges: Vec<String>,
    /// Whether dataset or judge differ from the version before in the family, so that the scores do not compare.
    changed: bool,
}

pub(super) async fn run(session: &Session, args: &HistoryArgs) -> Result<u8> {
    let connection = session.connect().await?;
    let entries = history(session, &connection.client, &args.name).await;
    connection.close().await;
    let entries = entries?;
    if session.output.is_json() {
        session.output.json(&entries)?;
        return Ok(DONE);
    }
    let header = [
        "version",
        "made",
        "score",
        "95 % bounds",
        "pass rate",
        "decision",
        "golden dataset",
        "before",
        "judge",
    ];
    session.output.table(header, entries.iter().map(row).collect())?;
    if entries.iter().any(|entry| entry.changed) {
        session
            .output
            .note("* golden dataset or judge changed: the score does not compare with the one above");
    }
    Ok(DONE)
}

async fn history(session: &Session, client: &Client, name: &str) -> Result<Vec<Entry>> {
    let request = v1::ListAdaptersRequest::default();
    let is_meant = |adapter: &AdapterDocument| {
        let family = Family::id_of(&adapter.version.adapter_id);
        family == Some(name) || adapter.version.domain.as_str() == name
    };
    let mut adapters: Vec<_> = client.adapters(request).await?.into_iter().filter(is_meant).collect();
    if adapters.is_empty() {
        bail!("there is no domain or family {name}; `clara registry list` shows all versions");
    }
    adapters.sort_by(|a, b| {
        let key = |adapter: &AdapterDocument| {
            let family = Family::id_of(&adapter.version.adapter_id).unwrap_or_default().to_owned();
            (family, adapter.version.version.clone())
        };
        key(a).cmp(&key(b))
    });
    let mut entries: Vec<Entry> = Vec::new();
    for adapter in adapters {
        let evidence = Judged::of_version(client, &adapter.version).await?;
        let judges = judges_of(session, &adapter, &evidence).await;
        let entry = entry(adapter, evidence.gate.as_ref(), judges, entries.last());
        entries.push(entry);
    }
    Ok(entries)
}

/// The judges, where the evaluation can be read from here.
async fn judges_of(session: &Session, adapter: &AdapterDocument, judged: &Judged) -> Vec<String> {
    match judged.evaluation(session).await {
        Ok(Some(evaluation)) => evaluation.judges().iter().map(|judge| judge.judge_id.clone()).collect(),
        Ok(None) => Vec::new(),
        Err(error) => {
            let adapter_id = &adapter.version.adapter_id;
            session.output.note(format!("the judges of {adapter_id} are not known here: {error}"));
            Vec::new()
        }
    }
}

fn entry(
    adapter: AdapterDocument,
    report: Option<&GateReport>,
    judges: Vec<String>,
    before: Option<&Entry>,
) -> Entry {
    let AdapterDocument { version, champion, .. } = adapter;
    let golden_dataset = version.lineage.as_ref().map(|lineage| lineage.golden_dataset.clone());
    let same_family = |entry: &&Entry| Family::id_of(&entry.adapter_id) == Family::id_of(&version.adapter_id);
    let changed = before.filter(same_family).is_some_and(|before| {
        let known = !before.judges.is_empty() && !judges.is_empty();
        before.golden_dataset != golden_dataset || (known && before.judges != judges)
    });
    Entry {
        created_at: version.created_at,
        champion,
        mean: report.and_then(|report| report.mean).or(version.metrics.get("llm_judge_score").copied()),
        lower_bound: report.and_then(|report| report.lower_bound),
        upper_bound: report.and_then(|report| report.upper_bound),
        pass_rate: report.and_then(|report| report.pass_rate),
        decision: report.map(|report| report.decision),
        golden_dataset,
        evaluations_before: report.map(|report| report.evidence.evaluations),
        judges,
        changed,
        adapter_id: version.adapter_id,
    }
}

fn row(entry: &Entry) -> [String; 9] {
    let text = |value: Option<String>| value.unwrap_or_else(|| NONE.to_owned());
    let bounds = entry.lower_bound.zip(entry.upper_bound);
    let mark = if entry.changed { " *" } else { "" };
    let champion = if entry.champion { " (champion)" } else { "" };
    [
        format!("{}{champion}", entry.adapter_id),
        entry.created_at.clone(),
        format!("{}{mark}", figures::number(entry.mean, 1)),
        text(bounds.map(|(lower, upper)| format!("{lower:.1} to {upper:.1}"))),
        figures::percent(entry.pass_rate),
        text(entry.decision.map(|decision| decision.to_string())),
        text(entry.golden_dataset.clone()),
        text(entry.evaluations_before.map(|before| before.to_string())),
        text((!entry.judges.is_empty()).then(|| entry.judges.join(", "))),
    ]
}
