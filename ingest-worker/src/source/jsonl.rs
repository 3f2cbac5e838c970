//! Reads JSONL files: one document per line, its shape told by its fields.

#[cfg(test)]
mod tests;

use std::{
    io::{self, BufRead as _, Read as _},
    sync::Arc,
};

use clara_lifecycle::{digest::Digest, spec::FieldNames};

use super::{Broken, MOST_DOCUMENT_BYTES, Origin, Source, SourceFile, SourceItem, input::Input, record};
use crate::error::IngestError;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A JSONL file that is read line by line.
#[derive(Debug)]
pub(super) struct JsonlSource {
    name: String,
    shown_path: Arc<str>,
    fields: Arc<FieldNames>,
    input: Input,
    line: u64,
    buffer: Vec<u8>,
    most_line_bytes: u64,
}

/// What the next line is, its bytes aside.
enum Line {
    Whole,
    TooLong,
    End,
}

impl JsonlSource {
    pub(super) fn open(file: &SourceFile) -> Result<Self, IngestError> {
        Ok(Self {
            shown_path: file.path.to_string_lossy().into(),
            name: file.name.clone(),
            fields: Arc::clone(&file.fields),
            input: Input::open(&file.path)?,
            line: 0,
            buffer: Vec::new(),
            most_line_bytes: MOST_DOCUMENT_BYTES,
        })
    }

    fn read_line(&mut self) -> io::Result<Line> {
        self.buffer.clear();
        let read = (&mut self.input).take(self.most_line_bytes).read_until(b'\n', &mut self.buffer)?;
        if read == 0 {
            return Ok(Line::End);
        }
        self.line += 1;
        if self.line == 1 && self.buffer.starts_with(BYTE_ORDER_MARK) {
            self.buffer.drain(..BYTE_ORDER_MARK.len());
        }
        if read as u64 == self.most_line_bytes && !self.buffer.ends_with(b"\n") {
            self.input.skip_until(b'\n')?;
            return Ok(Line::TooLong);
        }
        Ok(Line::Whole)
    }

    fn item(&self) -> SourceItem {
        let origin = Origin::line(Arc::clone(&self.shown_path), self.line);
        let parsed = str::from_utf8(&self.buffer)
            .map_err(|error| format!("not valid UTF-8 from byte {}", error.valid_up_to() + 1))
            .and_then(|line| record::parse(line, &self.fields));
        match parsed {
            Err(problem) => SourceItem::Broken(Broken { origin, problem }),
            Ok(record) => SourceItem::Document(record.document(origin, &self.name)),
        }
    }
}

impl Source for JsonlSource {
    fn next_item(&mut self) -> Result<Option<SourceItem>, IngestError> {
        loop {
            match self.read_line().map_err(|error| self.input.fatal(error))? {
                Line::End => return Ok(None),
                Line::Whole if self.buffer.trim_ascii().is_empty() => {}
                Line::Whole => return Ok(Some(self.item())),
                Line::TooLong => {
                    let origin = Origin::line(Arc::clone(&self.shown_path), self.line);
                    let problem = format!("the line is longer than {} bytes", self.most_line_bytes);
                    return Ok(Some(SourceItem::Broken(Broken { origin, problem })));
                }
            }
        }
    }

    fn read_so_far(&self) -> (u64, Digest) {
        self.input.read_so_far()
    }
}
