//! The limit of the servers: publish with confirm, consume, one call, one script, acknowledge; no bookkeeping at all.

pub(crate) mod coordinator;
mod report;
pub(crate) mod worker;

use std::{net::SocketAddr, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::Args;
use lapin::{
    Channel, Connection, ConnectionProperties,
    options::{ConfirmSelectOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};

/// Stages of one job, each a queue of its own.
const STAGES: usize = 5;

#[derive(Debug, Clone, Args)]
pub(crate) struct RawArgs {
    /// RabbitMQ
    #[arg(long, env = "CLARA_BROKER__URL")]
    amqp: String,
    /// Redis
    #[arg(long, env = "CLARA_STATE__URL")]
    redis: String,
    /// Where the coordinator answers reports
    #[arg(long)]
    address: SocketAddr,
    /// Chains of five stages
    #[arg(long, default_value_t = 2000)]
    jobs: usize,
    /// Chains in flight
    #[arg(long, default_value_t = 64)]
    window: usize,
    /// Chains that run one after another, before the others
    #[arg(long, default_value_t = 0)]
    idle: usize,
}

fn queue(stage: usize) -> String {
    format!("raw.{stage}")
}

/// A task as small as it can be: job and stage.
fn body(job: usize, stage: usize) -> String {
    format!(
        "{{\"job\":\"job-{job:036}\",\"stage\":{stage},\"attempt\":1,\"priority\":5,\"class\":\"default\"}}"
    )
}

fn read(body: &[u8]) -> Result<(usize, usize)> {
    let value: serde_json::Value = serde_json::from_slice(body)?;
    let job = value.get("job").and_then(|job| job.as_str()?.strip_prefix("job-")?.parse().ok());
    let stage =
        value.get("stage").and_then(serde_json::Value::as_u64).and_then(|stage| stage.try_into().ok());
    job.zip(stage).context("not a task")
}

/// A connection, a channel that confirms, and the durable quorum queues.
async fn connect(url: &str) -> Result<(Connection, Channel)> {
    let runtime = lapin::runtime::default_runtime()?;
    let connection = Connection::connect_with_runtime(url, ConnectionProperties::default(), runtime).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    for stage in 0..STAGES {
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(queue(stage).into(), options, arguments).await?;
    }
    Ok((connection, channel))
}

/// Runs `work` as the daemons do: with a thread for each core.
fn block_on(work: impl Future<Output = Result<()>>) -> ExitCode {
    let ended = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(work));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("queue_bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
