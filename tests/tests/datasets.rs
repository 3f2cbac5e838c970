//! Datasets as things: made alone, listed, compared, checked, exported, and taken again by a later job.

use std::{fs, net::TcpListener};

use anyhow::{Context, Result, ensure};
use clara_tests::{Judge, Sandbox, Script};
use serde_json::Value;

const STEPS: u32 = 4;

/// Runs the job and answers its id and the result of its ingest.
fn run(sandbox: &Sandbox, more: &[&str]) -> Result<(String, Value)> {
    let judge = Judge::start(Script::Score(9))?;
    let url = judge.url();
    let flags = [&["--judge-url", url.as_str(), "-o", "json"], more].concat();
    let summary = sandbox.run(&flags)?.expect(0)?.json()?;
    let job = summary.pointer("/job/id").and_then(Value::as_str).context("no job")?.to_owned();
    Ok((job, summary.pointer("/job/stages/ingest/state/result").context("no dataset")?.clone()))
}

#[test]
fn a_later_job_takes_the_stored_dataset_unless_something_differs() -> Result<()> {
    let sandbox = Sandbox::new(STEPS)?;
    let (first, made) = run(&sandbox, &[])?;
    ensure!(made["reused_from"].is_null() && made["key"].is_string(), "{made}");
    let (second, taken) = run(&sandbox, &["--rank", "2"])?;
    ensure!(taken["reused_from"] == first.as_str() && taken["key"] == made["key"], "{taken}");
    ensure!(taken["dataset"]["files"] == made["dataset"]["files"], "other bytes: {taken}");
    ensure!(taken["dataset"]["prefix"] != made["dataset"]["prefix"], "not a copy of its own: {taken}");
    sandbox
        .clara(&["job", "logs", &second, "--stage", "ingest"])?
        .expect(0)?
        .says(&["took the dataset of job", &first])?;
    let (_, fresh) = run(&sandbox, &["--rank", "3", "--fresh"])?;
    ensure!(fresh["reused_from"].is_null(), "{fresh}");
    ensure!(fresh["dataset"]["files"] == made["dataset"]["files"], "made anew with other bytes: {fresh}");
    let file = sandbox.path("training.jsonl");
    let more = "{\"instruction\": \"Wer hört die Nachbarn?\", \"output\": \"Die Nachbarn hört die Bauaufsichtsbehörde.\"}\n";
    fs::write(&file, fs::read_to_string(&file)? + more)?;
    let (_, changed) = run(&sandbox, &["--rank", "5"])?;
    ensure!(changed["reused_from"].is_null() && changed["key"] != made["key"], "{changed}");
    let listed = sandbox.clara(&["data", "list", "-o", "json"])?.expect(0)?.json()?;
    let listed = listed.as_array().context("no list")?;
    ensure!(listed.len() == 2 && listed[1]["jobs"].as_array().map_or(0, Vec::len) == 3, "{listed:?}");
    let (from, to) = (first.as_str(), listed[0]["jobs"][0].as_str().context("no job")?);
    let found = sandbox.clara(&["data", "diff", from, to, "-o", "json"])?.expect(0)?.json()?;
    ensure!(
        found["added"].as_array().map_or(0, Vec::len) == 1 && found["removed"] == serde_json::json!([]),
        "{found}"
    );
    Ok(())
}

#[test]
fn a_dataset_is_shown_previewed_counted_exported_and_checked() -> Result<()> {
    let sandbox = Sandbox::new(STEPS)?;
    let (job, made) = run(&sandbox, &[])?;
    let out = sandbox.path("export");
    let out = out.to_string_lossy();
    for (args, says) in [
        (&["data", "list"][..], "law-lora-v1.0.0"),
        (&["data", "show", &job], "golden dataset"),
        (&["data", "show", "law-lora-v1.0.0", "--card"], "# Dataset for law"),
        (&["data", "preview", &job, "-n", "2"], "[assistant]"),
        (&["data", "preview", &job, "--random", "--validation"], "──"),
        (&["data", "preview", &job, "--dropped", "all"], "REASON"),
        (&["data", "stats", &job, "--svg", "lengths.svg"], "95 % below"),
        (&["data", "export", &job, "--out", &out], "manifest.json"),
        (&["data", "diff", &job, &out], "documents the same"),
        (&["registry", "lineage", "law-lora-v1.0.0"], "dataset key"),
    ] {
        sandbox.clara(args)?.expect(0)?.says(&[says])?;
        if says != "manifest.json" {
            sandbox.clara(&[args, &["-o", "json"]].concat())?.expect(0)?.json()?;
        }
    }
    sandbox
        .clara(&["data", "preview", &job, "-n", "1"])?
        .expect(0)?
        .says(&["1 of ", "--count N shows more"])?;
    ensure!(fs::read_to_string(sandbox.path("lengths.svg"))?.contains("class=\"bar\""), "no drawing");
    let (exported, files) =
        (fs::read_dir(&*out)?.count(), made["dataset"]["files"].as_array().map_or(0, Vec::len));
    ensure!(exported == files, "{exported} of {files} files were exported");
    sandbox.clara(&["data", "export", &job, "--out", &out])?.expect(1)?.says(&["is there already"])?;
    sandbox.clara(&["data", "lint", &job])?.expect(0)?.says(&["few_records", "can be trained on"])?;
    // What stands in a golden dataset is found, whatever the manifest says.
    let train = sandbox.path("export").join("train.jsonl");
    let golden: Value = serde_json::from_slice(&fs::read(sandbox.path("golden.json"))?)?;
    let leak = serde_json::json!({ "document_id": "leak", "text": golden["samples"][0]["expected_output"] });
    fs::write(&train, format!("{}{leak}\n", fs::read_to_string(&train)?))?;
    let lint = ["data", "lint", &out, "--golden-dataset", "golden.json"];
    sandbox.clara(&lint)?.expect(1)?.says(&["error golden_overlap", "must not be trained on"])?;
    // The record is not one that was made.
    sandbox.clara(&lint)?.expect(1)?.says(&["error damaged: train.jsonl has digest"])?;
    let (copy, again) = (sandbox.path("again"), ["data", "export", &out, "--out", "again"]);
    sandbox.clara(&again)?.expect(1)?.says(&["is damaged and was not exported: train.jsonl has digest"])?;
    ensure!(!copy.exists(), "a damaged dataset was exported");
    sandbox.clara(&["data", "show", "nothing"])?.expect(1)?.says(&[
        "there is no dataset nothing",
        "clara data list",
        "or a folder",
    ])?;
    sandbox
        .clara(&["data", "list", "--domain", "nope"])?
        .expect(0)?
        .says(&["there is no dataset of the domain nope here"])?;
    Ok(())
}

#[test]
fn a_dataset_is_made_without_a_job_and_left_as_it_is_by_the_same_command() -> Result<()> {
    let sandbox = Sandbox::new(STEPS)?;
    let none =
        sandbox.clara(&["data", "list"])?.expect(0)?.says(&["there is no dataset here", "clara ingest"])?;
    ensure!(none.stdout.is_empty(), "{}", none.stdout);
    let out = sandbox.path("dataset");
    let out = out.to_string_lossy();
    let ingest = ["ingest", "--domain", "law", "--source", "training.jsonl", "--out", &out];
    let made = sandbox.clara(&[&ingest[..], &["-o", "json"]].concat())?.expect(0)?.json()?;
    ensure!(made["reused"] == false && made["manifest"]["golden_overlap"].is_null(), "{made}");
    let again =
        sandbox.clara(&ingest)?.expect(0)?.says(&["is there already", "none: nothing was compared"])?;
    ensure!(!again.stdout.contains("LEFT OUT"), "a table of nothing: {}", again.stdout);
    sandbox.clara(&["data", "lint", &out])?.expect(0)?.says(&["golden_not_compared"])?;
    let golden = [&ingest[..], &["--golden-dataset", "golden.json"]].concat();
    sandbox
        .clara(&golden)?
        .expect(1)?
        .says(&["holds something else: its golden dataset is none", "--replace"])?;
    let compared = sandbox.clara(&[&golden[..], &["--replace", "-o", "json"]].concat())?.expect(0)?.json()?;
    ensure!(compared["manifest"]["golden_overlap"]["golden_dataset"] == "law-golden@1.0.0", "{compared}");
    let nowhere = [&ingest[..], &["--base-model", "/nope"]].concat();
    sandbox.clara(&nowhere)?.expect(1)?.says(&["base model /nope is not there"])?;
    // The job that trains on the same sources makes the same records.
    let (_, job) = run(&sandbox, &[])?;
    let digest = |files: &Value| {
        let files = files.as_array().cloned().unwrap_or_default();
        files.into_iter().find(|file| file["path"] == "train.jsonl").map(|file| file["digest"].clone())
    };
    let digests = (digest(&job["dataset"]["files"]), Some(compared["manifest"]["train_digest"].clone()));
    ensure!(digests.0 == digests.1, "{digests:?}");
    sandbox
        .clara(&["ingest", "--domain", "law", "--out", &out])?
        .expect(2)?
        .says(&["ingest.sources is missing"])?;
    sandbox
        .clara(&[&ingest[..], &["--near-duplicates", "7", "--top-k", "0"]].concat())?
        .expect(2)?
        .says(&["ingest.clean.near_duplicate_limit is 7", "ingest.top_k is 0"])?;
    Ok(())
}

#[test]
fn what_is_not_read_in_a_source_folder_is_told_and_a_dataset_in_it_keeps_its_held_out_records_apart()
-> Result<()> {
    let sandbox = Sandbox::new(STEPS)?;
    fs::create_dir(sandbox.path("laws"))?;
    fs::copy(sandbox.path("training.jsonl"), sandbox.path("laws").join("training.jsonl"))?;
    fs::write(sandbox.path("laws").join("doc.docx"), "PK")?;
    let not_read = "1 file of another kind or split: doc.docx";
    let ingest = ["ingest", "--domain", "law", "--source", "laws", "--out", "first"];
    sandbox.clara(&ingest)?.expect(0)?.says(&["not read", not_read])?;
    sandbox.clara(&["data", "show", "./first"])?.expect(0)?.says(&[not_read])?;
    sandbox.clara(&["data", "lint", "./first"])?.expect(0)?.says(&["warning not_read", not_read])?;
    let again = ["ingest", "--domain", "law", "--source", "first", "--out", "second", "-o", "json"];
    let made = sandbox.clara(&again)?.expect(0)?.json()?;
    let manifest = &made["manifest"];
    let files = manifest["source_files"].as_array().context("no files")?;
    ensure!(files.len() == 1 && files[0]["name"] == "train.jsonl", "{files:?}");
    let skipped = manifest["skipped_files"].as_array().context("no list")?;
    ensure!(skipped.contains(&"validation.jsonl".into()), "{skipped:?}");
    Ok(())
}

#[test]
fn a_server_that_hangs_is_told_and_an_interrupt_is_answered_and_leaves_nothing() -> Result<()> {
    let sandbox = Sandbox::new(STEPS)?;
    // It takes connections and never answers.
    let server = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/law.jsonl", server.local_addr()?);
    let mut running = sandbox.begin(&["ingest", "--domain", "law", "--source", &url, "--out", "dataset"])?;
    ensure!(running.wait_for(&format!("waiting for {url}: no answer yet"))?, "nothing was told");
    running.interrupt()?;
    running.end()?.expect(130)?.says(&["saving the work", "interrupted: nothing was written"])?;
    ensure!(!sandbox.path(".dataset.clara-ingest").exists(), "something was left beside the dataset");
    Ok(())
}
