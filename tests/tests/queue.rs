//! `clara queue`: what waits, who serves it, and why a job waits, through the command line.

use anyhow::{Context, Result, ensure};
use clara_tests::{Ended, Sandbox};
use serde_json::Value;

/// The command in an installation with room for one job and a class for large GPUs.
fn clara(sandbox: &Sandbox, args: &[&str]) -> Result<Ended> {
    let mut command = sandbox.command(args)?;
    command.env("CLARA_SCHEDULER__MAX_ACTIVE_JOBS", "1").env("CLARA_CLASSES__GPU80__GPU_MEMORY", "80GiB");
    Ended::of(command.output()?)
}

/// Submits a job and answers how that ended.
fn submit(sandbox: &Sandbox, more: &[&str]) -> Result<Ended> {
    let args = sandbox.run_args(more);
    let args = ["job", "submit", "-o", "json"].into_iter().chain(args.iter().skip(1).map(String::as_str));
    clara(sandbox, &args.collect::<Vec<_>>())
}

fn id(submitted: Ended) -> Result<String> {
    let job = submitted.expect(0)?.json()?;
    Ok(job.get("id").and_then(Value::as_str).context("the job has no id")?.to_owned())
}

#[test]
fn every_job_tells_why_it_waits_and_the_queues_show_what_nobody_takes() -> Result<()> {
    let sandbox = Sandbox::new(1)?;
    let first = id(submit(&sandbox, &["--class", "gpu80"])?)?;
    let second = id(submit(&sandbox, &["--label", "tenant=nord"])?)?;

    clara(&sandbox, &["queue", &first])?.expect(0)?.says(&[
        "attempt 1 of ingest has waited in clara.ingest.default.normal",
        "no worker for ingest was heard of lately",
    ])?;
    clara(&sandbox, &["queue", &second])?.expect(0)?.says(&[
        "place 1 of 1 waiting jobs of tenant nord",
        "1 job active in all, and scheduler.max_active_jobs is 1",
    ])?;
    let explained = clara(&sandbox, &["queue", &second, "-o", "json"])?.expect(0)?.json()?;
    ensure!(explained["standing"]["held_by"][0]["kind"] == "all_jobs", "{explained}");

    clara(&sandbox, &["queue"])?.expect(0)?.says(&["QUEUE", "clara.train.gpu80.high", "1 of at most 1"])?;
    let shown = clara(&sandbox, &["queue", "-o", "json"])?.expect(0)?.json()?;
    let queues = shown["queues"].as_array().context("there are no queues")?;
    let waiting: Vec<_> = queues.iter().filter(|queue| queue["waiting"] != 0).collect();
    ensure!(waiting.len() == 1 && waiting[0]["queue"] == "clara.ingest.default.normal", "{shown}");
    ensure!(shown["waiting_jobs"] == 1 && shown["dead_letters"] == 0, "{shown}");

    clara(&sandbox, &["queue", "job-gone"])?.expect(1)?.says(&["there is no job job-gone"])?;
    Ok(())
}

#[test]
fn a_class_that_the_settings_do_not_name_is_refused_with_those_that_they_do() -> Result<()> {
    let sandbox = Sandbox::new(1)?;
    submit(&sandbox, &["--class", "gpu96"])?
        .expect(1)?
        .says(&["resource_class `gpu96` is not known", "expected one of default, gpu80"])?;
    Ok(())
}
