//! A golden dataset that a job names by its file: imported and frozen when it is not known yet.

use std::path::Path;

use anyhow::{Context, Result, bail};
use clara_lifecycle::{
    counted::counted,
    golden::{Finding, GoldenDataset, Severity},
    id::GoldenReference,
};
use tonic::Code;

use crate::{
    client::{CallError, Client},
    output::Output,
    usage::usage,
};

/// What the flag `--golden-dataset`, or `golden_dataset` in a specification file, names.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum GoldenChoice {
    /// A dataset that the coordinator knows.
    Known(GoldenReference),
    /// The content of a file.
    File(Box<GoldenDataset>),
}

impl GoldenChoice {
    /// Reads the name: what ends in `.json` is a file, all else a reference.
    pub(crate) fn of(text: &str) -> Result<Self> {
        let path = Path::new(text);
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json")) {
            return Ok(Self::File(Box::new(read(path)?)));
        }
        let known = text.parse::<GoldenReference>().map_err(|error| {
            usage(format!(
                "golden_dataset (--golden-dataset) names neither a .json file nor a golden dataset: {error}"
            ))
        })?;
        Ok(Self::Known(known))
    }

    /// How the job pins it.
    pub(crate) fn reference(&self) -> GoldenReference {
        match self {
            Self::Known(reference) => reference.clone(),
            Self::File(dataset) => dataset.reference(),
        }
    }

    /// Imports and freezes the file when its version is not known yet.
    pub(crate) async fn freeze(&self, client: &Client, actor: &str, output: Output) -> Result<()> {
        let Self::File(dataset) = self else { return Ok(()) };
        if is_frozen(client, dataset).await? {
            return Ok(());
        }
        refuse_other_draft(client, dataset).await?;
        let (reference, digest) = match import(client, dataset, actor).await {
            Ok(frozen) => frozen,
            // Another command may have frozen the same file meanwhile.
            Err(error) => return if is_frozen(client, dataset).await? { Ok(()) } else { Err(error) },
        };
        let short = digest.get(..12).unwrap_or(&digest).to_owned();
        output.note(format!(
            "froze golden dataset {reference} with {} (digest {short})",
            counted(dataset.samples.len(), "sample")
        ));
        Ok(())
    }
}

async fn import(client: &Client, dataset: &GoldenDataset, actor: &str) -> Result<(String, String)> {
    client.put_golden(dataset, false).await?;
    Ok(client.freeze_golden(dataset.dataset_id.as_str(), actor).await?)
}

/// Reads a golden dataset from a file of its own format.
pub(crate) fn read(path: &Path) -> Result<GoldenDataset> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the golden dataset {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| {
        format!(
            "{} is not a golden dataset; expected an object with dataset_id, domain, version and samples",
            path.display()
        )
    })
}

/// Whether this very content is frozen under its version.
pub(crate) async fn is_frozen(client: &Client, dataset: &GoldenDataset) -> Result<bool> {
    let reference = dataset.reference().to_string();
    match client.golden(&reference).await {
        Ok(known) if known.digest.as_deref() == Some(dataset.digest().as_str()) => Ok(true),
        Ok(known) => bail!(
            "golden dataset {reference} is frozen with other content (digest {}, the file has {}); a frozen \
             version never changes: raise `version` in the file",
            known.digest.as_deref().unwrap_or("unknown"),
            dataset.digest()
        ),
        Err(CallError { code: Code::NotFound, .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A draft that someone works on must not be overwritten by the way.
pub(crate) async fn refuse_other_draft(client: &Client, dataset: &GoldenDataset) -> Result<()> {
    let id = dataset.dataset_id.as_str();
    match client.golden(id).await {
        Ok(known) if !known.frozen && known.dataset.digest() != dataset.digest() => bail!(
            "there is a draft of golden dataset {id} with other content; freeze it with `clara golden freeze {id}`, \
             or replace it with `clara golden import FILE --replace`"
        ),
        Ok(_) | Err(CallError { code: Code::NotFound, .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Findings as lines; answers whether one of them is an error.
pub(crate) fn tell_findings(findings: &[Finding], mut tell: impl FnMut(String)) -> bool {
    for finding in findings {
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let place = finding.sample_id.as_deref().unwrap_or("dataset");
        tell(format!("{severity} {} ({place}): {}", finding.code, finding.message));
    }
    findings.iter().any(|finding| finding.severity == Severity::Error)
}
