//! Reads text files, `.md` and `.txt`: the whole file is one document.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _},
    path::PathBuf,
};

use clara_lifecycle::{dataset::TrainingContent, digest::Digest};

use super::{Broken, Document, HashingReader, MOST_DOCUMENT_BYTES, Origin, Source, SourceFile, SourceItem};
use crate::error::IngestError;

/// A text file.
#[derive(Debug)]
pub(super) struct PlainSource {
    path: PathBuf,
    name: String,
    reader: HashingReader<File>,
    at_end: bool,
}

impl PlainSource {
    pub(super) fn open(file: &SourceFile) -> Result<Self, IngestError> {
        let reader = File::open(&file.path).map_err(IngestError::read(&file.path))?;
        Ok(Self {
            path: file.path.clone(),
            name: file.name.clone(),
            reader: HashingReader::new(reader),
            at_end: false,
        })
    }

    /// The text of the file, or what is wrong with it; reads on to its end either way.
    fn read_text(&mut self) -> io::Result<Result<String, String>> {
        let mut bytes = Vec::new();
        (&mut self.reader).take(MOST_DOCUMENT_BYTES).read_to_end(&mut bytes)?;
        if io::copy(&mut self.reader, &mut io::sink())? > 0 {
            return Ok(Err(format!("the file is longer than {MOST_DOCUMENT_BYTES} bytes")));
        }
        let text = String::from_utf8(bytes)
            .map_err(|error| format!("not valid UTF-8 from byte {}", error.utf8_error().valid_up_to() + 1));
        Ok(text.map(|text| text.trim_start_matches('\u{feff}').replace("\r\n", "\n")))
    }
}

impl Source for PlainSource {
    fn next_item(&mut self) -> Result<Option<SourceItem>, IngestError> {
        if self.at_end {
            return Ok(None);
        }
        self.at_end = true;
        let origin = Origin::file(self.path.to_string_lossy());
        Ok(Some(match self.read_text().map_err(IngestError::read(&self.path))? {
            Err(problem) => SourceItem::Broken(Broken { origin, problem }),
            Ok(text) => SourceItem::Document(Document {
                id: self.name.clone(),
                origin,
                domain: None,
                licence: None,
                classification: None,
                content: TrainingContent::Text { text },
                metadata: BTreeMap::from([("file".to_owned(), self.name.clone())]),
            }),
        }))
    }

    fn read_so_far(&self) -> (u64, Digest) {
        self.reader.read_so_far()
    }
}
