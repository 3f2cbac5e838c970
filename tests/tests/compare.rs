//! Two evaluations beside each other, as CI calls it: verdicts, exit codes and reports.

use std::fs;

use anyhow::{Result, ensure};
use clara_lifecycle::samples;
use clara_tests::Sandbox;

/// Writes an evaluation of forty answers with scores from 66 to 85 and a change to each.
fn write(sandbox: &Sandbox, name: &str, change: impl Fn(u32) -> f64) -> Result<String> {
    let scores: Vec<f64> = (0..40).map(|number| 66.0 + f64::from(number * 7 % 20) + change(number)).collect();
    let path = sandbox.path(name);
    fs::write(&path, serde_json::to_vec(&samples::evaluation(name, &scores))?)?;
    Ok(path.display().to_string())
}

#[test]
fn the_exit_code_tells_the_verdict_and_reports_name_what_got_worse() -> Result<()> {
    let sandbox = Sandbox::new(1)?;
    let jitter = |number: u32| f64::from(number % 5) - 2.0;
    let baseline = write(&sandbox, "baseline", |_| 0.0)?;
    let table = [
        ("better", write(&sandbox, "better", move |number| 4.0 + jitter(number))?, 0, "better"),
        ("same", write(&sandbox, "same", jitter)?, 0, "not worse by more than 2 points"),
        ("worse", write(&sandbox, "worse", move |number| -12.0 + jitter(number))?, 10, "worse"),
        (
            "unclear",
            write(&sandbox, "unclear", move |number| -1.5 + 5.0 * jitter(number))?,
            12,
            "inconclusive",
        ),
    ];
    for (name, candidate, code, says) in &table {
        let report = sandbox.path(&format!("{name}.xml"));
        let text = report.display().to_string();
        let compared = sandbox.clara(&["eval", "compare", candidate, &baseline, "--junit", &text])?;
        compared.expect(*code)?.says(&[says, "difference", "detectable", "evaluated"])?;
        let junit = fs::read_to_string(report)?;
        ensure!(junit.contains(&format!("{name} beside baseline")), "{junit}");
        // Single samples may get worse in a version that is not worse as a whole.
        let is_well = junit.contains("name=\"verdict\"><system-out>");
        ensure!(is_well == (*code == 0), "{name}: {junit}");
        ensure!(*code != 10 || junit.contains("<failure"), "{name}: {junit}");
    }
    Ok(())
}

#[test]
fn another_judge_is_refused_unless_forced() -> Result<()> {
    let sandbox = Sandbox::new(1)?;
    let candidate = write(&sandbox, "candidate", |_| 0.0)?;
    let mut other = samples::evaluation("baseline", &[80.0; 40]);
    other.judge.judge_id = "another".to_owned();
    let path = sandbox.path("baseline");
    fs::write(&path, serde_json::to_vec(&other)?)?;
    let baseline = path.display().to_string();
    sandbox
        .clara(&["eval", "compare", &candidate, &baseline])?
        .expect(1)?
        .says(&["do not compare", "--force"])?;
    let forced = sandbox.clara(&["eval", "compare", &candidate, &baseline, "--force", "-o", "json"])?;
    let document = forced.json()?;
    let differences = document.get("differences").and_then(serde_json::Value::as_array).map(Vec::len);
    ensure!(differences == Some(1), "{document}");
    Ok(())
}
