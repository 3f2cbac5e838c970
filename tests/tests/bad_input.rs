//! Bad input: each is refused with a message that says what to do, and nothing is pretended.

use std::fs;

use anyhow::{Result, ensure};
use clara_tests::{Judge, Sandbox, Script, SmallDisk, fixture};

const STEPS: u32 = 10;

#[test]
fn a_golden_dataset_that_is_not_there_is_refused_before_anything_is_queued() -> Result<()> {
    let sandbox = Sandbox::new(STEPS)?;
    sandbox
        .run(&["--golden-dataset", "nowhere-golden"])?
        .expect(1)?
        .says(&["there is no golden dataset nowhere-golden", "clara golden list"])?;
    sandbox
        .run(&["--golden-dataset", "nowhere.json"])?
        .expect(1)?
        .says(&["cannot read the golden dataset nowhere.json"])?;
    let jobs = sandbox.clara(&["job", "list", "-o", "json"])?.expect(0)?.json()?;
    ensure!(jobs == serde_json::json!([]), "{jobs}");
    Ok(())
}

#[test]
fn a_job_that_is_refused_freezes_no_golden_dataset() -> Result<()> {
    let sandbox = Sandbox::new(STEPS)?;
    sandbox
        .run(&["--sequence-length", "100000"])?
        .expect(1)?
        .says(&["the job was refused", "training.sequence_length"])?;
    let known = sandbox.clara(&["golden", "list", "-o", "json"])?.expect(0)?.json()?;
    ensure!(known == serde_json::json!([]), "{known}");
    Ok(())
}

#[test]
fn a_query_that_matches_nothing_is_reported() -> Result<()> {
    Sandbox::new(STEPS)?
        .run(&["--query", "Quantenchromodynamik"])?
        .expect(1)?
        .says(&["ingest", "Quantenchromodynamik"])?;
    Ok(())
}

#[test]
fn broken_lines_are_reported_with_file_and_line() -> Result<()> {
    let sandbox = Sandbox::new(STEPS)?;
    let file = sandbox.path("training.jsonl");
    fs::write(&file, fs::read_to_string(&file)? + "{\"instruction\": \"abgebrochen\n")?;
    sandbox.run(&[])?.expect(1)?.says(&["training.jsonl:25", "ingest"])?;
    Ok(())
}

#[test]
fn a_base_model_of_an_unknown_architecture_is_refused() -> Result<()> {
    let sandbox = Sandbox::new(STEPS)?;
    let model = sandbox.path("model");
    fs::create_dir(&model)?;
    for entry in fs::read_dir(fixture("tiny-llama"))? {
        let path = entry?.path();
        fs::copy(&path, model.join(path.file_name().unwrap_or_default()))?;
    }
    let config = fs::read_to_string(model.join("config.json"))?;
    let config = config.replace("LlamaForCausalLM", "MambaForCausalLM").replace("\"llama\"", "\"mamba\"");
    fs::write(model.join("config.json"), config)?;
    sandbox.run(&["--base-model", "model"])?.expect(1)?.says(&["base_model", "amba", "lama"])?;
    Ok(())
}

#[test]
fn a_rank_larger_than_a_layer_is_refused() -> Result<()> {
    Sandbox::new(STEPS)?.run(&["--rank", "65"])?.expect(1)?.says(&["training.rank", "65"])?;
    Ok(())
}

#[test]
fn a_truncated_gguf_is_refused() -> Result<()> {
    let sandbox = Sandbox::new(STEPS)?;
    let whole = fs::read(fixture("tiny-llama.gguf"))?;
    fs::write(sandbox.path("half.gguf"), &whole[..whole.len() / 2])?;
    sandbox.run(&["--base-model", "half.gguf"])?.expect(1)?.says(&["base_model", "half.gguf"])?;
    Ok(())
}

#[test]
fn a_method_that_nobody_knows_is_refused() -> Result<()> {
    Sandbox::new(STEPS)?.run(&["--method", "lore"])?.expect(2)?.says(&["`lore`", "lora, qlora or dora"])?;
    Ok(())
}

#[test]
fn a_ratio_below_one_is_refused() -> Result<()> {
    let sandbox = Sandbox::new(STEPS)?;
    sandbox.run(&["--loraplus-lr-ratio", "0.5"])?.expect(2)?.says(&["training.loraplus_lr_ratio", "0.5"])?;
    Ok(())
}

#[test]
fn a_judge_that_answers_nonsense_is_an_error_and_no_low_score() -> Result<()> {
    let sandbox = Sandbox::new(STEPS)?;
    let judge = Judge::start(Script::Nonsense)?;
    sandbox.run(&["--judge-url", &judge.url()])?.expect(13)?.says(&["6 unscored"])?;
    ensure!(sandbox.adapters()?[0]["status"] == "pending_review", "a broken judge changed the status");
    Ok(())
}

#[test]
fn a_judge_that_is_busy_is_asked_again() -> Result<()> {
    let sandbox = Sandbox::new(STEPS)?;
    let judge = Judge::start(Script::Busy(1, 9))?;
    sandbox.run(&["--judge-url", &judge.url()])?.expect(0)?;
    Ok(())
}

#[test]
fn a_judge_that_is_down_makes_the_job_stuck_until_it_is_up() -> Result<()> {
    let sandbox = Sandbox::new(STEPS)?;
    let address = Judge::nowhere()?;
    let url = format!("http://{address}/v1");
    sandbox.run(&["--judge-url", &url])?.expect(1)?.says(&["stuck", "judge", &url])?;
    let judge = Judge::start_at(address, Script::Score(9))?;
    sandbox.run(&["--judge-url", &judge.url()])?.expect(0)?;
    ensure!(sandbox.adapters()?.len() == 1, "the repetition registered another version");
    Ok(())
}

#[test]
#[ignore = "needs root for a tmpfs: make full-disk"]
fn full_disk_stops_the_job_with_the_reason_and_it_continues_when_there_is_room() -> Result<()> {
    let sandbox = Sandbox::new(200)?;
    // Room for the records, and for few of the checkpoints that this rank makes.
    let disk = SmallDisk::new(&sandbox.home, "4m")?;
    let judge = Judge::start(Script::Score(9))?;
    sandbox
        .run(&["--rank", "32", "--judge-url", &judge.url()])?
        .expect(1)?
        .says(&["stuck", "no space left"])?;
    disk.resize("64m")?;
    sandbox.run(&["--rank", "32", "--judge-url", &judge.url()])?.expect(0)?;
    ensure!(sandbox.adapters()?.len() == 1, "expected one version");
    Ok(())
}
