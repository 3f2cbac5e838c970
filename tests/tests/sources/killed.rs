//! A server read by separate daemons over RabbitMQ and Redis, with ingest-workers that are killed while they read.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result, ensure};
use clara_lifecycle::statistics::SplitMix64;
use clara_tests::{Cluster, Daemon, until};
use serde_json::Value;

use crate::{
    served::{Themis, ingest, random_documents},
    themis::{
        documents::lines,
        double::{Faults, Generation, Quirks, Store},
    },
};

const TOKEN: &str = "right-secret";
/// How the ingest-workers read the server.
const SETTINGS: &str = "table = \"documents\"\ntoken_env = \"THEMIS_TOKEN\"\npage = 100\nparallel = 6";
/// Leases end soon, so that a killed attempt is soon repeated.
const LEASE: (&str, &str) = ("CLARA_LEASE__TTL", "2s");
/// A job that no number of kills makes stuck.
const SPECIFICATION: &str = "[gate]\nmode = \"point\"\n\n[judge]\nreasoning = false\n\n\
                             [retry]\nmax_attempts = 50\nfirst_pause_ms = 50\nlongest_pause_ms = 50\n";
/// Documents between two checkpoints of the ingest-worker.
const CHECKPOINT_EVERY: usize = 1_000;
/// How often a worker is killed for each seed.
const KILLS: u64 = 4;
const FILES: [&str; 2] = ["train.jsonl", "validation.jsonl"];

/// A slow server, and daemons that read it.
struct Bench {
    documents: Vec<Value>,
    themis: Themis,
    cluster: Cluster,
    coordinator: Daemon,
}

impl Bench {
    fn new(documents: usize) -> Result<Self> {
        let documents = random_documents(documents);
        let slow = Faults { slow: 1000, ..Faults::default() };
        let themis = Themis::start(guarded(), slow, Store::of(&documents))?;
        let cluster = Cluster::new(&[])?;
        fs::write(cluster.sandbox.path("job.toml"), SPECIFICATION)?;
        fs::write(cluster.sandbox.path("golden.json"), golden())?;
        // Only the ingest-workers know the server and its token: the coordinator and the user who submits do not.
        fs::write(cluster.sandbox.path("worker.toml"), themis.settings(SETTINGS))?;
        let coordinator = cluster.coordinator(&[LEASE])?;
        coordinator.until_ready()?;
        Ok(Self { documents, themis, cluster, coordinator })
    }

    /// An ingest-worker with the token.
    fn worker(&self) -> Result<Daemon> {
        let settings = [LEASE, ("CLARA_CONFIG", "worker.toml"), ("THEMIS_TOKEN", TOKEN)];
        self.cluster.start(&["ingest-worker"], &settings)
    }

    fn submit(&self, label: &str) -> Result<String> {
        let label = format!("seed={label}");
        self.cluster.submit(&[
            "--domain",
            "verwaltungsrecht",
            "--source",
            "@laws",
            "--fresh",
            "--label",
            &label,
        ])
    }

    fn job(&self, job: &str) -> Result<Value> {
        self.cluster.clara(&["job", "show", job, "-o", "json"])?.expect(0)?.json()
    }

    /// Waits until the job is past its ingest; answers the job.
    fn ingested(&self, job: &str) -> Result<Value> {
        until("the dataset", || {
            let job = self.job(job)?;
            ensure!(job["state"]["kind"] != "stuck", "{job}");
            Ok((job["stages"]["ingest"]["state"]["kind"] == "succeeded").then_some(job))
        })
    }

    /// Waits until the server was asked for so many documents since `before`.
    fn until_read(&self, before: usize, documents: usize) -> Result<()> {
        until(&format!("{documents} documents"), || {
            Ok((self.themis.reads() >= before + documents).then_some(()))
        })
    }

    /// Digests of the files of the dataset that nobody disturbed: of a server that is not slow, and of a file.
    fn undisturbed(&self) -> Result<[BTreeMap<String, Value>; 2]> {
        let sandbox = &self.cluster.sandbox;
        let quick = Themis::start(guarded(), Faults::default(), Store::of(&self.documents))?;
        let golden = ["--golden-dataset", "golden.json", "-o", "json"];
        let served = ingest(sandbox, &quick.settings(SETTINGS), Some(TOKEN), &golden)?.expect(0)?.json()?;
        fs::write(sandbox.path("laws.jsonl"), lines(&self.documents))?;
        let args = ["ingest", "--domain", "verwaltungsrecht", "--source", "laws.jsonl", "--out", "of-file"];
        let of_file = sandbox.clara(&[&args[..], &golden].concat())?.expect(0)?.json()?;
        let digests = |made: &Value| {
            let digest = |name: &str| made["manifest"][format!("{name}_digest")].clone();
            FILES.map(|file| (file.to_owned(), digest(file.trim_end_matches(".jsonl")))).into()
        };
        Ok([digests(&served), digests(&of_file)])
    }

    /// Holds a job to have the documents of the server, each once, and the bytes of an undisturbed dataset.
    fn check(&self, job: &Value, undisturbed: &[BTreeMap<String, Value>; 2]) -> Result<()> {
        let result = &job["stages"]["ingest"]["state"]["result"];
        ensure!(result["documents_read"] == self.documents.len(), "documents are lost or repeated: {result}");
        ensure!(result["documents_kept"] == self.documents.len(), "documents were dropped: {result}");
        let files = result["dataset"]["files"].as_array().context("no files")?;
        let found: BTreeMap<String, Value> = files
            .iter()
            .filter_map(|file| Some((file["path"].as_str()?.to_owned(), file["digest"].clone())))
            .filter(|(path, _)| FILES.contains(&path.as_str()))
            .collect();
        for expected in undisturbed {
            ensure!(found == *expected && found.len() == FILES.len(), "{found:?}, undisturbed {expected:?}");
        }
        Ok(())
    }
}

fn guarded() -> Quirks {
    Quirks { token: Some(TOKEN.to_owned()), ..Quirks::of(Generation::T26) }
}

fn golden() -> String {
    let sample = serde_json::json!({ "prompt": "Wer hört die Nachbarn an?", "expected_output": "Die Bauaufsichtsbehörde." });
    serde_json::json!({ "dataset_id": "law-golden", "domain": "verwaltungsrecht", "version": "1.0.0", "samples": [sample] })
        .to_string()
}

#[test]
fn a_server_is_read_by_daemons_whose_token_is_theirs_alone_and_survives_a_kill() -> Result<()> {
    let bench = Bench::new(2_400)?;
    let without = bench.cluster.start(&["ingest-worker"], &[LEASE, ("CLARA_CONFIG", "worker.toml")])?;
    let job = bench.submit("1")?;
    until("the refusal", || Ok((bench.job(&job)?["state"]["kind"] == "stuck").then_some(())))?;
    bench.cluster.clara(&["job", "show", &job])?.expect(0)?.says(&[
        "@laws cannot be read",
        "the environment variable THEMIS_TOKEN is not set",
        "set it for the ingest-worker, or correct [sources.laws].token_env",
    ])?;
    ensure!(bench.themis.reads() == 0, "something was asked for without the token");
    drop(without);

    let first = bench.worker()?;
    bench.cluster.clara(&["job", "retry", &job])?.expect(0)?;
    bench.until_read(0, 1)?;
    let second = bench.worker()?;
    second.until_ready()?;
    until("a checkpoint", || {
        Ok((!bench.job(&job)?["stages"]["ingest"]["checkpoint"].is_null()).then_some(()))
    })?;
    let read = bench.themis.reads();
    ensure!(read < bench.documents.len(), "everything was read before the kill");
    // Dropped, it gets SIGKILL.
    drop(first);
    let ended = bench.ingested(&job)?;
    second.until_logged("was fetched before; the rest follows")?;
    let again = bench.themis.reads() - read;
    // The first worker read on for a moment.
    ensure!(
        again < bench.documents.len() - CHECKPOINT_EVERY / 2,
        "{again} documents were read after the kill"
    );
    bench.check(&ended, &bench.undisturbed()?)?;
    for daemon in [&second, &bench.coordinator] {
        ensure!(!daemon.log()?.contains(TOKEN), "the token is in a log");
    }
    Ok(())
}

/// Kills the worker that reads again and again at moments that follow from the seed; another one stands ready each time.
fn kill_again_and_again(bench: &Bench, seed: u64, job: &str) -> Result<Value> {
    let mut random = SplitMix64::new(seed);
    let mut worker = bench.worker()?;
    let mut moments = Vec::new();
    for _ in 0..KILLS {
        // Some come before the first checkpoint of an attempt, some after it; all of them before the end.
        let documents = 300 + usize::try_from(random.next_u64() % 1_200)?;
        moments.push(documents);
        bench.until_read(bench.themis.reads(), documents)?;
        drop(std::mem::replace(&mut worker, bench.worker()?));
    }
    eprintln!("seed {seed}: killed after {moments:?} documents");
    let ended = bench.ingested(job)?;
    drop(worker);
    Ok(ended)
}

#[test]
#[ignore = "slow: make faults"]
fn slow_ingest_workers_killed_at_seeded_moments_lose_and_repeat_nothing() -> Result<()> {
    let bench = Bench::new(6_500)?;
    let undisturbed = bench.undisturbed()?;
    for seed in 1..=3 {
        let job = bench.submit(&seed.to_string())?;
        let ended = kill_again_and_again(&bench, seed, &job).with_context(|| format!("seed {seed}"))?;
        bench.check(&ended, &undisturbed).with_context(|| format!("seed {seed}"))?;
        ensure!(ended["stages"]["ingest"]["attempt"].as_u64() > Some(KILLS), "too few attempts: {ended}");
    }
    Ok(())
}
