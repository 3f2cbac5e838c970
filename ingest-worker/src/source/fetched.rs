//! Reads what a server gave: one document per line in the default names, written by this program.

#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    sync::Arc,
};

use clara_lifecycle::{digest::Digest, spec::FieldNames};

use super::{Broken, Document, HashingReader, Origin, Source, SourceFile, SourceItem, record};
use crate::{
    error::IngestError,
    fetch::{BrokenLine, is_broken},
};

/// The documents of one server.
#[derive(Debug)]
pub(super) struct FetchedSource {
    path: PathBuf,
    server: Arc<str>,
    fields: Arc<FieldNames>,
    reader: BufReader<HashingReader<File>>,
    line: u64,
    buffer: Vec<u8>,
}

impl FetchedSource {
    pub(super) fn open(file: &SourceFile) -> Result<Self, IngestError> {
        let reader = File::open(&file.path).map_err(IngestError::read(&file.path))?;
        Ok(Self {
            path: file.path.clone(),
            server: file.name.as_str().into(),
            fields: Arc::clone(&file.fields),
            reader: BufReader::new(HashingReader::new(reader)),
            line: 0,
            buffer: Vec::new(),
        })
    }

    fn item(&self) -> SourceItem {
        let origin = Origin::line(Arc::clone(&self.server), self.line);
        if is_broken(&self.buffer) {
            let problem = match serde_json::from_slice::<BrokenLine>(&self.buffer) {
                Ok(BrokenLine { broken: (id, problem) }) => format!("document {id}: {problem}"),
                Err(_) => "a broken document whose problem cannot be read".to_owned(),
            };
            return SourceItem::Broken(Broken { origin, problem });
        }
        let parsed = str::from_utf8(&self.buffer)
            .map_err(|error| format!("not valid UTF-8 from byte {}", error.valid_up_to() + 1))
            .and_then(|line| record::parse(line, &self.fields));
        match parsed {
            Err(problem) => SourceItem::Broken(Broken { origin, problem }),
            Ok(record) => SourceItem::Document(Document {
                id: record.id.unwrap_or_else(|| format!("{}:{}", self.server, self.line)),
                origin,
                domain: record.domain,
                licence: record.licence,
                classification: record.classification,
                content: record.content,
                metadata: record.metadata,
            }),
        }
    }
}

impl Source for FetchedSource {
    fn next_item(&mut self) -> Result<Option<SourceItem>, IngestError> {
        self.buffer.clear();
        // No line is longer than a document may be: longer ones were written as broken.
        let read = self.reader.read_until(b'\n', &mut self.buffer).map_err(IngestError::read(&self.path))?;
        if read == 0 {
            return Ok(None);
        }
        self.line += 1;
        Ok(Some(self.item()))
    }

    fn read_so_far(&self) -> (u64, Digest) {
        self.reader.get_ref().read_so_far()
    }
}
