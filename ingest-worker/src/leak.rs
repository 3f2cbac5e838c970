//! Measures how much of a golden dataset given training data holds, as the ingest stage measures it.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use clara_lifecycle::spec::IngestOptions;

use crate::{
    error::IngestError,
    ingest::GoldenText,
    overlap::OverlapCheck,
    source::{SourceItem, SourceReader, discover},
    words::Words,
};

/// What training data holds of a golden dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct LeakReport {
    /// Documents that were read.
    pub documents: u64,
    /// Lines and files that could not be understood.
    pub broken: u64,
    /// For each sample that is held by the limit or more the document that holds most of it, in the order of the samples.
    pub leaks: Vec<Leak>,
}

/// A golden sample in the training data.
#[derive(Debug, Clone, PartialEq)]
pub struct Leak {
    /// The sample.
    pub sample_id: String,
    /// Share (0–1) of the n-grams of its prompt or its expected output, whichever is greater.
    pub share: f64,
    /// The document that holds most of it: `file:line`, or `file` where the file is one document.
    pub origin: String,
    /// How many documents hold so much of it that ingest would leave them out.
    pub documents: u64,
}

/// Reads the files and folders `sources` and compares each document with all samples, by the n-grams, the limit and the
/// field names of `options`. Blocks.
///
/// # Errors
/// When a source is missing, of an unknown kind, empty or unreadable.
pub fn find_leaks(
    sources: &[String],
    samples: &[GoldenText],
    options: &IngestOptions,
) -> Result<LeakReport, IngestError> {
    let found = discover(sources, &options.fields)?;
    let check = OverlapCheck::new(samples, options.overlap_ngram_words, options.overlap_limit);
    let mut reader = SourceReader::new(&found.files);
    let mut words = Words::default();
    let (mut documents, mut broken) = (0, 0);
    let mut leaks: BTreeMap<String, Leak> = BTreeMap::new();
    while let Some(item) = reader.next_item()? {
        let SourceItem::Document(document) = item else {
            broken += 1;
            continue;
        };
        documents += 1;
        words.read(&document.content);
        // Prompt and expected output are parts of one sample, and count once per document.
        let mut shares: BTreeMap<String, f64> = BTreeMap::new();
        for overlap in check.find_all(&words) {
            let share = shares.entry(overlap.sample_id).or_default();
            *share = share.max(overlap.share);
        }
        for (sample_id, share) in shares {
            let origin = document.origin.to_string();
            let leak = Leak { sample_id: sample_id.clone(), share, origin, documents: 0 };
            let most = leaks.entry(sample_id).or_insert_with(|| leak.clone());
            let count = most.documents + 1;
            if share > most.share {
                *most = leak;
            }
            most.documents = count;
        }
    }
    let leaks = samples.iter().filter_map(|sample| leaks.remove(&sample.sample_id)).collect();
    Ok(LeakReport { documents, broken, leaks })
}
