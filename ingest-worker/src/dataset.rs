//! Writes the files of a dataset; the same input gives the same bytes.

#[cfg(test)]
mod tests;
mod zst;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead as _, BufReader, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use clara_lifecycle::{
    dataset::{DatasetManifest, DropReason, DroppedDocument, ShapeReport, TrainingRecord},
    digest::Digest,
};
use serde_json::to_vec;
use sha2::{Digest as _, Sha256};

use crate::{
    error::IngestError,
    split::{SplitKey, held_out},
};

use zst::ZstFile;

/// So many documents are named for each reason to drop one.
const DROPPED_SAMPLES: usize = 10;

/// Collects kept and dropped documents. Kept ones wait in a scratch file until all are known and can be split.
#[derive(Debug)]
pub(crate) struct DatasetWriter {
    folder: PathBuf,
    waiting: JsonlFile,
    dropped: ZstFile,
    dropped_counts: BTreeMap<DropReason, u64>,
    dropped_samples: BTreeMap<DropReason, Vec<String>>,
    keys: Vec<SplitKey>,
}

/// What was written.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) documents_kept: u64,
    pub(crate) validation_documents: u64,
    pub(crate) dropped: BTreeMap<DropReason, u64>,
    pub(crate) dropped_samples: BTreeMap<DropReason, Vec<String>>,
    pub(crate) train: WrittenFile,
    pub(crate) validation: WrittenFile,
    pub(crate) shape: ShapeReport,
}

/// Lines and SHA-256 of a written file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WrittenFile {
    pub(crate) records: u64,
    pub(crate) digest: Digest,
}

impl DatasetWriter {
    /// Starts `dropped.jsonl.zst` in `folder` and the scratch file in `scratch`.
    pub(crate) fn create(folder: &Path, scratch: &Path) -> Result<Self, IngestError> {
        for folder in [folder, scratch] {
            std::fs::create_dir_all(folder).map_err(IngestError::write(folder))?;
        }
        Ok(Self {
            folder: folder.to_owned(),
            waiting: JsonlFile::create(scratch.join("kept.jsonl"))?,
            dropped: ZstFile::create(folder.join("dropped.jsonl.zst"))?,
            dropped_counts: BTreeMap::new(),
            dropped_samples: BTreeMap::new(),
            keys: Vec::new(),
        })
    }

    /// Keeps one document with its records.
    pub(crate) fn keep(&mut self, key: SplitKey, records: &[TrainingRecord]) -> Result<(), IngestError> {
        let document = self.keys.len();
        for record in records {
            let mut line = format!("{document} ").into_bytes();
            line.extend(json(&self.waiting.path, record)?);
            self.waiting.write_line(&line)?;
        }
        self.keys.push(key);
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
        self.keys.len()
    }

    /// Splits the kept documents and writes `train.jsonl` and `validation.jsonl`, in the order of the sources.
    pub(crate) fn finish(self, validation_share: f64) -> Result<Written, IngestError> {
        self.dropped.finish()?;
        let waiting = self.waiting.path.clone();
        self.waiting.finish()?;
        let held_out = held_out(&self.keys, validation_share);
        let mut train = JsonlFile::create(self.folder.join("train.jsonl"))?;
        let mut validation = JsonlFile::create(self.folder.join("validation.jsonl"))?;
        let file = File::open(&waiting).map_err(IngestError::read(&waiting))?;
        for line in BufReader::new(file).split(b'\n') {
            let line = line.map_err(IngestError::read(&waiting))?;
            let (document, record) = waiting_record(&line).map_err(IngestError::read(&waiting))?;
            let is_held_out = held_out.get(document).copied().unwrap_or_default();
            let file = if is_held_out { &mut validation } else { &mut train };
            file.write_line(record)?;
        }
        Ok(Written {
            documents_kept: self.keys.len() as u64,
            validation_documents: held_out.iter().filter(|flag| **flag).count() as u64,
            dropped: self.dropped_counts,
            dropped_samples: self.dropped_samples,
            train: train.finish()?,
            validation: validation.finish()?,
            shape: ShapeReport::default(),
        })
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

/// Number of the document and its record, as [`DatasetWriter::keep`] wrote them.
fn waiting_record(line: &[u8]) -> io::Result<(usize, &[u8])> {
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "a line was damaged after it was written");
    let blank = line.iter().position(|byte| *byte == b' ').ok_or_else(damaged)?;
    let (number, record) = line.split_at(blank);
    let number = str::from_utf8(number).ok().and_then(|number| number.parse().ok()).ok_or_else(damaged)?;
    Ok((number, record.trim_ascii_start()))
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
