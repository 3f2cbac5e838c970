//! The publishing half of the limit.

use std::{io::Write as _, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use clara_proto::v1;
use clara_runtime::task::Tasks;
use lapin::{BasicProperties, Channel, options::BasicPublishOptions};
use redis::aio::MultiplexedConnection;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::{Status, transport::Server};

use super::{
    RawArgs, STAGES, block_on, body, connect, queue,
    report::{Answers, Reports},
};
use crate::load::percentile;

/// One transition of one stage, as small as it can be.
const SCRIPT: &str = "local v = redis.call('HMGET', KEYS[1], 'state', 'version') \
    redis.call('HSET', KEYS[1], 'state', ARGV[1], 'version', (tonumber(v[2]) or 0) + 1) \
    redis.call('ZADD', KEYS[2], ARGV[2], KEYS[1]) return 1";

#[derive(Clone)]
struct Limit {
    amqp: Channel,
    redis: MultiplexedConnection,
    script: Arc<redis::Script>,
    done: mpsc::UnboundedSender<usize>,
    tasks: Tasks,
}

impl Limit {
    async fn publish(&self, job: usize, stage: usize) -> Result<()> {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let properties = BasicProperties::default().with_delivery_mode(2);
        let body = body(job, stage);
        let confirm = self
            .amqp
            .basic_publish("".into(), queue(stage).into(), options, body.as_bytes(), properties)
            .await?
            .await?;
        anyhow::ensure!(confirm.is_ack(), "a task was not stored");
        Ok(())
    }

    fn publish_soon(&self, job: usize, stage: usize) {
        let limit = self.clone();
        self.tasks.spawn("raw.publish", async move {
            if let Err(error) = limit.publish(job, stage).await {
                eprintln!("queue_bench: {error:#}");
            }
        });
    }
}

impl Answers for Limit {
    async fn answer(&self, key: v1::AttemptKey) -> Result<(), Status> {
        let job: usize = key.job_id.parse().map_err(|_| Status::invalid_argument("no job"))?;
        let stage = key.attempt as usize;
        let mut redis = self.redis.clone();
        let mut call = self.script.key(format!("raw:{job}"));
        call.key("raw:due").arg(stage).arg(job);
        let _: i64 =
            call.invoke_async(&mut redis).await.map_err(|error| Status::unavailable(error.to_string()))?;
        if stage + 1 < STAGES {
            self.publish_soon(job, stage + 1);
        } else {
            // The load has ended when nobody listens.
            let _ = self.done.send(job);
        }
        Ok(())
    }
}

/// Runs the chains and prints what it measured.
pub(crate) fn run(args: RawArgs) -> ExitCode {
    block_on(async move {
        let (_connection, amqp) = connect(&args.amqp).await?;
        let info = redis::IntoConnectionInfo::into_connection_info(args.redis.as_str())?;
        let info = info.set_tcp_settings(redis::io::tcp::TcpSettings::default().set_nodelay(true));
        let redis = redis::Client::open(info)?.get_multiplexed_async_connection().await?;
        let tasks = Tasks::new(CancellationToken::new());
        let (done, ended) = mpsc::unbounded_channel();
        let script = Arc::new(redis::Script::new(SCRIPT));
        let limit = Limit { amqp, redis, script, done, tasks: tasks.clone() };
        let server =
            Server::builder().tcp_nodelay(true).add_service(Reports(limit.clone())).serve(args.address);
        tasks.spawn("raw.serve", server);
        let line = measure(&args, &limit, ended).await?;
        writeln!(std::io::stdout(), "{line}")?;
        Ok(())
    })
}

async fn measure(
    args: &RawArgs,
    limit: &Limit,
    mut ended: mpsc::UnboundedReceiver<usize>,
) -> Result<serde_json::Value> {
    const ENDED: &str = "nobody reports any more";
    let mut times = Vec::with_capacity(args.idle);
    for job in 0..args.idle {
        let began_at = Instant::now();
        limit.publish_soon(job, 0);
        ended.recv().await.context(ENDED)?;
        times.push(began_at.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    let began_at = Instant::now();
    let mut next = args.idle;
    let end = args.idle + args.jobs;
    for _ in 0..args.window.min(args.jobs) {
        limit.publish_soon(next, 0);
        next += 1;
    }
    for _ in 0..args.jobs {
        let job = tokio::time::timeout(Duration::from_mins(1), ended.recv()).await?;
        job.context(ENDED)?;
        if next < end {
            limit.publish_soon(next, 0);
            next += 1;
        }
    }
    let seconds = began_at.elapsed().as_secs_f64();
    let jobs_per_second = f64::from(u32::try_from(args.jobs)?) / seconds;
    Ok(serde_json::json!({
        "idle_jobs": args.idle, "idle_p50_ms": percentile(&times, 50), "idle_p99_ms": percentile(&times, 99),
        "jobs": args.jobs, "window": args.window, "seconds": seconds,
        "jobs_per_second": jobs_per_second, "stages_per_second": 5.0 * jobs_per_second,
    }))
}
