//! `clara eval calibrate` and `calibration`: judges compared with people.

use anyhow::Result;
use clap::Args;
use clara_lifecycle::{calibration::Agreement, counted::counted, statistics::Estimate};

use crate::{
    client::CalibrationDocument,
    commands::{Actor, DONE},
    figures::{self, NONE},
    output::Output,
    session::Session,
};

/// Who calibrates.
#[derive(Debug, Clone, Args)]
pub(crate) struct CalibrateArgs {
    #[command(flatten)]
    actor: Actor,
}

pub(super) async fn run(session: &Session, args: &CalibrateArgs) -> Result<u8> {
    let actor = args.actor.name()?.to_owned();
    let connection = session.connect().await?;
    let answer = connection.client.calibrate(actor).await;
    connection.close().await;
    let (calibrations, unknown) = answer?;
    if !unknown.is_empty() {
        let names = unknown.join(", ");
        session.output.note(format!("left out, because their evaluations cannot be read: {names}"));
    }
    print(session.output, &calibrations)
}

pub(super) async fn list(session: &Session) -> Result<u8> {
    let connection = session.connect().await?;
    let calibrations = connection.client.calibrations().await;
    connection.close().await;
    print(session.output, &calibrations?)
}

fn print(output: Output, calibrations: &[CalibrationDocument]) -> Result<u8> {
    if output.is_json() {
        output.json(&calibrations)?;
        return Ok(DONE);
    }
    if calibrations.is_empty() {
        output.note("no judge was compared with people yet; `clara eval label ADAPTER` adds labels");
    }
    for CalibrationDocument { calibration, standing } in calibrations {
        output.fields(&[
            ("judge", calibration.judge_id.clone()),
            ("standing", format!("{}\n{}", standing.state.as_str(), standing.reason)),
            (
                "labels",
                format!(
                    "{} by {} {} about {}",
                    counted(calibration.labels, "label"),
                    calibration.people,
                    if calibration.people == 1 { "person" } else { "people" },
                    counted(calibration.answers, "answer")
                ),
            ),
            ("made", format!("{} by {}", calibration.at, calibration.actor)),
            ("", String::new()),
        ])?;
        let mut rows = vec![row("overall", &calibration.overall)];
        rows.extend(
            calibration.criteria.iter().map(|(criterion, agreement)| row(criterion.as_str(), agreement)),
        );
        let header =
            ["criterion", "labels", "kappa at 7", "quadratic kappa", "spearman", "offset", "mean distance"];
        output.table(header, rows)?;
        output.line("")?;
    }
    Ok(DONE)
}

fn row(name: &str, agreement: &Agreement) -> [String; 7] {
    [
        name.to_owned(),
        agreement.labels.to_string(),
        figure(agreement.kappa),
        figure(agreement.quadratic_kappa),
        figure(agreement.spearman),
        format!("{:+.2}", agreement.offset),
        format!("{:.2}", agreement.mean_distance),
    ]
}

/// A figure with its interval.
fn figure(estimate: Option<Estimate>) -> String {
    let Some(Estimate { value, lower, upper }) = estimate else { return NONE.to_owned() };
    match lower.zip(upper) {
        Some((lower, upper)) => format!("{value:.2} ({lower:.2} to {upper:.2})"),
        None => figures::number(Some(value), 2),
    }
}
