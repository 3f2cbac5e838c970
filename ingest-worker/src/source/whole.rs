//! Reads files that are one document each: text, Markdown, HTML, PDF.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    io::{self, Read as _},
    path::PathBuf,
};

use clara_lifecycle::{dataset::TrainingContent, digest::Digest};
use tracing::warn;

use super::{
    Broken, Document, MOST_DOCUMENT_BYTES, Origin, Source, SourceFile, SourceItem,
    input::{Failure, Input},
};
use crate::error::IngestError;

/// The text of a file and what is said about it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct WholeText {
    pub(super) text: String,
    pub(super) domain: Option<String>,
    pub(super) licence: Option<String>,
    pub(super) metadata: BTreeMap<String, String>,
    /// What of the file could not be read, if anything.
    pub(super) missing: Option<String>,
    /// What of the text may not have been meant as text, if anything.
    pub(super) doubt: Option<String>,
}

/// Finds the text in the bytes of a file, or what is wrong with them, without their content.
pub(super) type Understand = fn(&[u8]) -> Result<WholeText, String>;

/// A file that is one document.
#[derive(Debug)]
pub(super) struct WholeSource {
    path: PathBuf,
    name: String,
    input: Input,
    understand: Understand,
    at_end: bool,
}

impl WholeSource {
    pub(super) fn open(file: &SourceFile, understand: Understand) -> Result<Self, IngestError> {
        let input = Input::open(&file.path)?;
        Ok(Self { path: file.path.clone(), name: file.name.clone(), input, understand, at_end: false })
    }

    /// The bytes of the document, or what is wrong with them.
    fn bytes(&mut self) -> io::Result<Result<Vec<u8>, String>> {
        let mut bytes = Vec::new();
        match (&mut self.input).take(MOST_DOCUMENT_BYTES + 1).read_to_end(&mut bytes) {
            Err(error) => match self.input.failure(error) {
                Failure::Machine(error) => Err(error),
                Failure::Content(problem) => Ok(Err(problem)),
            },
            Ok(count) if count as u64 > MOST_DOCUMENT_BYTES => {
                Ok(Err(format!("the file is longer than {MOST_DOCUMENT_BYTES} bytes")))
            }
            Ok(_) => Ok(Ok(bytes)),
        }
    }
}

impl Source for WholeSource {
    fn next_item(&mut self) -> Result<Option<SourceItem>, IngestError> {
        if self.at_end {
            return Ok(None);
        }
        self.at_end = true;
        let origin = Origin::file(self.path.to_string_lossy());
        let bytes = self.bytes().map_err(IngestError::read(&self.path))?;
        self.input.drain()?;
        Ok(Some(match bytes.and_then(|bytes| (self.understand)(&bytes)) {
            Err(problem) => SourceItem::Broken(Broken { origin, problem }),
            Ok(WholeText { text, domain, licence, mut metadata, missing, doubt }) => {
                if let Some(missing) = missing {
                    warn!("read {origin} in part: {missing}");
                }
                if let Some(doubt) = doubt {
                    warn!("read {origin} as text alone: {doubt}");
                }
                metadata.insert("file".to_owned(), self.name.clone());
                SourceItem::Document(Document {
                    id: self.name.clone(),
                    origin,
                    domain,
                    licence,
                    classification: None,
                    content: TrainingContent::Text { text },
                    metadata,
                })
            }
        }))
    }

    fn read_so_far(&self) -> (u64, Digest) {
        self.input.read_so_far()
    }
}

/// The text of a `.txt` file.
pub(super) fn plain(bytes: &[u8]) -> Result<WholeText, String> {
    let text = str::from_utf8(bytes)
        .map_err(|error| format!("not valid UTF-8 from byte {}", error.valid_up_to() + 1))?;
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    Ok(WholeText { text, ..WholeText::default() })
}
