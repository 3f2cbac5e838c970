//! Judging on a bad day: a provider that refuses, fails and garbles, and a judge-worker that is killed again and again.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use clara_lifecycle::spec::JudgeBudget;
use clara_tests::{Bill, Cluster, Daemon, Judge, Replay, Script, until};
use serde_json::{Value, json};

/// Golden samples. Some answers of an untrained model hold nothing to judge.
const SAMPLES: usize = 1_300;
/// Requests that the judge gets at least.
const REQUESTS: usize = 1_000;
/// Requests per second that the provider lets in.
const PER_SECOND: f64 = 20.0;
/// Calls in flight at once.
const CONCURRENCY: usize = 12;
/// How often the judge-worker is killed.
const KILLS: usize = 3;
/// Leases end soon, so that a killed attempt is soon repeated.
const LEASE: (&str, &str) = ("CLARA_LEASE__TTL", "1s");

const REPLAY: Replay =
    Replay { seed: 11, per_second: PER_SECOND, busy: 0.10, failing: 0.05, bad: 0.05, score: 4 };

fn specification() -> String {
    format!(
        "[training]\nrank = 4\nalpha = 8.0\nmax_steps = 1\nepochs = 1\nsequence_length = 128\naccumulation = 1\n\n\
         [generation]\nmax_new_tokens = 24\n\n[gate]\nmode = \"point\"\n\n\
         [judge]\nmax_tries = 12\nreasoning = false\ncanaries = 0\nconcurrency = {CONCURRENCY}\nrequests_per_minute = {}\n\n\
         [judge.budget]\nmost = 100.0\nprompt_price = 0.15\nreply_price = 0.6\ncurrency = \"EUR\"\n\n\
         [retry]\nmax_attempts = 20\nfirst_pause_ms = 50\nlongest_pause_ms = 50\n",
        PER_SECOND * 60.0
    )
}

fn golden() -> Value {
    let sample = |n: usize| {
        json!({
            "prompt": format!("Frage {n}: Was gilt für Fall {n}?"),
            "expected_output": format!("Es gilt Nummer {n} der Regel."),
        })
    };
    let samples: Vec<_> = (0..SAMPLES).map(sample).collect();
    json!({ "dataset_id": "law-golden", "domain": "law", "version": "1.0.0", "samples": samples })
}

/// What the judge-workers wrote down of one reply.
#[derive(Debug)]
struct Entry {
    key: String,
    tokens: (u64, u64),
}

/// The entries of the job's ledger by the provider's ids of the replies.
fn ledger(cluster: &Cluster, job: &str) -> Result<BTreeMap<String, Entry>> {
    let folder = cluster.sandbox.home.join("artifacts/jobs").join(job).join("judge/replies");
    let mut entries = BTreeMap::new();
    for file in fs::read_dir(&folder).with_context(|| format!("no {}", folder.display()))? {
        let path = file?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = fs::read_to_string(&path)?;
        let (_, content) = text.split_once('\n').context("an entry has no seal")?;
        let entry: Value = serde_json::from_str(content)?;
        let id = entry.pointer("/reply/id").and_then(Value::as_str).context("a reply has no id")?.to_owned();
        let tokens = (number(&entry, "/tokens/prompt")?, number(&entry, "/tokens/reply")?);
        let key = entry.get("key").and_then(Value::as_str).context("an entry has no key")?.to_owned();
        ensure!(entries.insert(id.clone(), Entry { key, tokens }).is_none(), "{id} is written down twice");
    }
    Ok(entries)
}

fn number(value: &Value, path: &str) -> Result<u64> {
    value.pointer(path).and_then(Value::as_u64).with_context(|| format!("{path} is no number: {value}"))
}

fn judge_worker(cluster: &Cluster) -> Result<Daemon> {
    cluster.start(&["judge-worker"], &[LEASE])
}

/// Kills the worker at even distances, and starts another each time.
fn kill_again_and_again(cluster: &Cluster, judge: &Judge) -> Result<Daemon> {
    let mut worker = judge_worker(cluster)?;
    for kill in 1..=KILLS {
        let at = REQUESTS * kill / (KILLS + 1);
        until(&format!("{at} calls"), || Ok((judge.calls() as usize >= at).then_some(())))?;
        // Dropped, it gets SIGKILL.
        drop(std::mem::replace(&mut worker, judge_worker(cluster)?));
    }
    Ok(worker)
}

#[test]
#[ignore = "takes minutes: make judge-faults"]
fn a_killed_judge_worker_loses_nothing_and_pays_for_nothing_twice() -> Result<()> {
    let cluster = Cluster::new(&[])?;
    fs::write(cluster.sandbox.path("job.toml"), specification())?;
    fs::write(cluster.sandbox.path("golden.json"), golden().to_string())?;
    let judge = Judge::start(Script::Replay(REPLAY))?;
    let coordinator = cluster.coordinator(&[LEASE])?;
    coordinator.until_ready()?;
    let _workers =
        (cluster.start(&["ingest-worker"], &[LEASE])?, cluster.start(&["gpu-worker", "run"], &[LEASE])?);
    let job = cluster.submit(&["--judge-url", &judge.url(), "--judge-model", "replay"])?;
    until("the training", || {
        let job = cluster.clara(&["job", "show", &job, "-o", "json"])?.expect(0)?.json()?;
        Ok(job["adapter_id"].as_str().map(drop))
    })?;
    until("the answers", || {
        let job = cluster.clara(&["job", "show", &job, "-o", "json"])?.expect(0)?.json()?;
        Ok((job["state"]["stage"] == "judge").then_some(()))
    })?;
    let began = Instant::now();
    let worker = kill_again_and_again(&cluster, &judge)?;
    let state = until("the end of the job", || {
        let job = cluster.clara(&["job", "show", &job, "-o", "json"])?.expect(0)?.json()?;
        let kind = job["state"]["kind"].as_str().unwrap_or_default().to_owned();
        Ok((kind != "active" && kind != "waiting").then_some(job))
    })?;
    ensure!(state["state"]["kind"] != "stuck", "{state}\n{}", worker.log()?);
    let adapter = state["adapter_id"].as_str().context("no adapter")?;
    let evaluation = cluster.clara(&["eval", "show", adapter, "-o", "json"])?.expect(0)?.json()?;
    let (bill, ledger) = (judge.bill(), ledger(&cluster, &job)?);
    nothing_is_lost(&evaluation)?;
    nothing_is_counted_twice(&evaluation, &bill, &ledger)?;

    ensure!(
        bill.requests as usize >= REQUESTS,
        "only {} requests: too many answers held nothing",
        bill.requests
    );
    let bound = f64::from(bill.requests) / PER_SECOND;
    eprintln!(
        "{} requests ({} above the rate, {} busy, {} failing, {} bad replies), {} replies billed, {} on their way at the \
         kills; {:.1} s, bound {bound:.1} s, ratio {:.3}; {:.1} s with the start of the worker",
        bill.requests,
        bill.above_rate,
        bill.busy,
        bill.failing,
        bill.bad,
        bill.replies.len(),
        bill.replies.len() - ledger.len(),
        bill.took.as_secs_f64(),
        bill.took.as_secs_f64() / bound,
        began.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Every sample has its score, or the reason why there is none.
fn nothing_is_lost(evaluation: &Value) -> Result<()> {
    let ids = |list: &str| -> Result<Vec<String>> {
        let list = evaluation.get(list).and_then(Value::as_array).with_context(|| format!("no {list}"))?;
        Ok(list.iter().filter_map(|one| one.get("sample_id")?.as_str().map(str::to_owned)).collect())
    };
    let (scored, unscored) = (ids("results")?, ids("unscored")?);
    let all: BTreeSet<_> = scored.iter().chain(&unscored).collect();
    ensure!(
        all.len() == SAMPLES && scored.len() + unscored.len() == SAMPLES,
        "{} and {}",
        scored.len(),
        unscored.len()
    );
    // Only replies that were cut off, or bad twice, may leave a sample without a score.
    ensure!(unscored.len() < SAMPLES / 10, "{} samples are unscored", unscored.len());
    Ok(())
}

/// What is written down is what the provider billed, each reply once, and the cost is exactly theirs.
fn nothing_is_counted_twice(evaluation: &Value, bill: &Bill, ledger: &BTreeMap<String, Entry>) -> Result<()> {
    for (id, entry) in ledger {
        ensure!(
            bill.replies.get(id) == Some(&entry.tokens),
            "{id}: {:?}, billed {:?}",
            entry,
            bill.replies.get(id)
        );
    }
    // A reply that was on its way when its worker was killed is billed and cannot be known here.
    let unknown = bill.replies.len() - ledger.len();
    ensure!(unknown <= KILLS * CONCURRENCY, "{unknown} replies were billed and not written down");
    let questions: BTreeSet<_> = ledger.values().map(|entry| &entry.key).collect();
    ensure!(questions.len() == ledger.len(), "{} replies to {} questions", ledger.len(), questions.len());
    let health = evaluation.get("health").context("no health")?;
    let read: u64 = ledger.values().map(|entry| entry.tokens.0).sum();
    let written: u64 = ledger.values().map(|entry| entry.tokens.1).sum();
    let prices = JudgeBudget { prompt_price: 0.15, reply_price: 0.6, ..JudgeBudget::default() };
    let expected = [ledger.len() as u64, read, written, prices.cost_micros(read, written)];
    let found =
        ["/calls", "/prompt_tokens", "/reply_tokens", "/cost_micros"].map(|path| number(health, path));
    for (found, expected) in found.into_iter().zip(expected) {
        ensure!(found? == expected, "expected {expected}: {health}");
    }
    Ok(())
}
