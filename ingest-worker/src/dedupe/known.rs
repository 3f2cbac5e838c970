//! The documents of earlier datasets, by the signatures that were kept of them.

use std::{fs::File, os::unix::fs::FileExt as _, path::PathBuf};

use super::{HEAD, RECORD_BYTES, Signature, slots::MOST_NUMBERS, tables::Tables};
use crate::error::IngestError;

/// So many records are read at once.
const RECORDS_PER_READ: u64 = 4096;

/// The documents of earlier datasets.
#[derive(Debug)]
pub(crate) struct KnownTexts {
    limit: f64,
    /// One for each file, or for part of a very long one.
    parts: Vec<Part>,
    candidates: Vec<u32>,
}

#[derive(Debug)]
struct Part {
    path: PathBuf,
    file: File,
    first: u64,
    tables: Tables,
}

impl KnownTexts {
    /// Reads `signatures.bin` of earlier datasets. A later document that is as similar as `limit` to one of them is known; at 1 it must have
    /// the same text.
    ///
    /// # Errors
    /// [`IngestError::EarlierSignatures`] when a file is none, [`IngestError::Read`] when it cannot be read.
    pub(crate) fn open(paths: &[PathBuf], limit: f64) -> Result<Self, IngestError> {
        let mut known = Self { limit, parts: Vec::new(), candidates: Vec::new() };
        for path in paths {
            known.add(path)?;
        }
        Ok(known)
    }

    /// How similar the most similar earlier document is (0–1, 1 for the same text), when it is known.
    pub(crate) fn similarity(
        &mut self,
        signature: &Signature,
        has_words: bool,
    ) -> Result<Option<f64>, IngestError> {
        let mut greatest: Option<f64> = None;
        for part in &self.parts {
            self.candidates.clear();
            part.tables.same_text(signature.text, |number| self.candidates.push(number));
            if self.limit < 1.0 && has_words {
                part.tables.share_band(&signature.least, |number| self.candidates.push(number));
            }
            self.candidates.sort_unstable();
            self.candidates.dedup();
            for number in &self.candidates {
                let earlier = part.signature(*number)?;
                let is_same = earlier.text == signature.text;
                let similarity = if is_same { 1.0 } else { signature.similarity(&earlier.least) };
                let is_known = is_same || self.limit < 1.0 && has_words && similarity >= self.limit;
                if is_known && greatest.is_none_or(|greatest| similarity > greatest) {
                    greatest = Some(similarity);
                }
            }
        }
        Ok(greatest)
    }

    fn add(&mut self, path: &PathBuf) -> Result<(), IngestError> {
        let refuse = |problem: String| IngestError::EarlierSignatures { path: path.clone(), problem };
        let file = File::open(path).map_err(IngestError::read(path))?;
        let bytes = file.metadata().map_err(IngestError::read(path))?.len();
        let head_bytes = HEAD.len() as u64;
        let mut head = [0; HEAD.len()];
        if bytes < head_bytes {
            return Err(refuse(format!("expected a head of {head_bytes} bytes, found {bytes} bytes in all")));
        }
        file.read_exact_at(&mut head, 0).map_err(IngestError::read(path))?;
        if head != HEAD {
            return Err(refuse("expected the head of layout 1, found another".to_owned()));
        }
        let records = (bytes - head_bytes) / RECORD_BYTES as u64;
        if records * RECORD_BYTES as u64 + head_bytes != bytes {
            return Err(refuse(format!(
                "expected whole records of {RECORD_BYTES} bytes, found a part of one at its end"
            )));
        }
        let mut first = 0;
        while first < records {
            let count = u32::try_from(records - first).unwrap_or(u32::MAX).min(MOST_NUMBERS);
            let file = file.try_clone().map_err(IngestError::read(path))?;
            let mut part = Part { path: path.clone(), file, first, tables: Tables::new(count, self.limit) };
            part.fill(count)?;
            self.parts.push(part);
            first += u64::from(count);
        }
        Ok(())
    }
}

impl Part {
    fn fill(&mut self, count: u32) -> Result<(), IngestError> {
        let mut number = 0;
        while number < count {
            let records = u64::from(count - number).min(RECORDS_PER_READ);
            let mut bytes = vec![0; usize::try_from(records).unwrap_or_default() * RECORD_BYTES];
            self.read(number, &mut bytes)?;
            for record in bytes.as_chunks::<RECORD_BYTES>().0 {
                self.tables.insert(&Signature::from_record(record), number);
                number += 1;
            }
        }
        Ok(())
    }

    fn signature(&self, number: u32) -> Result<Signature, IngestError> {
        let mut record = [0; RECORD_BYTES];
        self.read(number, &mut record)?;
        Ok(Signature::from_record(&record))
    }

    fn read(&self, number: u32, bytes: &mut [u8]) -> Result<(), IngestError> {
        let offset = HEAD.len() as u64 + (self.first + u64::from(number)) * RECORD_BYTES as u64;
        self.file.read_exact_at(bytes, offset).map_err(IngestError::read(&self.path))
    }
}
