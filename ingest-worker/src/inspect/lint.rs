//! Finds what is wrong or weak in a dataset before anything is trained on it.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    path::Path,
};

use clara_lifecycle::{
    counted::counted,
    dataset::{DatasetManifest, TrainingContent, TrainingRecord},
    golden::Severity,
    spec::IngestOptions,
    text::collapse,
};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{Damage, TRAIN, VALIDATION, damage, document_of, manifest, not_read, records};
use crate::{error::IngestError, ingest::GoldenText, leak::find_leaks, share::share};

/// So many records or documents are named in a finding.
const NAMED: usize = 3;
/// Fewer records teach little but themselves.
const FEW_RECORDS: u64 = 100;
/// One file gives more than this share of the documents, of several files.
const UNBALANCED: f64 = 0.9;
/// Below so many kept of all that were read, something is probably wrong with the options.
const FEW_KEPT: f64 = 0.05;

/// What is compared, and from where on something is too long.
#[derive(Debug, Clone)]
pub struct LintOptions<'a> {
    /// Samples that the dataset must not hold; empty compares nothing.
    pub golden: &'a [GoldenText],
    /// Characters from which on a record is very long.
    pub long_chars: usize,
}

/// One thing that is wrong or weak.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DatasetFinding {
    /// Whether the dataset may be trained on nevertheless.
    pub severity: Severity,
    /// What kind of finding it is.
    pub code: DatasetFindingCode,
    /// Records, documents or files that it is about.
    pub count: u64,
    /// What was found, what was expected, what to do.
    pub message: String,
}

/// What kind of finding it is; stable names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DatasetFindingCode {
    /// A file is not the one that was made.
    Damaged,
    /// There is nothing to train on.
    NoRecords,
    /// There is little to train on.
    FewRecords,
    /// Nothing is held out.
    NoValidation,
    /// A record teaches nothing.
    EmptyOutput,
    /// Two records are the same.
    DuplicateRecord,
    /// A document or a text is both trained on and held out.
    SplitOverlap,
    /// Records hold samples of the golden dataset.
    GoldenOverlap,
    /// Nobody looked for samples of a golden dataset.
    GoldenNotCompared,
    /// Records are longer than a row of the training.
    LongRecord,
    /// Nearly all documents come from one file.
    UnbalancedSources,
    /// Hardly any document was kept.
    FewKept,
    /// Files in source folders were not read.
    NotRead,
}

impl fmt::Display for DatasetFindingCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Damaged => "damaged",
            Self::NoRecords => "no_records",
            Self::FewRecords => "few_records",
            Self::NoValidation => "no_validation",
            Self::EmptyOutput => "empty_output",
            Self::DuplicateRecord => "duplicate_record",
            Self::SplitOverlap => "split_overlap",
            Self::GoldenOverlap => "golden_overlap",
            Self::GoldenNotCompared => "golden_not_compared",
            Self::LongRecord => "long_record",
            Self::UnbalancedSources => "unbalanced_sources",
            Self::FewKept => "few_kept",
            Self::NotRead => "not_read",
        })
    }
}

/// A kind of finding with the ids that it is about.
#[derive(Debug, Default)]
struct Named {
    count: u64,
    first: Vec<String>,
}

impl Named {
    fn add(&mut self, id: &str) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(id.to_owned());
        }
    }

    fn finding(
        self,
        severity: Severity,
        code: DatasetFindingCode,
        message: impl Fn(u64, &str) -> String,
    ) -> Option<DatasetFinding> {
        let mut first = self.first.join(", ");
        if self.count > NAMED as u64 {
            first.push_str(", …");
        }
        let count = self.count;
        (count > 0).then(|| DatasetFinding { severity, code, count, message: message(count, &first) })
    }
}

/// What the records of both files show.
#[derive(Debug, Default)]
struct Seen {
    /// Normal forms of the records, and whether they are held out.
    texts: HashMap<[u8; 16], bool>,
    trained: HashSet<[u8; 16]>,
    empty: Named,
    duplicates: Named,
    both_sides: Named,
    long: Named,
}

impl Seen {
    fn see(&mut self, record: &TrainingRecord, held_out: bool, long_chars: usize) {
        let id = &record.document_id;
        if teaches_nothing(&record.content) {
            self.empty.add(id);
        }
        if record.content.chars() >= long_chars {
            self.long.add(id);
        }
        let texts = record.content.texts();
        let known = self.texts.insert(hash(texts.iter().map(|text| collapse(text))), held_out);
        let document = hash(std::iter::once(document_of(id).to_owned()));
        if held_out {
            if self.trained.contains(&document) || known == Some(false) {
                self.both_sides.add(id);
                return;
            }
        } else {
            self.trained.insert(document);
        }
        if known.is_some() {
            self.duplicates.add(id);
        }
    }
}

/// Everything that is wrong or weak in the dataset in `folder`, errors first. Blocks; a few bytes per record stay in memory.
///
/// # Errors
/// [`IngestError::Read`] when a file cannot be read, or holds something else than records although its digest is right.
pub fn lint(folder: &Path, options: &LintOptions<'_>) -> Result<Vec<DatasetFinding>, IngestError> {
    let manifest = manifest(folder)?;
    let mut findings = of_files(folder, &manifest)?;
    match of_content(folder, &manifest, options) {
        Ok(found) => findings.extend(found),
        // What is damaged need not be understood.
        Err(IngestError::Read { .. }) if !findings.is_empty() => {}
        Err(error) => return Err(error),
    }
    findings.extend(of_manifest(&manifest));
    findings.extend(not_read(&manifest).map(|files| DatasetFinding {
        severity: Severity::Warning,
        code: DatasetFindingCode::NotRead,
        count: manifest.skipped_files.len() as u64,
        message: format!(
            "{files} in the source folders; convert what shall be learned, or name the files themselves"
        ),
    }));
    findings.sort_by_key(|finding| (finding.severity, finding.code));
    Ok(findings)
}

fn of_files(folder: &Path, manifest: &DatasetManifest) -> Result<Vec<DatasetFinding>, IngestError> {
    Ok(damage(folder, manifest)?.iter().map(damaged).collect())
}

fn damaged(damage: &Damage) -> DatasetFinding {
    DatasetFinding {
        severity: Severity::Error,
        code: DatasetFindingCode::Damaged,
        count: 1,
        message: format!("{damage}; fetch the dataset again, or make it anew"),
    }
}

/// What the records themselves show.
fn of_content(
    folder: &Path,
    manifest: &DatasetManifest,
    options: &LintOptions<'_>,
) -> Result<Vec<DatasetFinding>, IngestError> {
    let (mut seen, mut findings) = (Seen::default(), Vec::new());
    for (file, expected) in [(TRAIN, manifest.train_records), (VALIDATION, manifest.validation_records)] {
        let mut found = 0;
        for record in records(folder, file)? {
            seen.see(&record?, file == VALIDATION, options.long_chars);
            found += 1;
        }
        if found != expected {
            findings.push(damaged(&Damage::Miscounted { file, found, expected }));
        }
    }
    findings.extend(of_records(seen, options.long_chars));
    findings.extend(of_golden(folder, manifest, options.golden)?);
    Ok(findings)
}

fn of_records(seen: Seen, long_chars: usize) -> impl Iterator<Item = DatasetFinding> {
    let Seen { empty, duplicates, both_sides, long, .. } = seen;
    let findings = [
        empty.finding(Severity::Error, DatasetFindingCode::EmptyOutput, |count, first| {
            format!(
                "{} with nothing to learn ({first}); repair or remove the source documents",
                counted(count, "record")
            )
        }),
        both_sides.finding(Severity::Error, DatasetFindingCode::SplitOverlap, |count, first| {
            format!(
                "{} trained on too, by document or by text ({first}), so that the validation loss is too good; make the \
                 dataset anew with this version of Clara",
                counted(count, "held-out record")
            )
        }),
        duplicates.finding(Severity::Warning, DatasetFindingCode::DuplicateRecord, |count, first| {
            format!(
                "{} like an earlier one ({first}); what is repeated is learned with more weight than the rest",
                counted(count, "record")
            )
        }),
        long.finding(Severity::Warning, DatasetFindingCode::LongRecord, |count, first| {
            format!(
                "{} of {long_chars} characters or more ({first}); what does not fit a row of the training is cut: lower \
                 ingest.chunk_chars, or raise training.sequence_length",
                counted(count, "record")
            )
        }),
    ];
    findings.into_iter().flatten()
}

fn of_manifest(manifest: &DatasetManifest) -> Vec<DatasetFinding> {
    use DatasetFindingCode::{FewKept, FewRecords, NoRecords, NoValidation, UnbalancedSources};
    let mut findings = Vec::new();
    let mut find = |severity, code, count, message: String| {
        findings.push(DatasetFinding { severity, code, count, message });
    };
    let records = manifest.train_records;
    if records == 0 {
        find(Severity::Error, NoRecords, 0, "there is no record to train on; give other sources".to_owned());
    } else if records < FEW_RECORDS {
        let message = format!(
            "{} to train on, expected at least {FEW_RECORDS}; an adapter learns so little by heart: add sources or loosen \
             the filters",
            counted(records, "record")
        );
        find(Severity::Warning, FewRecords, records, message);
    }
    if manifest.validation_records == 0 {
        let message = "no record is held out, so that nobody sees when the training learns by heart; raise \
                       ingest.validation_share or add documents";
        find(Severity::Warning, NoValidation, 0, message.to_owned());
    }
    let (kept, read) = (manifest.documents_kept, manifest.documents_read);
    if manifest.query.is_none() && share(kept, read) < FEW_KEPT {
        let most = manifest.dropped.iter().max_by_key(|(_, count)| **count);
        let most = most.map(|(reason, count)| format!(", {count} as {reason}")).unwrap_or_default();
        let message =
            format!("{kept} of {} kept{most}; look at the options of that filter", counted(read, "document"));
        find(Severity::Warning, FewKept, kept, message);
    }
    let files = &manifest.source_files;
    let bytes: u64 = files.iter().map(|file| file.size_bytes).sum();
    if let Some(largest) = files.iter().max_by_key(|file| file.size_bytes).filter(|_| files.len() > 1)
        && share(largest.size_bytes, bytes) > UNBALANCED
    {
        let message = format!(
            "{} makes {:.0} % of the bytes of {} source files; weigh the sources with ingest.shape.weights if the others \
             shall count",
            largest.name,
            share(largest.size_bytes, bytes) * 100.0,
            files.len()
        );
        find(Severity::Warning, UnbalancedSources, 1, message);
    }
    findings
}

fn of_golden(
    folder: &Path,
    manifest: &DatasetManifest,
    golden: &[GoldenText],
) -> Result<Option<DatasetFinding>, IngestError> {
    if golden.is_empty() {
        let compared = manifest.golden_overlap.is_some();
        return Ok((!compared).then(|| DatasetFinding {
            severity: Severity::Warning,
            code: DatasetFindingCode::GoldenNotCompared,
            count: 0,
            message: "it was made without a golden dataset and may hold its samples; give --golden-dataset"
                .to_owned(),
        }));
    }
    let paths = [TRAIN, VALIDATION].map(|name| folder.join(name));
    let there = paths.iter().filter(|path| path.metadata().is_ok_and(|file| file.len() > 0));
    let sources: Vec<String> = there.map(|path| path.to_string_lossy().into_owned()).collect();
    if sources.is_empty() {
        return Ok(None);
    }
    let mut named = Named::default();
    for leak in find_leaks(&sources, golden, &IngestOptions::default())?.leaks {
        named.add(&format!("{} ({:.0} %)", leak.sample_id, leak.share * 100.0));
    }
    Ok(named.finding(Severity::Error, DatasetFindingCode::GoldenOverlap, |count, first| {
        format!(
            "{} found in the records, by word sequences ({first}), so that an adapter may know the answers by heart; make \
             the dataset anew with this golden dataset",
            counted(count, "golden sample")
        )
    }))
}

fn teaches_nothing(content: &TrainingContent) -> bool {
    match content {
        TrainingContent::Text { text } => text.trim().is_empty(),
        TrainingContent::PromptCompletion { completion, .. } => completion.trim().is_empty(),
        TrainingContent::Chat { messages } => {
            let mut learned = messages.iter().filter(|message| message.role == "assistant").peekable();
            learned.peek().is_none() || learned.any(|message| message.content.trim().is_empty())
        }
    }
}

fn hash(texts: impl Iterator<Item = String>) -> [u8; 16] {
    let mut hasher = Sha256::new();
    for text in texts {
        hasher.update((text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    let whole: [u8; 32] = hasher.finalize().into();
    let mut short = [0; 16];
    short.copy_from_slice(whole.split_at(16).0);
    short
}
