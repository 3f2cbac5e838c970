//! Jobs over a real RabbitMQ and a real Redis: the same command, the same outcome.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clara_lifecycle::{
    id::{Attempt, ClassName},
    stage::Stage,
};
use clara_runtime::{
    broker::{
        Broker as _, QueueName, Task,
        amqp::{AmqpBroker, AmqpOptions},
    },
    config::Secret,
    task::Tasks,
};
use lapin::{
    Channel, Connection, ConnectionProperties,
    options::{BasicConsumeOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use tokio_util::sync::CancellationToken;

use clara_tests::{Ended, Judge, Sandbox, Script, Services};

/// The command with state in Redis and tasks in RabbitMQ.
fn clara(sandbox: &Sandbox, services: &Services, args: &[&str]) -> Result<Ended> {
    let mut command = sandbox.command(args)?;
    command.env("CLARA_STATE__URL", &services.redis_url).env("CLARA_BROKER__URL", &services.amqp_url);
    Ended::of(command.output()?)
}

#[test]
fn a_job_passes_all_stages_over_rabbitmq_and_redis() -> Result<()> {
    let (services, sandbox) = (Services::start()?, Sandbox::new(6)?);
    let judge = Judge::start(Script::Score(8))?;
    let args = sandbox.run_args(&["--judge-url", judge.url().as_str()]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    clara(&sandbox, &services, &args)?.expect(11)?.says(&["clara review approve law-lora-v1.0.0"])?;
    ensure!(judge.calls() > 0, "the judge was not asked");
    ensure!(!sandbox.home.join("clara.db").exists(), "the embedded state store was used");
    let approve = ["review", "approve", "law-lora-v1.0.0", "--reason", "sound"];
    clara(&sandbox, &services, &approve)?.expect(0)?;
    let adapters = clara(&sandbox, &services, &["registry", "list", "-o", "json"])?.expect(0)?.json()?;
    let adapter = adapters.get(0).context("no adapter was registered")?;
    ensure!(adapter["champion"] == true && adapter["status"] == "approved", "{adapters}");
    let jobs = clara(&sandbox, &services, &["job", "list", "--state", "approved", "-o", "json"])?;
    ensure!(jobs.expect(0)?.json()?.as_array().is_some_and(|jobs| jobs.len() == 1), "not one approved job");
    Ok(())
}

#[test]
fn a_wrong_password_stops_the_start_with_the_setting_to_correct() -> Result<()> {
    let (services, sandbox) = (Services::start()?, Sandbox::new(1)?);
    let mut command = sandbox.command(&["job", "list"])?;
    command.env("CLARA_STATE__URL", &services.redis_url);
    command.env("CLARA_BROKER__URL", services.amqp_url.replace("guest:guest", "guest:wrong-secret"));
    let ended = Ended::of(command.output()?)?.expect(1)?.says(&["broker.url"])?;
    ensure!(!ended.stderr.contains("wrong-secret"), "{}", ended.stderr);
    Ok(())
}

async fn channel(services: &Services) -> Result<Channel> {
    let connection = Connection::connect(&services.amqp_url, ConnectionProperties::default()).await?;
    Ok(connection.create_channel().await?)
}

/// Kills RabbitMQ right after a queue was declared, until one has no leader afterwards. Answers the prefix of its name.
async fn queue_without_leader(services: &Services) -> Result<String> {
    for round in 0..10 {
        let prefix = format!("crash-{round}");
        let queue = format!("{prefix}.ingest.default.normal");
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(50));
        arguments.insert("x-dead-letter-exchange".into(), AMQPValue::LongString("".into()));
        let dead_letters = AMQPValue::LongString(format!("{prefix}.dead-letters").into());
        arguments.insert("x-dead-letter-routing-key".into(), dead_letters);
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel(services).await?.queue_declare(queue.as_str().into(), options, arguments).await?;
        services.kill("rabbitmq")?;
        services.start_again()?;
        let again = channel(services).await?;
        let consumed = again.basic_consume(
            queue.into(),
            "look".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        if tokio::time::timeout(Duration::from_secs(5), consumed).await.is_err() {
            return Ok(prefix);
        }
    }
    bail!("no crash left a queue without a leader")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "slow: make faults"]
async fn slow_a_queue_that_a_crash_left_without_a_leader_is_made_anew() -> Result<()> {
    let services = Services::start_with(&[("SERVICES_ONLY", "rabbitmq")])?;
    let prefix = queue_without_leader(&services).await?;
    let tasks = Tasks::new(CancellationToken::new());
    let url = Secret::new(services.amqp_url.clone());
    let broker = AmqpBroker::connect(&AmqpOptions { prefix, ..AmqpOptions::new(url) }, &tasks).await?;
    let (stage, class) = (Stage::Ingest, ClassName::default());
    let queues = QueueName::served(stage, std::slice::from_ref(&class));
    let task = Task { job: "job-1".parse()?, stage, attempt: Attempt(1), priority: 5, class };
    let began = Instant::now();
    loop {
        // What the queue lost is published again, as it is for a job whose task nobody claims.
        let (_, received) =
            futures::join!(broker.publish(&task), broker.receive(&queues, Duration::from_secs(1)));
        if let Ok(Some(delivery)) = received {
            ensure!(delivery.task == task, "{delivery:?}");
            return Ok(());
        }
        ensure!(began.elapsed() < Duration::from_mins(3), "no task in {:?}", began.elapsed());
    }
}
