//! `clara job logs`: what attempts said is there after their workers are gone.

use anyhow::{Context, Result, ensure};
use clara_tests::{Ended, Judge, Sandbox, Script, Services};
use serde_json::Value;

fn finished() -> Result<(Sandbox, String)> {
    let sandbox = Sandbox::new(20)?;
    let judge = Judge::start(Script::Score(9))?;
    sandbox.run(&["--judge-url", judge.url().as_str()])?.expect(0)?;
    let job = sandbox.only_job()?;
    Ok((sandbox, job))
}

#[test]
fn the_log_of_a_finished_job_is_shown_by_stage_and_as_documents() -> Result<()> {
    let (sandbox, job) = finished()?;
    let all = sandbox.clara(&["job", "logs", &job])?.expect(0)?;
    let ingest = sandbox.clara(&["job", "logs", &job, "--stage", "ingest", "--attempt", "1", "--follow"])?;
    for shown in [&all.stdout, &ingest.expect(0)?.stdout] {
        ensure!(shown.contains("ingest/1"), "{shown}");
        ensure!(shown.contains("wrote the dataset") && shown.contains("documents_kept="), "{shown}");
        ensure!(!shown.contains("began attempt"), "{shown}");
    }
    let documents = sandbox.clara(&["job", "logs", &job, "-o", "json"])?.expect(0)?;
    let lines: Vec<Value> = documents.stdout.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let first = lines.first().context("there are no lines")?;
    ensure!(first["stage"] == "ingest" && first["attempt"] == 1 && first["number"] == 1, "{first}");
    ensure!(lines.len() == all.stdout.lines().count(), "{}\n{}", documents.stdout, all.stdout);
    Ok(())
}

#[test]
fn a_job_without_lines_that_fit_says_so_and_an_unknown_one_is_an_error() -> Result<()> {
    let (sandbox, job) = finished()?;
    let nothing = sandbox.clara(&["job", "logs", &job, "--attempt", "9"])?.expect(0)?;
    ensure!(nothing.stdout.is_empty(), "{}", nothing.stdout);
    nothing.says(&["logged"])?;
    sandbox.clara(&["job", "logs", "job-gone"])?.expect(1)?.says(&["there is no job job-gone"])?;
    Ok(())
}

#[test]
fn why_an_attempt_failed_is_in_the_log() -> Result<()> {
    let sandbox = Sandbox::new(1)?;
    let file = sandbox.path("training.jsonl");
    std::fs::write(&file, std::fs::read_to_string(&file)? + "{\"instruction\": \"half a li\n")?;
    sandbox.run(&[])?.expect(1)?;
    let log = sandbox.clara(&["job", "logs", &sandbox.only_job()?])?.expect(0)?;
    log.says(&["warn  left out a broken document", "warn  attempt 1 of ingest", "failed: "])?;
    Ok(())
}

#[test]
fn over_redis_the_log_is_there_for_a_command_on_another_machine() -> Result<()> {
    let (services, sandbox, elsewhere) = (Services::start()?, Sandbox::new(6)?, Sandbox::new(6)?);
    let clara = |sandbox: &Sandbox, args: &[&str]| {
        let mut command = sandbox.command(args)?;
        command.env("CLARA_STATE__URL", &services.redis_url).env("CLARA_BROKER__URL", &services.amqp_url);
        Ended::of(command.output()?)
    };
    let judge = Judge::start(Script::Score(9))?;
    let args = sandbox.run_args(&["--judge-url", judge.url().as_str(), "-o", "json"]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let summary = clara(&sandbox, &args)?.expect(0)?.json()?;
    let job = summary["job"]["id"].as_str().context("the job has no id")?;
    clara(&elsewhere, &["job", "logs", job])?.expect(0)?.says(&["ingest/1", "wrote the dataset"])?;
    Ok(())
}
