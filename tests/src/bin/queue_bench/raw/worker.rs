//! The consuming half of the limit.

use std::process::ExitCode;

use clara_proto::v1;
use clara_runtime::task::Tasks;
use futures::{StreamExt as _, stream::SelectAll};
use lapin::{
    message::Delivery,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

use super::{RawArgs, STAGES, block_on, connect, queue, read, report::report};

/// More unacknowledged deliveries buy nothing.
const PREFETCH: u16 = 500;

/// Consumes until it is killed.
pub(crate) fn run(args: RawArgs) -> ExitCode {
    block_on(async move {
        let (_connection, amqp) = connect(&args.amqp).await?;
        amqp.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
        let calls =
            Endpoint::from_shared(format!("http://{}", args.address))?.tcp_nodelay(true).connect_lazy();
        let tasks = Tasks::new(CancellationToken::new());
        let mut deliveries = SelectAll::new();
        for stage in 0..STAGES {
            let options = BasicConsumeOptions::default();
            deliveries.push(
                amqp.basic_consume(queue(stage).into(), "".into(), options, FieldTable::default()).await?,
            );
        }
        while let Some(delivery) = deliveries.next().await {
            let (delivery, calls) = (delivery?, calls.clone());
            tasks.spawn("raw.stage", async move {
                if let Err(error) = carry_out(&delivery, &calls).await {
                    eprintln!("queue_bench: {error:#}");
                }
            });
        }
        Ok(())
    })
}

async fn carry_out(delivery: &Delivery, calls: &Channel) -> anyhow::Result<()> {
    let (job, stage) = read(&delivery.data)?;
    let attempt = u32::try_from(stage)?;
    let key = v1::AttemptKey { job_id: job.to_string(), stage: v1::Stage::Ingest.into(), attempt, fence: 1 };
    report(calls, key).await?;
    delivery.ack(BasicAckOptions::default()).await?;
    Ok(())
}
