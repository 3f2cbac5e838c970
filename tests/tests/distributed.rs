//! Jobs over a real RabbitMQ and a real Redis: the same command, the same outcome.

use anyhow::{Context, Result, ensure};
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
