//! `clara queue`: what waits in each queue and who serves it, or why one job waits.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use clara_coordinator::words::standing;
use clara_lifecycle::queue::{Explanation, QueueLine};

use super::DONE;
use crate::{
    figures::{self, NONE},
    session::Session,
};

/// What is shown of the queues.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  clara queue                 # every queue\n  clara queue job-0198c1…     # why this job waits"
)]
pub(crate) struct QueueArgs {
    /// Say why this job is where it is [default: show every queue]
    job: Option<String>,
}

pub(crate) async fn run(session: &Session, args: &QueueArgs) -> Result<u8> {
    let connection = session.connect().await?;
    let output = session.output;
    if let Some(job) = &args.job {
        let explanation = connection.client.explain(job).await?;
        if output.is_json() {
            output.json(&explanation)?;
        } else {
            let Explanation { job, at, standing } = &explanation;
            output.line(standing::of(job, standing, *at).join("\n"))?;
        }
        return Ok(DONE);
    }
    let overview = connection.client.queues().await?;
    if output.is_json() {
        output.json(&overview)?;
        return Ok(DONE);
    }
    let header = ["queue", "waiting", "oldest", "running", "messages", "workers"];
    output.table(header, overview.queues.iter().map(row).collect())?;
    output.line("")?;
    output.fields(&[
        ("active jobs", format!("{} of at most {}", overview.active_jobs, overview.max_active_jobs)),
        ("waiting jobs", overview.waiting_jobs.to_string()),
        ("dead letters", count(overview.dead_letters)),
    ])?;
    if overview.dead_letters.is_none() {
        output.note("the broker gave no answer, so messages and dead letters are not known");
    }
    for line in overview.queues.iter().filter(|line| line.waiting > 0 && line.workers == 0) {
        output.note(standing::unserved(line.stage, &line.class));
    }
    Ok(DONE)
}

fn row(line: &QueueLine) -> [String; 6] {
    let waited = line.oldest_ms.map(|waited| figures::span(Duration::from_millis(waited)));
    [
        line.queue.clone(),
        line.waiting.to_string(),
        waited.unwrap_or_else(|| NONE.to_owned()),
        line.running.to_string(),
        count(line.messages),
        line.workers.to_string(),
    ]
}

fn count(number: Option<u64>) -> String {
    number.map_or_else(|| NONE.to_owned(), |number| number.to_string())
}
