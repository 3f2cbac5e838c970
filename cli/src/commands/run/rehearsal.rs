//! What speaks against a job, told before its golden dataset is frozen: a frozen version never goes away.

#[cfg(test)]
mod tests;

use anyhow::{Context, Result, bail};
use clara_coordinator::SubmissionCheck as _;
use clara_lifecycle::{
    golden::{GoldenDataset, Severity},
    spec::{JobSpec, SpecProblem},
};

use crate::{
    client::Submit,
    embedded::Surroundings,
    golden_file::{self, GoldenChoice},
    session::{Connection, Session},
    spec::absolute,
};

/// Checks the job as a submission would and prints its specification; changes nothing. `named` is how the user named
/// the golden dataset.
pub(super) async fn rehearse(
    session: &Session,
    spec: JobSpec,
    named: Option<&str>,
    golden: Option<&GoldenChoice>,
) -> Result<()> {
    let connection = session.connect().await?;
    let checked = check(session, &connection, spec.clone(), golden).await;
    connection.close().await;
    checked?;
    if session.output.is_json() {
        return session.output.json(&spec);
    }
    let file = match golden {
        Some(GoldenChoice::File(_)) => named,
        Some(GoldenChoice::Known(_)) | None => None,
    };
    session.output.line(printed(&spec, file)?.trim_end())?;
    session.output.note("the job would be accepted; nothing was queued");
    Ok(())
}

/// The specification as TOML. It names the file of the golden dataset, for the version that comes of it may not be known
/// where the specification is given back.
fn printed(spec: &JobSpec, golden_file: Option<&str>) -> Result<String> {
    let text = toml::to_string_pretty(spec).context("the specification cannot be written as TOML")?;
    let Some(file) = golden_file else { return Ok(text) };
    let key = "golden_dataset = ";
    let named = format!("{key}{}", toml::Value::String(absolute(file)));
    let lines = text.lines().map(|line| if line.starts_with(key) { named.as_str() } else { line });
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

/// Checks the job as a submission would; changes nothing.
pub(crate) async fn check(
    session: &Session,
    connection: &Connection,
    spec: JobSpec,
    golden: Option<&GoldenChoice>,
) -> Result<()> {
    if let Some(GoldenChoice::File(dataset)) = golden
        && !golden_file::is_frozen(&connection.client, dataset).await?
    {
        return check_with_new(session, connection, &spec, dataset);
    }
    connection.client.submit(spec, Submit::DryRun).await?;
    Ok(())
}

/// Imports and freezes the golden dataset of the job when it is a file that is not known yet, and nothing speaks against
/// the job.
pub(crate) async fn freeze(
    session: &Session,
    connection: &Connection,
    spec: &JobSpec,
    golden: &GoldenChoice,
    actor: &str,
) -> Result<()> {
    let GoldenChoice::File(dataset) = golden else { return Ok(()) };
    if golden_file::is_frozen(&connection.client, dataset).await? {
        return Ok(());
    }
    check_with_new(session, connection, spec, dataset)?;
    golden.freeze(&connection.client, actor, session.output).await
}

/// The coordinator does not know the file yet, so what it would say is put together here.
fn check_with_new(
    session: &Session,
    connection: &Connection,
    spec: &JobSpec,
    dataset: &GoldenDataset,
) -> Result<()> {
    let mut problems = Vec::new();
    if connection.is_embedded() {
        problems.extend(
            Surroundings::new(session.settings.home.clone(), session.settings.sources.clone()).problems(spec),
        );
    }
    let errors = dataset.lint().into_iter().filter(|finding| finding.severity == Severity::Error);
    problems.extend(errors.map(|finding| SpecProblem { field: "golden_dataset", message: finding.message }));
    if problems.is_empty() {
        return Ok(());
    }
    let lines: Vec<_> =
        problems.iter().map(|found| format!("\n  {} {}", found.field, found.message)).collect();
    bail!("the job was refused:{}", lines.concat())
}
