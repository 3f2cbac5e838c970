//! `clara run` from documents to decision with the tiny base model.

use anyhow::{Context, Result, ensure};
use clara_tests::{Judge, Sandbox, Script};

const STEPS: u32 = 20;

fn judged(sandbox: &Sandbox, score: u8, more: &[&str]) -> Result<clara_tests::Ended> {
    let judge = Judge::start(Script::Score(score))?;
    let url = judge.url();
    let ended = sandbox.run(&[&["--judge-url", url.as_str()], more].concat())?;
    ensure!(judge.calls() > 0, "the judge was not asked:\n{}", ended.stderr);
    Ok(ended)
}

#[test]
fn high_scores_approve_and_make_the_champion() -> Result<()> {
    let sandbox = Sandbox::new(STEPS)?;
    judged(&sandbox, 9, &[])?.expect(0)?.says(&[
        "1/5",
        "2/5",
        "3/5",
        "4/5",
        "5/5",
        "law-lora-v1.0.0",
        "champion",
    ])?;
    let adapters = sandbox.adapters()?;
    ensure!(adapters.len() == 1 && adapters[0]["champion"] == true, "{adapters:?}");
    ensure!(adapters[0]["status"] == "approved", "{adapters:?}");
    let folder = sandbox.home.join("adapters/law-lora-v1.0.0");
    ensure!(folder.join("adapter_config.json").is_file(), "no PEFT folder at {}", folder.display());
    sandbox.clara(&["registry", "verify"])?.expect(0)?;
    Ok(())
}

#[test]
fn middle_scores_wait_for_a_person_whose_approval_makes_the_champion() -> Result<()> {
    let sandbox = Sandbox::new(STEPS)?;
    judged(&sandbox, 8, &[])?.expect(11)?.says(&["clara review approve law-lora-v1.0.0"])?;
    sandbox.clara(&["review", "approve", "law-lora-v1.0.0", "--reason", "sound"])?.expect(0)?.says(&[
        "champion",
        "the gate said `review` of law-lora-v1.0.0",
        "anna has seen 0 of ",
    ])?;
    ensure!(sandbox.adapters()?[0]["champion"] == true, "no champion");
    sandbox
        .clara(&["review", "reject", "law-lora-v1.0.0", "--reason", "unsound"])?
        .expect(1)?
        .says(&["clara registry rollback law-lora`", "clara registry deprecate law-lora-v1.0.0"])?;
    sandbox.clara(&["registry", "audit"])?.expect(0)?.says(&["adapter.approved", "anna", "sound"])?;
    Ok(())
}

#[test]
fn an_empty_list_tells_how_to_make_the_first_one() -> Result<()> {
    let sandbox = Sandbox::new(STEPS)?;
    for (list, how) in [
        (["job", "list"], "clara job submit"),
        (["registry", "list"], "clara registry import"),
        (["gaps", "list"], "clara run"),
        (["review", "list"], "clara registry list"),
        (["golden", "list"], "clara golden create"),
    ] {
        let ended = sandbox.clara(&list)?.expect(0)?;
        ensure!(ended.stdout.is_empty() && ended.stderr.contains(how), "{list:?}: {ended:?}");
    }
    Ok(())
}

#[test]
fn low_scores_reject() -> Result<()> {
    let sandbox = Sandbox::new(STEPS)?;
    judged(&sandbox, 5, &[])?.expect(10)?.says(&["rejected", "mean_below_review"])?;
    sandbox
        .clara(&["review", "approve", "law-lora-v1.0.0", "--reason", "sound"])?
        .expect(1)?
        .says(&["mean_below_review", "--despite-gate"])?;
    ensure!(sandbox.adapters()?[0]["champion"] == false, "a rejected version is champion");
    Ok(())
}

#[test]
fn other_options_make_a_minor_version_that_is_compared_with_the_champion() -> Result<()> {
    let sandbox = Sandbox::new(STEPS)?;
    judged(&sandbox, 9, &[])?.expect(0)?;
    let second = judged(&sandbox, 9, &["--rank", "2", "-o", "json"])?.expect(0)?.json()?;
    ensure!(second["adapter"]["adapter_id"] == "law-lora-v1.1.0", "{}", second["adapter"]["adapter_id"]);
    let answers = &second["job"]["stages"]["generate"]["state"]["result"];
    ensure!(answers["champion_nll"].is_number(), "the champion did not answer: {answers}");
    Ok(())
}

#[test]
fn the_same_specification_makes_the_same_bytes_in_another_home() -> Result<()> {
    let (here, there) = (Sandbox::new(STEPS)?, Sandbox::new(STEPS)?);
    judged(&here, 9, &[])?.expect(0)?;
    judged(&there, 9, &[])?.expect(0)?;
    let id = "law-lora-v1.0.0";
    ensure!(here.adapter_digest(id)? == there.adapter_digest(id)?, "two homes, two adapters");
    Ok(())
}

#[test]
fn each_method_makes_a_family_of_its_own() -> Result<()> {
    let sandbox = Sandbox::new(STEPS)?;
    for (method, magnitudes) in [("lora", false), ("dora", true), ("qlora", false)] {
        let flags = ["--method", method, "--use-rslora", "--loraplus-lr-ratio", "2"];
        judged(&sandbox, 9, &flags)?.expect(0)?.says(&[&format!("law-{method}-v1.0.0")])?;
        let config = sandbox.home.join(format!("adapters/law-{method}-v1.0.0/adapter_config.json"));
        let config: serde_json::Value = serde_json::from_slice(&std::fs::read(config)?)?;
        ensure!(config["use_dora"] == magnitudes && config["use_rslora"] == false, "{config}");
    }
    ensure!(sandbox.adapters()?.len() == 3, "{:?}", sandbox.adapters()?);
    sandbox
        .clara(&["registry", "show", "law-dora-v1.0.0"])?
        .expect(0)?
        .says(&["dora, rank", "rsLoRA, LoRA+ 2"])?;
    sandbox.clara(&["registry", "verify"])?.expect(0)?;
    Ok(())
}

#[test]
fn without_a_judge_the_base_model_itself_scores() -> Result<()> {
    let sandbox = Sandbox::new(STEPS)?;
    let ended = sandbox.run(&["-o", "json"])?;
    let summary = ended.json()?;
    let scored = &summary["job"]["stages"]["gate"]["state"]["result"]["scored"];
    ensure!(scored.as_u64().is_some_and(|scored| scored > 0), "nothing was scored: {}", ended.stderr);
    Ok(())
}

#[test]
fn documents_for_machines_can_be_read() -> Result<()> {
    let sandbox = Sandbox::new(STEPS)?;
    let summary = judged(&sandbox, 9, &["-o", "json"])?.expect(0)?.json()?;
    ensure!(summary["exit_code"] == 0, "{summary}");
    let job = sandbox.only_job()?;
    for args in [
        &["job", "show", job.as_str()][..],
        &["job", "list"],
        &["job", "plot", job.as_str()],
        &["registry", "show", "law-lora@champion"],
        &["registry", "export"],
        &["registry", "stats"],
        &["registry", "lineage", "law-lora@^1"],
        &["registry", "card", "law-lora@champion"],
        &["registry", "audit", "--verify"],
        &["registry", "diff", "law-lora-v1.0.0", "law-lora@champion"],
        &["registry", "gc"],
        &["golden", "list"],
        &["golden", "show", "law-golden"],
        &["eval", "show", "law-lora-v1.0.0"],
        &["review", "list"],
        &["version"],
    ] {
        let ended = sandbox.clara(&[args, &["-o", "json"]].concat())?.expect(0)?;
        ended.json().with_context(|| args.join(" "))?;
    }
    Ok(())
}

#[test]
fn a_registry_travels_with_its_files_and_its_signatures() -> Result<()> {
    let (here, there) = (Sandbox::new(STEPS)?, Sandbox::new(STEPS)?);
    judged(&here, 9, &[])?.expect(0)?;
    let (key, tar) = (here.path("key.pem"), here.path("registry.tar"));
    let (key, tar) = (key.to_string_lossy(), tar.to_string_lossy());
    let public = format!("{key}.pub");
    here.clara(&["registry", "keygen", "--out", &key])?.expect(0)?;
    here.clara(&["registry", "sign", "law-lora@champion", "--key", &key, "--actor", "anna"])?.expect(0)?;
    here.clara(&["registry", "export", "--with-files", &tar])?
        .expect(0)?
        .says(&["the files of 1 version"])?;
    let import = ["registry", "import", &tar, "--key", &public, "--actor", "anna"];
    there.clara(&import)?.expect(0)?.says(&["1 imported, 0 were here before, 1 signature verified"])?;
    there.clara(&import)?.expect(0)?.says(&["0 imported, 1 were here before"])?;
    there
        .clara(&["registry", "verify", "--key", &public])?
        .expect(0)?
        .says(&["1 version,", "1 signature "])?;
    there
        .clara(&["registry", "lineage", "law-lora@champion"])?
        .expect(0)?
        .says(&["golden digest", "rollout"])?;
    Ok(())
}

#[test]
fn the_curve_of_a_finished_training_is_drawn_with_every_step() -> Result<()> {
    let sandbox = Sandbox::new(STEPS)?;
    judged(&sandbox, 9, &[])?.expect(0)?;
    let job = sandbox.only_job()?;
    let points = sandbox.clara(&["job", "plot", &job, "-o", "json"])?.expect(0)?.json()?;
    let steps = points["steps"].as_array().map_or(0, Vec::len);
    ensure!(steps == STEPS as usize, "{steps} of {STEPS} steps: {points}");
    ensure!(points["validations"][0]["step"] == 0, "the validation before training is missing: {points}");
    let plot = ["job", "plot", &job, "--out", "loss.svg"];
    sandbox.clara(&plot)?.expect(0)?.says(&["loss.svg"])?;
    let svg = std::fs::read_to_string(sandbox.path("loss.svg"))?;
    ensure!(svg.contains("Training of law-lora-v1.0.0") && svg.contains("<polyline"), "{svg}");
    sandbox.clara(&plot)?.expect(1)?.says(&["loss.svg is there already", "--force"])?;
    sandbox.clara(&[&plot[..], &["--force"]].concat())?.expect(0)?;
    Ok(())
}

#[test]
fn training_records_that_overlap_the_golden_dataset_are_removed() -> Result<()> {
    let sandbox = Sandbox::new(STEPS)?;
    let file = sandbox.path("training.jsonl");
    let leak = "{\"instruction\": \"Frage 2: Wer entscheidet über Antrag?\", \"output\": \"Darüber entscheidet die \
                zuständige Behörde nach Anhörung, so Nummer 2 der Regel.\"}\n";
    std::fs::write(&file, std::fs::read_to_string(&file)? + leak)?;
    let summary = judged(&sandbox, 9, &["-o", "json"])?.expect(0)?.json()?;
    let dropped = &summary["job"]["stages"]["ingest"]["state"]["result"]["dropped"];
    ensure!(dropped["golden_overlap"] == 1, "dropped: {dropped}");
    Ok(())
}

#[test]
fn draft_samples_added_one_by_one_are_numbered_on() -> Result<()> {
    let sandbox = Sandbox::new(STEPS)?;
    sandbox.clara(&["golden", "create", "questions", "--domain", "law"])?.expect(0)?;
    for number in ["eins", "zwei"] {
        sandbox
            .clara(&["golden", "add", "questions", "--prompt", number, "--expected", "Antwort"])?
            .expect(0)?;
    }
    sandbox.clara(&["golden", "freeze", "questions"])?.expect(0)?;
    Ok(())
}
