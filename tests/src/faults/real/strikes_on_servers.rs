//! What happens in trials that break RabbitMQ or Redis.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use clara_lifecycle::{
    job::{Job, JobEvent},
    stage::Stage,
};
use lapin::{Connection, ConnectionProperties, options::QueueDeleteOptions};
use tokio::time::{Instant, sleep};

use super::{
    LEASE,
    cluster::Cluster,
    strikes::{MOMENT_WITHIN, start, training_step},
};

/// Kills RabbitMQ while a long training runs, while tasks are published, or before the first of them is.
pub(super) async fn kill_broker(cluster: &mut Cluster, turn: usize) -> Result<Vec<String>> {
    match turn % 3 {
        0 => {
            start(cluster).await?;
            let job = cluster.until(MOMENT_WITHIN, |job| training_step(job) > Some(1)).await?;
            broker_away(cluster).await?;
            let job = cluster.until(3 * MOMENT_WITHIN, |now| now.id == job.id && is_trained(now)).await?;
            let (_, events) = cluster.users.job_and_events(&job.id).await?;
            let claims = events
                .iter()
                .filter(|(_, event)| matches!(event, JobEvent::Claimed { stage: Stage::Train, .. }));
            let claims = claims.count();
            return Ok((claims != 1)
                .then(|| format!("a training that ran while RabbitMQ was away was claimed {claims} times"))
                .into_iter()
                .collect());
        }
        1 => {
            start(cluster).await?;
            cluster.sky.pass(0, 1500).await;
            broker_away(cluster).await?;
        }
        _ => {
            cluster.start_coordinators()?;
            cluster.restaff()?;
            cluster.servers.rabbitmq.kill("rabbitmq")?;
            cluster.submit().await?;
            cluster.servers.rabbitmq.start_again()?;
        }
    }
    Ok(Vec::new())
}

fn is_trained(job: &Job) -> bool {
    job.result(Stage::Train).is_some()
}

/// Kills RabbitMQ, and starts it again mostly at once and now and then much later.
async fn broker_away(cluster: &Cluster) -> Result<()> {
    cluster.servers.rabbitmq.kill("rabbitmq")?;
    let away = if cluster.sky.strikes(10) { 45_000 } else { 2_000 };
    cluster.sky.pass(0, away).await;
    cluster.servers.rabbitmq.start_again().map(drop)
}

/// Kills Redis at any moment, once or twice.
pub(super) async fn kill_state(cluster: &mut Cluster) -> Result<()> {
    start(cluster).await?;
    for _ in 0..=cluster.sky.below(2) {
        cluster.sky.pass(0, 2500).await;
        cluster.servers.redis.kill("redis")?;
        cluster.sky.pass(0, 2000).await;
        cluster.servers.redis.start_again()?;
    }
    Ok(())
}

/// Empties Redis under running jobs, by a command or by losing its files; nobody may go on as if nothing had been.
pub(super) async fn empty_state(cluster: &mut Cluster, turn: usize) -> Result<Vec<String>> {
    start(cluster).await?;
    cluster.sky.pass(300, 2500).await;
    if turn.is_multiple_of(2) {
        redis(cluster, "FLUSHALL")?;
    } else {
        cluster.servers.redis.kill("redis")?;
        std::fs::remove_dir_all(cluster.servers.redis.redis_folder())?;
        cluster.servers.redis.start_again()?;
    }
    let mut wrong = Vec::new();
    let give_up = Instant::now() + Duration::from_secs(20);
    while !says_emptied(cluster)? {
        if Instant::now() > give_up {
            wrong.push("the coordinator does not say that Redis was emptied".to_owned());
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    sleep(LEASE).await;
    let keys = redis(cluster, "DBSIZE")?;
    if keys.trim() != "0" {
        wrong.push(format!("the emptied Redis has {} keys that somebody invented", keys.trim()));
    }
    if let Some(coordinator) = cluster.coordinator(0)? {
        coordinator.kill()?;
    }
    // What is lost is told; what is submitted from now on is held to everything.
    cluster.accepted.clear();
    cluster.reconnect().await?;
    cluster.freeze().await?;
    cluster.start_coordinators()?;
    cluster.submit().await?;
    Ok(wrong)
}

fn says_emptied(cluster: &mut Cluster) -> Result<bool> {
    let coordinator = cluster.coordinator(0)?.context("the coordinator ended")?;
    Ok(coordinator.log()?.contains("was emptied or replaced while it was in use"))
}

fn redis(cluster: &Cluster, command: &str) -> Result<String> {
    let output =
        Command::new("redis-cli").args(["-u", &cluster.servers.redis.redis_url, command]).output()?;
    ensure!(output.status.success(), "{command} failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// RabbitMQ blocks whoever publishes, or queues vanish.
pub(super) async fn alarm(cluster: &mut Cluster, turn: usize) -> Result<()> {
    start(cluster).await?;
    cluster.sky.pass(0, 1500).await;
    if turn.is_multiple_of(2) {
        let watermark = ["set_vm_memory_high_watermark", "absolute"];
        cluster.servers.rabbitmq.rabbitmqctl(&[&watermark[..], &["1MB"]].concat())?;
        cluster.sky.pass(0, 4000).await;
        cluster.servers.rabbitmq.rabbitmqctl(&[&watermark[..], &["2GB"]].concat())?;
    } else {
        let stage = cluster.sky.one_of(&Stage::ALL).copied().unwrap_or(Stage::Train);
        delete(cluster, &cluster.queues_of(stage)).await?;
    }
    Ok(())
}

/// Deletes queues with what is in them.
pub(super) async fn delete(cluster: &Cluster, queues: &[String]) -> Result<()> {
    let url = &cluster.servers.rabbitmq.amqp_url;
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    for queue in queues {
        channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await?;
    }
    connection.close(200, "done".into()).await?;
    Ok(())
}
