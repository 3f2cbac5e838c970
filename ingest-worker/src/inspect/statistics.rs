//! Figures of a dataset's records: lengths, kinds, languages.

use std::{collections::BTreeMap, path::Path};

use clara_lifecycle::dataset::TrainingContent;
use serde::Serialize;
use serde_json::Value;

use super::{TRAIN, VALIDATION, document_of, records};
use crate::{card::Lengths, clean::language::short_code, error::IngestError};

/// A language is told from so many characters of a record at most.
const LANGUAGE_CHARS: usize = 600;

/// Figures of a dataset.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Statistics {
    /// Records of both files.
    pub records: u64,
    /// Documents that they were made from.
    pub documents: u64,
    /// All characters.
    pub chars: u64,
    /// Characters of a record below which 5, 50 and 95 % of the records lie, and of the longest.
    pub record_chars: [u32; 4],
    /// Records by what they are.
    pub kinds: BTreeMap<&'static str, u64>,
    /// Records by language (ISO 639-1 where that has it), as far as it can be told; `unknown` else.
    pub languages: BTreeMap<String, u64>,
    /// Lengths in ranges, for a drawing.
    #[serde(skip)]
    pub lengths: Lengths,
    /// Tokens by the job's tokenizer, as the manifest has them, where they were counted.
    pub tokens: Option<Value>,
}

/// Reads all records of the dataset in `folder`.
///
/// # Errors
/// [`IngestError::Read`] when a file is missing or damaged.
pub fn statistics(folder: &Path) -> Result<Statistics, IngestError> {
    let mut figures = Statistics {
        records: 0,
        documents: 0,
        chars: 0,
        record_chars: [0; 4],
        kinds: BTreeMap::new(),
        languages: BTreeMap::new(),
        lengths: Lengths::default(),
        tokens: tokens(folder)?,
    };
    let mut all = Vec::new();
    let mut last = String::new();
    for name in [TRAIN, VALIDATION] {
        for record in records(folder, name)? {
            let record = record?;
            let chars = record.content.chars();
            figures.records += 1;
            figures.lengths.add(chars);
            all.push(u32::try_from(chars).unwrap_or(u32::MAX));
            *figures.kinds.entry(kind(&record.content)).or_default() += 1;
            *figures.languages.entry(language(&record.content)).or_default() += 1;
            let document = document_of(&record.document_id);
            if document != last {
                figures.documents += 1;
                document.clone_into(&mut last);
            }
        }
    }
    figures.chars = figures.lengths.chars();
    all.sort_unstable();
    figures.record_chars = [5, 50, 95, 100].map(|percent| at(&all, percent));
    Ok(figures)
}

/// What the manifest says about tokens, where this build counted them.
fn tokens(folder: &Path) -> Result<Option<Value>, IngestError> {
    let path = folder.join(super::MANIFEST);
    let bytes = std::fs::read(&path).map_err(IngestError::read(&path))?;
    let manifest: Value =
        serde_json::from_slice(&bytes).map_err(|error| IngestError::read(&path)(error.into()))?;
    Ok(manifest.pointer("/shape/tokens").filter(|tokens| !tokens.is_null()).cloned())
}

/// The value below which `percent` of the sorted values lie (nearest rank); 0 without values.
fn at(sorted: &[u32], percent: usize) -> u32 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

fn kind(content: &TrainingContent) -> &'static str {
    match content {
        TrainingContent::Text { .. } => "running text",
        TrainingContent::PromptCompletion { .. } => "prompt and completion",
        TrainingContent::Chat { .. } => "conversation",
    }
}

fn language(content: &TrainingContent) -> String {
    let text: String = content.texts().join("\n").chars().take(LANGUAGE_CHARS).collect();
    match whatlang::detect(&text) {
        Some(found) if found.is_reliable() => short_code(found.lang().code()),
        _ => "unknown".to_owned(),
    }
}
