//! `clara eval label`: what people think of answers, one by flags, many from a file, or one after another.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use clara_lifecycle::{
    counted::counted,
    label::HumanLabel,
    score::{Criterion, SampleScore},
};
use clara_proto::v1;
use serde::Deserialize;

use super::find;
use crate::{
    client::Client,
    commands::{Actor, DONE},
    figures,
    session::Session,
};

#[cfg(test)]
mod tests;

/// Which answers, and what of them.
#[derive(Debug, Clone, Args)]
pub(crate) struct LabelArgs {
    /// The adapter version that answered
    adapter: String,
    /// Label this sample
    #[arg(long, value_name = "ID", requires = "score")]
    sample: Option<String>,
    /// A score for it, 0 to 10; may be given for each criterion
    #[arg(long, value_name = "CRITERION=SCORE", value_parser = score_of, requires = "sample")]
    score: Vec<(Criterion, f64)>,
    /// Why
    #[arg(long, default_value = "", requires = "sample")]
    reason: String,
    /// Read labels from this file, one JSON object per line: {"sample_id": …, "scores": {"accuracy": 8}, "reason": …}
    #[arg(long, value_name = "FILE", conflicts_with = "sample")]
    import: Option<PathBuf>,
    #[command(flatten)]
    actor: Actor,
}

/// Whose answers.
#[derive(Debug, Clone, Args)]
pub(crate) struct LabelsArgs {
    /// Only labels of this adapter version
    adapter: Option<String>,
}

/// One line of an imported file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    sample_id: String,
    scores: BTreeMap<Criterion, f64>,
    #[serde(default)]
    reason: String,
}

/// What a person says at a prompt.
#[derive(Debug, Clone, PartialEq)]
enum Said {
    Scores(BTreeMap<Criterion, f64>),
    Nothing,
    End,
}

pub(super) async fn run(session: &Session, args: LabelArgs) -> Result<u8> {
    let connection = session.connect().await?;
    let labelled = label(session, &connection.client, &args).await;
    connection.close().await;
    let labels = labelled?;
    if session.output.is_json() {
        session.output.json(&labels)?;
    } else {
        let hint = "`clara eval calibrate` compares the judges with them";
        session.output.note(format!("{} kept; {hint}", counted(labels.len(), "label")));
    }
    Ok(DONE)
}

pub(super) async fn list(session: &Session, args: LabelsArgs) -> Result<u8> {
    let connection = session.connect().await?;
    let labels = connection.client.labels(args.adapter).await;
    connection.close().await;
    let labels = labels?;
    if session.output.is_json() {
        session.output.json(&labels)?;
        return Ok(DONE);
    }
    let row = |label: &HumanLabel| {
        let list = |scores: &BTreeMap<Criterion, f64>| {
            let scores: Vec<_> =
                scores.iter().map(|(criterion, score)| format!("{criterion} {score}")).collect();
            scores.join(", ")
        };
        [
            label.adapter_id.clone(),
            label.sample_id.clone(),
            label.actor.clone(),
            list(&label.scores),
            label.at.clone(),
        ]
    };
    session.output.table(["version", "sample", "who", "scores", "when"], labels.iter().map(row).collect())?;
    Ok(DONE)
}

async fn label(session: &Session, client: &Client, args: &LabelArgs) -> Result<Vec<HumanLabel>> {
    if let Some(sample) = &args.sample {
        let scores = args.score.iter().copied().collect();
        let line = Line { sample_id: sample.clone(), scores, reason: args.reason.clone() };
        return Ok(vec![put(client, args, line).await?]);
    }
    if let Some(path) = &args.import {
        // Otherwise the first line would be blamed.
        args.actor.name()?;
        let mut labels = Vec::new();
        for (number, line) in read_lines(path)? {
            let label = put(client, args, line).await;
            labels.push(label.with_context(|| format!("{}:{number} was refused", path.display()))?);
        }
        return Ok(labels);
    }
    one_after_another(session, client, args).await
}

async fn put(client: &Client, args: &LabelArgs, line: Line) -> Result<HumanLabel> {
    let scores = line.scores.into_iter().map(|(criterion, score)| (criterion.to_string(), score)).collect();
    let request = v1::PutLabelRequest {
        adapter_id: args.adapter.clone(),
        sample_id: line.sample_id,
        scores,
        actor: args.actor.name()?.to_owned(),
        reason: line.reason,
    };
    Ok(client.put_label(request).await?)
}

/// The lines of a file with their numbers; all are read before the first is kept.
fn read_lines(path: &Path) -> Result<Vec<(usize, Line)>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let read = |(index, line): (usize, &str)| {
        let number = index + 1;
        let read = serde_json::from_str(line)
            .with_context(|| format!("{}:{number} is no label; nothing was kept", path.display()))?;
        Ok((number, read))
    };
    lines.map(read).collect()
}

/// Shows answers that the person has not labelled yet and asks for scores; what the judge said stays hidden.
async fn one_after_another(session: &Session, client: &Client, args: &LabelArgs) -> Result<Vec<HumanLabel>> {
    let actor = args.actor.name()?;
    let found = find(session, client, &args.adapter).await?;
    let known: BTreeSet<_> = client
        .labels(Some(found.evaluation.summary.adapter_id.clone()))
        .await?
        .into_iter()
        .filter(|label| label.actor == actor)
        .map(|label| label.sample_id)
        .collect();
    let open: Vec<_> =
        found.evaluation.results.into_iter().filter(|score| !known.contains(&score.sample_id)).collect();
    let mut labels = Vec::new();
    for (index, sample) in open.iter().enumerate() {
        let (shown, output) = (sample.clone(), session.output);
        let place = format!("{} of {}", index + 1, open.len());
        let said = tokio::task::spawn_blocking(move || {
            ask(&shown, &place, &mut std::io::stdin().lock(), &mut output.talk())
        });
        match said.await?? {
            Said::Scores(scores) => {
                let line = Line { sample_id: sample.sample_id.clone(), scores, reason: String::new() };
                labels.push(put(client, args, line).await?);
            }
            Said::Nothing => {}
            Said::End => break,
        }
    }
    Ok(labels)
}

/// Shows one answer and asks for a score by criterion.
fn ask(sample: &SampleScore, place: &str, input: &mut impl BufRead, talk: &mut impl Write) -> Result<Said> {
    writeln!(talk, "\n— {} ({place}) —", sample.sample_id)?;
    for (name, text) in [
        ("prompt", &sample.prompt),
        ("expected", &sample.expected_output),
        ("answer", &sample.adapter_output),
    ] {
        writeln!(talk, "{name}:\n{}\n", figures::plain(text))?;
    }
    writeln!(talk, "scores from 0 to 10; Enter leaves one out, q ends")?;
    let mut scores = BTreeMap::new();
    for criterion in Criterion::ALL {
        loop {
            write!(talk, "{criterion}: ")?;
            talk.flush()?;
            let mut line = String::new();
            if input.read_line(&mut line)? == 0 || line.trim() == "q" {
                return Ok(Said::End);
            }
            if line.trim().is_empty() {
                break;
            }
            match number_of(&line) {
                Ok(score) => {
                    scores.insert(criterion, score);
                    break;
                }
                Err(error) => writeln!(talk, "{error}")?,
            }
        }
    }
    Ok(if scores.is_empty() { Said::Nothing } else { Said::Scores(scores) })
}

fn score_of(text: &str) -> Result<(Criterion, f64)> {
    let Some((criterion, score)) = text.split_once('=') else {
        bail!("`{text}` is no score; expected CRITERION=SCORE, e.g. accuracy=8");
    };
    Ok((criterion.trim().parse()?, number_of(score)?))
}

/// A score from 0 to 10, with a point or a comma.
fn number_of(text: &str) -> Result<f64> {
    let score =
        text.trim().replace(',', ".").parse::<f64>().ok().filter(|score| (0.0..=10.0).contains(score));
    score.with_context(|| format!("`{}` is no score; expected 0 to 10", text.trim()))
}
