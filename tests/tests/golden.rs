//! Golden datasets on the command line: checks, differences, rotation, leaks, and how often one was tried with.

use anyhow::{Result, ensure};
use clara_tests::{Judge, Sandbox, Script};
use serde_json::json;

#[test]
fn a_sample_whose_expected_output_fails_its_own_check_keeps_the_draft_from_being_frozen() -> Result<()> {
    let sandbox = Sandbox::new(1)?;
    sandbox.clara(&["golden", "create", "questions", "--domain", "law"])?.expect(0)?;
    let add = [
        "golden",
        "add",
        "questions",
        "--prompt",
        "Wer?",
        "--expected",
        "Nach § 2 Abs. 1 BauGB die Gemeinde.",
    ];
    let checks = ["--must-cite", "§ 2 BauGB", "--language", "de", "--max-chars", "200", "--cluster", "BauGB"];
    sandbox.clara(&[&add[..], &checks].concat())?.expect(0)?;
    sandbox
        .clara(&[&add[..], &["--must-cite", "die Gemeinde"]].concat())?
        .expect(2)?
        .says(&["no citation"])?;
    let shown = sandbox.clara(&["golden", "show", "questions", "-o", "json"])?.expect(0)?.json()?;
    let checks = &shown["samples"][0]["checks"];
    ensure!(checks["must_cite"] == json!(["§ 2 BauGB"]) && checks["max_chars"] == 200, "{shown}");

    let other = ["--prompt", "Wo?", "--must-cite", "§ 35 BauGB"];
    let add = ["golden", "add", "questions", "--expected", "Nach § 34 BauGB im Innenbereich."];
    sandbox.clara(&[&add[..], &other].concat())?.expect(0)?;
    let code = "expected_output_fails_check (questions-2)";
    sandbox.clara(&["golden", "lint", "questions"])?.expect(1)?.says(&[code, "`§ 35 BauGB` is not cited"])?;
    sandbox.clara(&["golden", "freeze", "questions"])?.expect(1)?.says(&["`§ 35 BauGB` is not cited"])?;
    Ok(())
}

#[test]
fn a_rotated_version_asks_fewer_samples_and_counts_who_was_tried_with_it() -> Result<()> {
    let sandbox = Sandbox::new(5)?;
    let file = sandbox.path("golden.json").display().to_string();
    sandbox.clara(&["golden", "import", &file, "--freeze"])?.expect(0)?;
    let rotate = ["golden", "rotate", "law-golden", "--share", "0.5", "--seed", "7"];
    sandbox.clara(&rotate)?.expect(0)?.says(&["law-golden@1.1.0", "3 of 6 samples asked"])?;
    sandbox.clara(&rotate)?.expect(1)?.says(&["draft"])?;
    sandbox.clara(&["golden", "freeze", "law-golden"])?.expect(0)?;
    let diff = ["golden", "diff", "law-golden@1.0.0", "law-golden@1.1.0", "-o", "json"];
    let diff = sandbox.clara(&diff)?.expect(0)?.json()?;
    let changed = diff["changed"].as_array().map_or(0, Vec::len);
    ensure!(changed == 3 && diff["changed"][0]["fields"][0]["field"] == "held_out", "{diff}");
    sandbox.clara(&["golden", "diff", &file, "law-golden@1.0.0"])?.expect(0)?.says(&["no differences"])?;

    sandbox.clara(&["golden", "export", "law-golden@1.1.0", "--file", &file])?.expect(0)?;
    let judge = Judge::start(Script::Score(5))?;
    for tried in ["1", "2"] {
        sandbox.run(&["--judge-url", &judge.url()])?.expect(10)?;
        let words = format!("{tried} adapter version");
        sandbox
            .clara(&["golden", "show", "law-golden@1.1.0"])?
            .expect(0)?
            .says(&["3 of them asked", &words])?;
    }
    let adapters = sandbox.adapters()?;
    ensure!(adapters[0]["metrics"]["golden_evaluations"] == 2.0, "{adapters:?}");
    let shown = sandbox.clara(&["eval", "show", "law-lora-v1.0.0", "-o", "json"])?.expect(0)?.json()?;
    ensure!(shown["summary"]["total_samples"] == 3, "{}", shown["summary"]);

    // What ingest kept out of the training data is not found there.
    let lint = ["golden", "lint", "law-golden@1.1.0", "--training-data", "law-lora-v1.0.0"];
    sandbox.clara(&lint)?.expect(0)?.says(&["the training data holds none of it"])?;
    Ok(())
}

#[test]
fn a_sample_in_the_training_data_is_found_with_its_place() -> Result<()> {
    let sandbox = Sandbox::new(1)?;
    let (golden, training) = (sandbox.path("golden.json"), sandbox.path("training.jsonl"));
    let leak = "{\"text\": \"Frage 2: Wer entscheidet über Antrag? Das tut das Amt.\"}\n";
    std::fs::write(&training, std::fs::read_to_string(&training)? + leak)?;
    let (golden, training) = (golden.display().to_string(), training.display().to_string());
    let lint = ["golden", "lint", &golden, "--training-data", &training];
    let found = ["leaked_into_training (law-golden-3)", "100 %", "training.jsonl:25"];
    sandbox.clara(&lint)?.expect(1)?.says(&found)?;
    sandbox
        .clara(&["golden", "lint", &golden, "--training-data", "job-none"])?
        .expect(1)?
        .says(&["job-none"])?;
    Ok(())
}
