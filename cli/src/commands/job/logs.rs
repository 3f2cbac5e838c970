//! `clara job logs`: what the attempts of a job said.

use anyhow::{Result, bail};
use clap::Args;
use clara_lifecycle::{
    counted::counted,
    log::{LogLine, LogPart, LogPosition},
    stage::Stage,
};
use serde_json::json;

use crate::{
    client::{Client, LogQuery},
    commands::DONE,
    figures::{self, plain},
    follow::{PAUSE, TRIES, is_lost_connection},
    output::Output,
    session::Session,
};

#[cfg(test)]
mod tests;

/// Whose lines are shown.
#[derive(Debug, Clone, Args)]
pub(crate) struct LogsArgs {
    /// The job's id
    job: String,
    /// Only this stage: ingest, train, generate, judge, gate or rollout
    #[arg(long, value_name = "STAGE")]
    stage: Option<Stage>,
    /// Only attempts with this number
    #[arg(long, value_name = "NUMBER")]
    attempt: Option<u32>,
    /// Go on until the job is at rest
    #[arg(long, short)]
    follow: bool,
}

pub(super) async fn logs(session: &Session, args: LogsArgs) -> Result<u8> {
    let LogsArgs { job: job_id, stage, attempt, follow } = args;
    let connection = session.connect().await?;
    let query = LogQuery { job_id, stage, attempt, follow };
    let mut printer = Printer { output: session.output, last: LogPosition::default() };
    read(&connection.client, &query, &mut printer).await?;
    if printer.last == LogPosition::default() {
        session.output.note(format!("no attempt of {} has logged anything that fits", query.job_id));
    }
    Ok(DONE)
}

/// Prints the log; a follower goes on across lost connections.
async fn read(client: &Client, query: &LogQuery, printer: &mut Printer) -> Result<()> {
    let mut failures = 0;
    loop {
        let before = printer.last;
        let streamed = stream(client, query, printer).await;
        if printer.last > before {
            failures = 0;
        }
        match streamed {
            Ok(true) => return Ok(()),
            // The coordinator ended the stream early: it shuts down or was replaced.
            Ok(false) => failures += 1,
            Err(error) if query.follow && is_lost_connection(&error) => failures += 1,
            Err(error) => return Err(error),
        }
        client.turn();
        if failures >= TRIES {
            let job_id = &query.job_id;
            bail!("the connection to the coordinator was lost; go on with: clara job logs {job_id} --follow");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Prints what comes until the stream ends. Answers whether that was all.
async fn stream(client: &Client, query: &LogQuery, printer: &mut Printer) -> Result<bool> {
    let mut parts = client.log(query, printer.last).await?;
    while let Some(part) = parts.next().await? {
        printer.print(&part)?;
    }
    Ok(!query.follow || client.job(&query.job_id).await?.is_at_rest())
}

/// Prints lines and knows the last one.
struct Printer {
    output: Output,
    last: LogPosition,
}

impl Printer {
    fn print(&mut self, part: &LogPart) -> Result<()> {
        for line in &part.lines {
            let known = if self.last.fence == part.fence { self.last.line } else { 0 };
            if self.output.is_json() {
                self.output.line(document(part, line))?;
            } else {
                if let Some(gap) = gap(known, line.number) {
                    self.output.line(gap)?;
                }
                self.output.line(text(part, line))?;
            }
            self.last = LogPosition { fence: part.fence, line: line.number };
        }
        Ok(())
    }
}

fn text(part: &LogPart, line: &LogLine) -> String {
    let time = figures::time(line.at);
    let attempt = format!("{}/{}", part.stage, part.attempt);
    // A message of several lines stays in its column.
    let message = plain(&line.message).replace('\n', "\n    ");
    format!("{time}  {attempt:<11} {:<5} {message}", line.level)
}

fn document(part: &LogPart, line: &LogLine) -> serde_json::Value {
    json!({
        "stage": part.stage, "attempt": part.attempt, "fence": part.fence, "number": line.number, "at": line.at,
        "level": line.level, "target": line.target, "message": line.message,
    })
}

/// Says how many lines were dropped between two.
fn gap(known: u64, next: u64) -> Option<String> {
    match next.saturating_sub(known.saturating_add(1)) {
        0 => None,
        lines => Some(format!("… {} dropped", counted(lines, "line"))),
    }
}
