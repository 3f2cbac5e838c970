//! What differs between two datasets: documents, sources, options.

use std::{collections::BTreeMap, path::Path};

use clara_lifecycle::{dataset::DatasetManifest, digest::Digest, spec::IngestOptions};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{TRAIN, VALIDATION, document_of, manifest, records};
use crate::{card::changed, error::IngestError};

/// What differs between two datasets, `from` before and `to` after.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Difference {
    /// Documents that both have with the same records.
    pub same: u64,
    /// Documents that only the one after has, in order of their ids.
    pub added: Vec<String>,
    /// Documents that only the one before has.
    pub removed: Vec<String>,
    /// Documents whose records differ.
    pub changed: Vec<String>,
    /// Documents that are held out in one of them only.
    pub moved: Vec<String>,
    /// Source files that only the one after has, or that have other content there.
    pub source_files_added: Vec<String>,
    /// Source files that only the one before has, or that had other content there.
    pub source_files_removed: Vec<String>,
    /// What was asked for otherwise.
    pub options: Vec<OptionChange>,
}

/// An option with another value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OptionChange {
    /// Its name in a specification.
    pub name: String,
    /// Its value in the dataset before, as JSON.
    pub before: Option<String>,
    /// Its value in the dataset after, as JSON.
    pub after: Option<String>,
}

/// A document of a dataset.
#[derive(Debug, Default)]
struct Document {
    records: Sha256,
    held_out: bool,
}

/// Compares the datasets in two folders; a few numbers per document stay in memory.
///
/// # Errors
/// [`IngestError::Read`] when a file is missing or damaged.
pub fn difference(from: &Path, to: &Path) -> Result<Difference, IngestError> {
    let (before, after) = (manifest(from)?, manifest(to)?);
    let mut difference = Difference { options: options(&before, &after), ..Difference::default() };
    difference.source_files_added = files_without(&after, &before);
    difference.source_files_removed = files_without(&before, &after);
    let mut earlier = documents(from)?;
    for (id, document) in documents(to)? {
        let Some(known) = earlier.remove(&id) else {
            difference.added.push(id);
            continue;
        };
        if known.held_out != document.held_out {
            difference.moved.push(id.clone());
        }
        if known.records.finalize() == document.records.finalize() {
            difference.same += 1;
        } else {
            difference.changed.push(id);
        }
    }
    difference.removed = earlier.into_keys().collect();
    Ok(difference)
}

fn documents(folder: &Path) -> Result<BTreeMap<String, Document>, IngestError> {
    let mut documents: BTreeMap<String, Document> = BTreeMap::new();
    for name in [TRAIN, VALIDATION] {
        for record in records(folder, name)? {
            let record = record?;
            let document = documents.entry(document_of(&record.document_id).to_owned()).or_default();
            document.held_out = name == VALIDATION;
            // Of length and content: a text that moves from one record to the next is a change.
            for text in record.content.texts() {
                document.records.update((text.len() as u64).to_le_bytes());
                document.records.update(text.as_bytes());
            }
        }
    }
    Ok(documents)
}

/// The files of a dataset that `other` does not have with the same content.
fn files_without(manifest: &DatasetManifest, other: &DatasetManifest) -> Vec<String> {
    let key = |manifest: &DatasetManifest| -> Vec<(String, Digest)> {
        manifest.source_files.iter().map(|file| (file.name.clone(), file.digest.clone())).collect()
    };
    let others: std::collections::HashSet<_> = key(other).into_iter().collect();
    key(manifest).into_iter().filter(|file| !others.contains(file)).map(|(name, _)| name).collect()
}

fn options(before: &DatasetManifest, after: &DatasetManifest) -> Vec<OptionChange> {
    let mut changes: BTreeMap<String, OptionChange> = BTreeMap::new();
    let mut note = |name: &str, value: String, is_after: bool| {
        let change = changes.entry(name.to_owned()).or_insert_with(|| OptionChange {
            name: name.to_owned(),
            before: None,
            after: None,
        });
        let place = if is_after { &mut change.after } else { &mut change.before };
        *place = Some(value);
    };
    let golden = |manifest: &DatasetManifest| {
        let overlap = manifest.golden_overlap.as_ref();
        overlap.map_or_else(|| "none".to_owned(), |overlap| overlap.golden_dataset.clone())
    };
    for (name, said) in [
        ("domain", [before.domain.clone(), after.domain.clone()]),
        ("golden_dataset", [golden(before), golden(after)]),
        ("ingest.sources", [before.sources.join(", "), after.sources.join(", ")]),
    ] {
        let [was, is] = said;
        if was != is {
            note(name, was, false);
            note(name, is, true);
        }
    }
    // Datasets of earlier builds do not tell their options.
    if let (Some(was), Some(is)) = (&before.options, &after.options) {
        let (was, is): (&IngestOptions, &IngestOptions) = (was, is);
        for (name, value) in changed(was, is) {
            note(&name, value, false);
        }
        for (name, value) in changed(is, was) {
            note(&name, value, true);
        }
    }
    changes.into_values().collect()
}
