//! Killed, interrupted and cancelled jobs: nothing acknowledged is lost, and the bytes stay the same.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clara_lifecycle::{digest::Digest, statistics::SplitMix64};
use clara_tests::{Judge, Sandbox, Script};

const STEPS: u32 = 600;
const ADAPTER: &str = "law-lora-v1.0.0";

/// What the command says when a moment has come; the kill follows after a short random pause.
const MOMENTS: [&str; 12] = [
    "job job-",
    "1/5 stream training data …",
    "2/5 train …",
    "10 %",
    "20 %",
    "40 %",
    "60 %",
    "80 %",
    "3/5 register",
    "answer …",
    "judge …",
    "gate …",
];

/// The adapter of a job that nobody disturbed.
fn undisturbed() -> Result<Digest> {
    let sandbox = Sandbox::new(STEPS)?;
    let judge = Judge::start(Script::Score(9))?;
    sandbox.run(&["--judge-url", &judge.url()])?.expect(0)?;
    sandbox.adapter_digest(ADAPTER)
}

fn kill_and_continue(moment: &str, seed: u64, expected: &Digest) -> Result<()> {
    let sandbox = Sandbox::new(STEPS)?;
    let judge = Judge::start(Script::Score(9))?;
    let url = judge.url();
    let args = ["--judge-url", url.as_str()];
    let mut running = sandbox.start(&args)?;
    let came = running.wait_for(moment)?;
    ensure!(came, "`{moment}` was never said");
    let pause = Duration::from_secs_f64(SplitMix64::new(seed).unit() * 0.06);
    std::thread::sleep(pause);
    running.kill()?;
    eprintln!("killed at `{moment}`, {} ms later; seed {seed}", pause.as_millis());
    sandbox.run(&args)?.expect(0)?;
    ensure!(sandbox.adapter_digest(ADAPTER)? == *expected, "killed at `{moment}` (seed {seed}): other bytes");
    let adapters = sandbox.adapters()?;
    ensure!(adapters.len() == 1, "killed at `{moment}` (seed {seed}): {} versions", adapters.len());
    sandbox.clara(&["registry", "verify"])?.expect(0)?;
    Ok(())
}

#[test]
fn a_killed_job_ends_with_the_same_bytes_and_one_version() -> Result<()> {
    let expected = undisturbed()?;
    for (seed, moment) in [(1, "20 %"), (2, "3/5 register"), (3, "judge …")] {
        kill_and_continue(moment, seed, &expected)?;
    }
    Ok(())
}

#[test]
#[ignore = "slow: make faults"]
fn slow_a_job_killed_at_twelve_moments_ends_with_the_same_bytes_and_one_version() -> Result<()> {
    let expected = undisturbed()?;
    for (seed, moment) in (100..).zip(MOMENTS) {
        kill_and_continue(moment, seed, &expected)?;
    }
    Ok(())
}

#[test]
fn an_interrupted_job_saves_its_work_and_the_same_command_continues_it() -> Result<()> {
    let expected = undisturbed()?;
    let sandbox = Sandbox::new(STEPS)?;
    let judge = Judge::start(Script::Score(9))?;
    let url = judge.url();
    let mut running = sandbox.start(&["--judge-url", &url])?;
    ensure!(running.wait_for("10 %")?, "the training never began");
    running.interrupt()?;
    running.end()?.expect(130)?.says(&["the same command continues the job"])?;
    sandbox.run(&["--judge-url", &url])?.expect(0)?.says(&["going on with it"])?;
    ensure!(sandbox.adapter_digest(ADAPTER)? == expected, "interrupted: other bytes");
    ensure!(sandbox.adapters()?.len() == 1, "expected one version");
    Ok(())
}

#[test]
fn another_process_cancels_a_training_within_seconds() -> Result<()> {
    let sandbox = Sandbox::new(1_000_000)?;
    let mut running = sandbox.start(&[])?;
    ensure!(running.wait_for("2/5 train …")?, "the training never began");
    let job = sandbox.only_job()?;
    let asked = Instant::now();
    sandbox.clara(&["job", "cancel", &job])?.expect(0)?;
    running.end()?.expect(1)?.says(&["cancelled"])?;
    ensure!(asked.elapsed() < Duration::from_secs(10), "it took {:?}", asked.elapsed());
    ensure!(sandbox.adapters()?.is_empty(), "a cancelled training was registered");
    let before = format!("job {job} was cancelled before");
    sandbox.clara(&["job", "cancel", &job])?.expect(1)?.says(&[&before])?;
    Ok(())
}

#[test]
fn two_commands_in_one_home_do_not_disturb_each_other() -> Result<()> {
    let sandbox = Sandbox::new(STEPS)?;
    let judge = Judge::start(Script::Score(9))?;
    let url = judge.url();
    let first = sandbox.start(&["--judge-url", &url, "--label", "order=first"])?;
    let second = sandbox.start(&["--judge-url", &url, "--label", "order=second"])?;
    first.end()?.expect(0)?;
    second.end()?.expect(0)?;
    ensure!(sandbox.adapters()?.len() == 2, "expected two versions");
    sandbox.clara(&["registry", "verify"])?.expect(0)?;
    Ok(())
}
