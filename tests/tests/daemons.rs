//! Daemons as processes of their own: starts that must be refused, servers that are away, drains, and bad input.
//!
//! Servers take seconds to start, so each test shares one pair of them among its cases.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use clara_tests::{Cluster, Daemon};
use lapin::{BasicProperties, Confirmation, Connection, ConnectionProperties, options};
use rustix::process::Signal;

/// More than any drain may take by default.
const GRACE: Duration = Duration::from_secs(45);
/// What ends at once may take on a busy machine; much less than a drain that waits for its coordinator.
const AT_ONCE: Duration = Duration::from_secs(10);

const WORKERS: [&[&str]; 3] = [&["ingest-worker"], &["gpu-worker", "run"], &["judge-worker"]];

#[test]
fn daemons_refuse_what_cannot_work_and_wait_for_servers_that_are_away() -> Result<()> {
    let cluster = Cluster::new(&[("SERVICES_REDIS_PASSWORD", "right-secret")])?;
    wrong_passwords_are_refused(&cluster)?;
    a_store_that_may_drop_jobs_is_refused(&cluster)?;
    ports_in_use_and_unknown_settings_are_refused(&cluster)?;
    servers_that_are_away_are_waited_for(&cluster)
}

fn wrong_passwords_are_refused(cluster: &Cluster) -> Result<()> {
    let state = cluster.services.redis_url.replace("right-secret", "wrong-secret");
    let broker = cluster.services.amqp_url.replace("guest:guest", "guest:wrong-secret");
    let refused = |words: &[&str], name: &str, value: &str, says: &[&str]| -> Result<()> {
        cluster.start(words, &[(name, value)])?.refuses_to_start(says, "wrong-secret")
    };
    refused(&["coordinator"], "CLARA_STATE__URL", &state, &["uthentication", "state.url"])?;
    refused(&["coordinator"], "CLARA_BROKER__URL", &broker, &["ACCESS", "broker.url"])?;
    refused(&["ingest-worker"], "CLARA_BROKER__URL", &broker, &["ACCESS", "broker.url"])?;
    refused(&["ingest-worker"], "CLARA_BROKER__URL", "http://a:wrong-secret@b", &["amqp://user:password@"])
}

fn a_store_that_may_drop_jobs_is_refused(cluster: &Cluster) -> Result<()> {
    let set = |policy: &str| cluster.services.redis(&["CONFIG", "SET", "maxmemory-policy", policy]);
    set("allkeys-lru")?;
    cluster.start(&["coordinator"], &[])?.refuses_to_start(&["allkeys-lru", "noeviction"], "right-secret")?;
    set("noeviction")
}

fn ports_in_use_and_unknown_settings_are_refused(cluster: &Cluster) -> Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let refused = |words: &[&str], settings: &[(&str, &str)], says: &[&str]| -> Result<()> {
        cluster.start(words, settings)?.refuses_to_start(says, "right-secret")
    };
    refused(&["coordinator", "--listen", &address], &[], &[&address, "in use", "--listen"])?;
    refused(&["ingest-worker", "--http", &address], &[], &[&address, "in use", "--http"])?;
    refused(&["judge-worker"], &[("CLARA_WORKER__SLOT", "2")], &["worker.slot = 2", "worker.slots"])?;
    refused(&["judge-worker"], &[("CLARA_WORKER__SLOTS", "0")], &["worker.slots = 0", "1 to 64"])
}

fn servers_that_are_away_are_waited_for(cluster: &Cluster) -> Result<()> {
    let services = &cluster.services;
    services.kill("redis")?;
    services.kill("rabbitmq")?;
    let (coordinator, worker) = (cluster.coordinator(&[])?, cluster.start(&["ingest-worker"], &[])?);
    coordinator.until_not_ready("state: the state store at")?;
    worker.until_not_ready("broker: the broker at")?;
    let told_to_end = cluster.start(&["judge-worker"], &[])?;
    told_to_end.until_not_ready("broker: the broker at")?;
    told_to_end.signal(Signal::TERM)?;
    told_to_end.ends(0, AT_ONCE)?;
    services.start_only("redis")?;
    coordinator.until_not_ready("broker: the broker at")?;
    let (_, readiness) = coordinator.get("/readyz")?;
    ensure!(!readiness.contains("state"), "the state store is there: {readiness}");
    services.start_again()?;
    coordinator.until_ready()?;
    worker.until_ready()?;
    for (daemon, server) in [(&coordinator, "state store"), (&coordinator, "broker"), (&worker, "broker")] {
        let told = daemon.times_logged(&format!("waiting for the {server}"))?;
        ensure!(told == 1, "told {told} times that it waits for the {server}:\n{}", daemon.log()?);
    }
    Ok(())
}

#[test]
fn running_daemons_set_garbage_aside_drain_and_tell_what_was_lost() -> Result<()> {
    let cluster = Cluster::new(&[])?;
    let coordinator = cluster.coordinator(&[])?;
    coordinator.until_ready()?;
    let [ingest_worker, gpu_worker, judge_worker] = WORKERS;
    let (ingest, judge) = (cluster.start(ingest_worker, &[])?, cluster.start(judge_worker, &[])?);
    ingest.until_ready()?;
    judge.until_ready()?;
    garbage_is_set_aside_and_counted(&cluster, &ingest, &coordinator)?;

    let job = submit(&cluster)?;
    let train = || -> Result<Daemon> {
        let worker = cluster.start(gpu_worker, &[])?;
        worker.until_measured("clara_attempts_active{stage=\"train\"} 1")?;
        worker.until_measured("clara_train_loss ")?;
        Ok(worker)
    };
    a_second_signal_ends_a_drain_at_once(train()?, &coordinator)?;
    a_drain_hands_the_attempt_back(train()?)?;
    let worker = train()?;
    an_emptied_store_is_told_and_nothing_invented(&cluster, &coordinator, &job)?;
    for daemon in [worker, ingest, judge, coordinator] {
        daemon.signal(Signal::TERM)?;
        daemon.ends(0, GRACE)?;
    }
    Ok(())
}

fn garbage_is_set_aside_and_counted(cluster: &Cluster, worker: &Daemon, coordinator: &Daemon) -> Result<()> {
    let queue = "clara.ingest.default.normal";
    publish(&cluster.services.amqp_url, queue, b"\xff\x00 no task")?;
    worker.until_measured(&format!("clara_tasks_malformed_total{{queue=\"{queue}\"}} 1"))?;
    worker.until_logged("holds a message that is not a task")?;
    coordinator.until_measured("clara_queue_dead_letters 1")?;
    // By now it has counted all queues, also those that nobody used yet.
    ensure!(coordinator.times_logged("lapin")? == 0, "a driver complains:\n{}", coordinator.log()?);
    Ok(())
}

/// What any client may do that knows the password.
fn publish(url: &str, queue: &str, body: &[u8]) -> Result<()> {
    tokio::runtime::Runtime::new()?.block_on(async {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(options::ConfirmSelectOptions::default()).await?;
        let returned = options::BasicPublishOptions { mandatory: true, ..Default::default() };
        let deadline = Instant::now() + GRACE;
        // The queue is there as soon as its worker received for the first time.
        while Instant::now() < deadline {
            let published =
                channel.basic_publish("".into(), queue.into(), returned, body, BasicProperties::default());
            if published.await?.await? == Confirmation::Ack(None) {
                break;
            }
        }
        Ok(connection.close(200, "done".into()).await?)
    })
}

/// A training that does not end by itself.
fn submit(cluster: &Cluster) -> Result<String> {
    cluster.submit(&["--judge-url", "http://127.0.0.1:1/v1"])
}

fn a_second_signal_ends_a_drain_at_once(worker: Daemon, coordinator: &Daemon) -> Result<()> {
    // Without its coordinator the worker cannot hand its attempt back, so its drain takes long.
    coordinator.signal(Signal::STOP)?;
    worker.signal(Signal::TERM)?;
    worker.until_logged("saves its work and ends")?;
    worker.signal(Signal::TERM)?;
    let ended = worker.ends(128 + 15, AT_ONCE);
    coordinator.signal(Signal::CONT)?;
    ended.map(drop)
}

fn a_drain_hands_the_attempt_back(worker: Daemon) -> Result<()> {
    worker.signal(Signal::TERM)?;
    let log = worker.ends(0, GRACE)?;
    ensure!(log.contains("HandedBack"), "the attempt was not handed back:\n{log}");
    Ok(())
}

fn an_emptied_store_is_told_and_nothing_invented(
    cluster: &Cluster,
    coordinator: &Daemon,
    job: &str,
) -> Result<()> {
    cluster.services.redis(&["FLUSHALL"])?;
    coordinator.until_not_ready("its jobs, registry and golden datasets are lost")?;
    coordinator.until_logged("restore it, or start the coordinators again")?;
    cluster.clara(&["job", "show", job])?.expect(1)?.says(&["emptied or replaced"])?;
    cluster.clara(&["job", "list"])?.expect(1)?.says(&["emptied or replaced"])?;
    submit(cluster).map_or_else(|_| Ok(()), |job| anyhow::bail!("{job} was accepted by an emptied store"))
}
