//! Finds documents with the same or nearly the same text as an earlier one.
//!
//! In memory a document takes four bytes for its text and four for each band of its signature, and at most a third more for free
//! places: under 100 bytes at the default limit. Signatures, shingles and places of documents lie on disk.

#[cfg(test)]
mod agreement;
mod append;
mod known;
mod signature;
mod slots;
mod tables;

#[cfg(test)]
mod tests;

use std::path::Path;

use clara_lifecycle::dataset::TrainingContent;

use crate::{error::IngestError, source::Origin, words::Words};
use append::AppendFile;
use signature::{PERMUTATIONS, Signer, TEXT_BYTES, jaccard};
use tables::Growing;

pub(crate) use known::KnownTexts;
pub(crate) use signature::{Signature, text_digest};

/// Name of the file with the signatures of a dataset's documents, in its folder.
pub(crate) const SIGNATURES_FILE: &str = "signatures.bin";
/// The head of that file: its name and layout 1, each record having so many bytes.
const HEAD: [u8; 16] = *b"CLARASIG\x01\0\0\0\x90\0\0\0";
/// Bytes of a signature: the digest of the text, then the bytes of its least hashes.
const RECORD_BYTES: usize = TEXT_BYTES + PERMUTATIONS;
/// Bytes of an entry in the file of places: where the details begin, how long the origin is, how many shingles follow.
const PLACE_BYTES: usize = 16;
/// An estimate this much below the limit, four standard errors, is not looked at more closely.
const ESTIMATE_MARGIN: f64 = 0.18;

/// The kept documents, asked for those with the same or nearly the same text.
#[derive(Debug)]
pub(crate) struct Duplicates {
    limit: f64,
    signer: Signer,
    tables: Growing,
    signatures: AppendFile,
    places: AppendFile,
    details: AppendFile,
    candidates: Vec<u64>,
}

/// An earlier document that is nearly the same.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Near {
    /// Where it was read.
    pub(crate) origin: String,
    /// How similar both are (0–1, Jaccard of their word 5-grams).
    pub(crate) similarity: f64,
}

impl Duplicates {
    /// No documents yet. Writes `signatures.bin` into `out` and two files that are needed no longer afterwards into `scratch`.
    pub(crate) fn create(limit: f64, out: &Path, scratch: &Path) -> Result<Self, IngestError> {
        let mut signatures = AppendFile::create(out.join(SIGNATURES_FILE))?;
        signatures.append(&HEAD)?;
        Ok(Self {
            limit,
            signer: Signer::new(),
            tables: Growing::new(limit),
            signatures,
            places: AppendFile::create(scratch.join("places.bin"))?,
            details: AppendFile::create(scratch.join("shingles.bin"))?,
            candidates: Vec::new(),
        })
    }

    /// Where a text with this digest was kept before.
    pub(crate) fn same(&mut self, text: [u8; TEXT_BYTES]) -> Result<Option<String>, IngestError> {
        self.candidates.clear();
        self.tables.same_text(text, &mut self.candidates);
        self.order_candidates();
        for index in 0..self.candidates.len() {
            let Some(number) = self.candidates.get(index).copied() else { break };
            if self.signature(number)?.text == text {
                return Ok(Some(self.details(number)?.0));
            }
        }
        Ok(None)
    }

    /// The signature of a document with these words.
    pub(crate) fn sign(
        &mut self,
        text: [u8; TEXT_BYTES],
        content: &TrainingContent,
        words: &Words,
    ) -> Signature {
        self.signer.sign(text, content, words)
    }

    /// Whether the document that was signed last holds words that can be compared.
    pub(crate) fn has_words(&self) -> bool {
        !self.signer.shingles().is_empty()
    }

    /// The first kept document that is as similar as the limit to the one signed last.
    pub(crate) fn near(&mut self, signature: &Signature) -> Result<Option<Near>, IngestError> {
        if self.limit >= 1.0 || !self.has_words() {
            return Ok(None);
        }
        self.candidates.clear();
        self.tables.share_band(signature, &mut self.candidates);
        self.order_candidates();
        for index in 0..self.candidates.len() {
            let Some(number) = self.candidates.get(index).copied() else { break };
            if self.signature(number)?.similarity(&signature.least) < self.limit - ESTIMATE_MARGIN {
                continue;
            }
            let (origin, shingles) = self.details(number)?;
            let similarity = jaccard(&shingles, self.signer.shingles());
            if similarity >= self.limit {
                return Ok(Some(Near { origin, similarity }));
            }
        }
        Ok(None)
    }

    /// Remembers the document that was signed last as kept.
    pub(crate) fn keep(&mut self, signature: &Signature, origin: &Origin) -> Result<(), IngestError> {
        let origin = origin.to_string();
        let shingles = self.signer.shingles();
        let mut place = [0; PLACE_BYTES];
        let (start, lengths) = place.split_at_mut(8);
        start.copy_from_slice(&self.details.len().to_le_bytes());
        let (label, count) = lengths.split_at_mut(4);
        label.copy_from_slice(&count_of(origin.len()).to_le_bytes());
        count.copy_from_slice(&count_of(shingles.len()).to_le_bytes());
        self.places.append(&place)?;
        self.details.append(origin.as_bytes())?;
        for shingle in shingles {
            self.details.append(&shingle.to_le_bytes())?;
        }
        self.signatures.append(&signature.text)?;
        self.signatures.append(&signature.least)?;
        if self.tables.is_full() {
            self.grow()?;
        } else {
            self.tables.insert(signature);
        }
        Ok(())
    }

    /// Finishes `signatures.bin`, without the kept documents of which `left_out` says that they were left out after all; it may end
    /// before the last one.
    pub(crate) fn finish(mut self, left_out: &[bool]) -> Result<(), IngestError> {
        self.signatures.flush()?;
        if !left_out.contains(&true) {
            return Ok(());
        }
        let head = HEAD.len() as u64;
        let all = (self.signatures.len() - head) / RECORD_BYTES as u64;
        let mut end = head;
        for (number, is_left_out) in (0..all).zip(left_out.iter().chain(std::iter::repeat(&false))) {
            if !*is_left_out {
                let record: [u8; RECORD_BYTES] = self.signatures.read(head + number * RECORD_BYTES as u64)?;
                self.signatures.replace(end, &record)?;
                end += RECORD_BYTES as u64;
            }
        }
        self.signatures.cut(end)
    }

    /// Makes the newest tables anew with more room, from the signatures on disk.
    fn grow(&mut self) -> Result<(), IngestError> {
        let all = (self.signatures.len() - HEAD.len() as u64) / RECORD_BYTES as u64;
        let first = self.tables.grow();
        for number in first..all {
            let signature = self.signature(number)?;
            self.tables.insert(&signature);
        }
        Ok(())
    }

    fn order_candidates(&mut self) {
        self.candidates.sort_unstable();
        self.candidates.dedup();
    }

    fn signature(&mut self, number: u64) -> Result<Signature, IngestError> {
        let record: [u8; RECORD_BYTES] =
            self.signatures.read(HEAD.len() as u64 + number * RECORD_BYTES as u64)?;
        Ok(Signature::from_record(&record))
    }

    /// Origin and shingles of a kept document.
    fn details(&mut self, number: u64) -> Result<(String, Vec<u32>), IngestError> {
        let place: [u8; PLACE_BYTES] = self.places.read(number * PLACE_BYTES as u64)?;
        let ([start, lengths], _) = place.as_chunks::<8>() else { return Ok((String::new(), Vec::new())) };
        let lengths = u64::from_le_bytes(*lengths);
        let (label, count) = (lengths & 0xFFFF_FFFF, lengths >> 32);
        let bytes = self.details.read_many(u64::from_le_bytes(*start), label + 4 * count)?;
        let (label, shingles) =
            bytes.split_at_checked(usize::try_from(label).unwrap_or(usize::MAX)).unwrap_or_default();
        let shingles = shingles.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes));
        Ok((String::from_utf8_lossy(label).into_owned(), shingles.collect()))
    }
}

impl Signature {
    fn from_record(record: &[u8; RECORD_BYTES]) -> Self {
        let mut signature = Self { text: [0; TEXT_BYTES], least: [0; PERMUTATIONS] };
        let (text, least) = record.split_at(TEXT_BYTES);
        signature.text.copy_from_slice(text);
        signature.least.copy_from_slice(least);
        signature
    }
}

/// Lengths are those of texts, which are far shorter than 4 GiB.
fn count_of(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
