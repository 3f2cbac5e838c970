//! Writes the files of a dataset; the same input gives the same bytes.

mod plan;
mod sides;
#[cfg(test)]
mod tests;
mod zst;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead as _, BufReader, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use clara_lifecycle::{
    dataset::{DatasetManifest, DropReason, DroppedDocument, ShapeReport, TrainingRecord},
    digest::Digest,
    spec::IngestOptions,
};
use serde_json::to_vec;
use sha2::{Digest as _, Sha256};

use self::{
    plan::{Decided, Fate, Plan},
    sides::{Sides, Waiting},
    zst::ZstFile,
};
use crate::{
    card::SeenRecords, error::IngestError, ingest::IngestObserver, order::Order, tokens::TokenCounter,
};

pub(crate) use plan::Kept;

/// So many documents are named for each reason to drop one.
const DROPPED_SAMPLES: usize = 10;

/// Collects kept and dropped documents. Kept ones wait in a scratch file until all are known, can be mixed and split.
#[derive(Debug)]
pub(crate) struct DatasetWriter {
    folder: PathBuf,
    waiting: JsonlFile,
    dropped: ZstFile,
    dropped_counts: BTreeMap<DropReason, u64>,
    dropped_samples: BTreeMap<DropReason, Vec<String>>,
    plan: Plan,
    /// Ids and origins of the kept documents, where a mixture may drop them.
    names: Option<JsonlFile>,
    order: Order,
    /// What the kept records are, where no mixture drops some of them later.
    seen: SeenRecords,
}

/// What was written.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) documents_kept: u64,
    pub(crate) validation_documents: u64,
    /// For each document that was kept, whether the mixture left it out.
    pub(crate) left_out: Vec<bool>,
    pub(crate) dropped: BTreeMap<DropReason, u64>,
    pub(crate) dropped_samples: BTreeMap<DropReason, Vec<String>>,
    pub(crate) train: WrittenFile,
    pub(crate) validation: WrittenFile,
    pub(crate) seen: SeenRecords,
    pub(crate) shape: ShapeReport,
}

/// Lines and SHA-256 of a written file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WrittenFile {
    pub(crate) records: u64,
    pub(crate) digest: Digest,
}

impl DatasetWriter {
    /// Starts `dropped.jsonl.zst` in `folder` and the scratch files in `scratch`.
    pub(crate) fn create(
        folder: &Path,
        scratch: &Path,
        options: &IngestOptions,
    ) -> Result<Self, IngestError> {
        for folder in [folder, scratch] {
            std::fs::create_dir_all(folder).map_err(IngestError::write(folder))?;
        }
        let plan = Plan::new(options);
        let names = if plan.mixes() { Some(JsonlFile::create(scratch.join("names.jsonl"))?) } else { None };
        Ok(Self {
            folder: folder.to_owned(),
            waiting: JsonlFile::create(scratch.join("kept.jsonl"))?,
            dropped: ZstFile::create(folder.join("dropped.jsonl.zst"))?,
            dropped_counts: BTreeMap::new(),
            dropped_samples: BTreeMap::new(),
            plan,
            names,
            order: Order::new(options.shape.order, options.seed),
            seen: SeenRecords::default(),
        })
    }

    /// Keeps one document with its records.
    pub(crate) fn keep(
        &mut self,
        document: &Kept<'_>,
        records: &[TrainingRecord],
    ) -> Result<(), IngestError> {
        let number = self.plan.documents();
        for record in records {
            if self.names.is_none() {
                self.seen.see(record);
            }
            let mut line = format!("{number} ").into_bytes();
            line.extend(json(&self.waiting.path, record)?);
            self.waiting.write_line(&line)?;
        }
        if let Some(names) = &mut self.names {
            let line = json(&names.path, &(document.id, &document.origin))?;
            names.write_line(&line)?;
        }
        self.plan.add(document);
        Ok(())
    }

    /// Notes one document that was left out.
    pub(crate) fn drop(&mut self, document: &DroppedDocument) -> Result<(), IngestError> {
        *self.dropped_counts.entry(document.reason).or_default() += 1;
        let samples = self.dropped_samples.entry(document.reason).or_default();
        if samples.len() < DROPPED_SAMPLES {
            samples.push(document.document_id.clone());
        }
        self.dropped.write_line(&json(self.dropped.path(), document)?)
    }

    /// Counts of the documents left out so far.
    pub(crate) fn dropped(&self) -> &BTreeMap<DropReason, u64> {
        &self.dropped_counts
    }

    /// Documents kept so far.
    pub(crate) fn kept(&self) -> usize {
        self.plan.documents()
    }

    /// Mixes and splits the kept documents, and writes `train.jsonl` in the order that is asked for and
    /// `validation.jsonl` in the order of the sources.
    pub(crate) fn finish(
        mut self,
        base_model: Option<&str>,
        observer: &dyn IngestObserver,
    ) -> Result<Written, IngestError> {
        let late = self.names.is_some().then(SeenRecords::default);
        let decided = std::mem::take(&mut self.plan).decide()?;
        self.drop_beyond_share(&decided)?;
        self.dropped.finish()?;
        let path = self.waiting.path.clone();
        self.waiting.finish()?;
        let waiting = Waiting { path: &path, fates: &decided.fates, observer };
        let mut sides = Sides {
            train: JsonlFile::create(self.folder.join("train.jsonl"))?,
            validation: JsonlFile::create(self.folder.join("validation.jsonl"))?,
            tokens: TokenCounter::open(base_model),
            late,
        };
        waiting.write(&mut self.order, &mut sides)?;
        let count = |fate| decided.fates.iter().filter(|found| **found == fate).count() as u64;
        let mut shape = decided.report;
        match sides.tokens {
            Ok(counter) => shape.tokens = counter.report(),
            Err(why) => shape.tokens_not_counted = Some(why),
        }
        Ok(Written {
            documents_kept: count(Fate::Train) + count(Fate::Validation),
            validation_documents: count(Fate::Validation),
            left_out: decided.fates.iter().map(|fate| *fate == Fate::BeyondShare).collect(),
            dropped: self.dropped_counts,
            dropped_samples: self.dropped_samples,
            train: sides.train.finish()?,
            validation: sides.validation.finish()?,
            shape,
            seen: sides.late.unwrap_or(self.seen),
        })
    }

    /// Notes the documents that the mixture leaves out.
    fn drop_beyond_share(&mut self, decided: &Decided) -> Result<(), IngestError> {
        let Some(names) = self.names.take() else { return Ok(()) };
        let path = names.path.clone();
        names.finish()?;
        let file = File::open(&path).map_err(IngestError::read(&path))?;
        for (line, fate) in BufReader::new(file).split(b'\n').zip(&decided.fates) {
            let line = line.map_err(IngestError::read(&path))?;
            if *fate == Fate::BeyondShare {
                let (document_id, origin) =
                    serde_json::from_slice(&line).map_err(|error| IngestError::read(&path)(error.into()))?;
                let detail = "its source makes its share of the mixture without it".to_owned();
                self.drop(&DroppedDocument { document_id, origin, reason: DropReason::BeyondShare, detail })?;
            }
        }
        Ok(())
    }
}

/// Writes `manifest.json`.
pub(crate) fn write_manifest(folder: &Path, manifest: &DatasetManifest) -> Result<(), IngestError> {
    let path = folder.join("manifest.json");
    let mut bytes =
        serde_json::to_vec_pretty(manifest).map_err(|error| IngestError::write(&path)(error.into()))?;
    bytes.push(b'\n');
    std::fs::write(&path, bytes).map_err(IngestError::write(&path))
}

fn json(path: &Path, value: &impl serde::Serialize) -> Result<Vec<u8>, IngestError> {
    to_vec(value).map_err(|error| IngestError::write(path)(error.into()))
}

/// A file of lines that knows its digest.
#[derive(Debug)]
struct JsonlFile {
    path: PathBuf,
    writer: BufWriter<File>,
    hasher: Sha256,
    lines: u64,
}

impl JsonlFile {
    fn create(path: PathBuf) -> Result<Self, IngestError> {
        let file = File::create(&path).map_err(IngestError::write(&path))?;
        Ok(Self { path, writer: BufWriter::new(file), hasher: Sha256::new(), lines: 0 })
    }

    fn write_line(&mut self, line: &[u8]) -> Result<(), IngestError> {
        for bytes in [line, b"\n"] {
            self.writer.write_all(bytes).map_err(IngestError::write(&self.path))?;
            self.hasher.update(bytes);
        }
        self.lines += 1;
        Ok(())
    }

    fn finish(mut self) -> Result<WrittenFile, IngestError> {
        self.writer.flush().map_err(IngestError::write(&self.path))?;
        Ok(WrittenFile { records: self.lines, digest: Digest::from_hash(self.hasher.finalize().as_ref()) })
    }
}
