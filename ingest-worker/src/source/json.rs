//! Reads `.json` files: the elements of a list, or objects one after the other, each a record.

#[cfg(test)]
mod tests;

use std::{io::BufRead as _, sync::Arc};

use clara_lifecycle::{digest::Digest, spec::FieldNames};

use super::{Broken, MOST_DOCUMENT_BYTES, Origin, Source, SourceFile, SourceItem, input::Input, record};
use crate::error::IngestError;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A JSON file that is read element by element.
#[derive(Debug)]
pub(super) struct JsonSource {
    name: String,
    shown_path: Arc<str>,
    fields: Arc<FieldNames>,
    input: Input,
    layout: Layout,
    /// Elements met so far.
    elements: u64,
    buffer: Vec<u8>,
    most_element_bytes: u64,
}

/// What surrounds the elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Nothing was read yet.
    Start,
    /// `[…, …]`.
    List,
    /// Objects with blanks between them, or a single one.
    Sequence,
    /// It is no JSON that holds records.
    Foreign,
    /// Nothing follows.
    End,
}

/// Where within an element a byte is.
#[derive(Debug, Default)]
struct Scan {
    depth: u64,
    in_text: bool,
    after_backslash: bool,
}

impl JsonSource {
    pub(super) fn open(file: &SourceFile) -> Result<Self, IngestError> {
        Ok(Self {
            name: file.name.clone(),
            shown_path: file.path.to_string_lossy().into(),
            fields: Arc::clone(&file.fields),
            input: Input::open(&file.path)?,
            layout: Layout::Start,
            elements: 0,
            buffer: Vec::new(),
            most_element_bytes: MOST_DOCUMENT_BYTES,
        })
    }

    /// Goes to the next element; says whether there is one.
    fn find_element(&mut self) -> Result<bool, IngestError> {
        if self.layout == Layout::Start {
            self.find_layout()?;
        }
        let is_first = self.elements == 0;
        let next = self.peek()?;
        match (self.layout, next) {
            (Layout::Start | Layout::Foreign | Layout::End, _) | (Layout::Sequence, None) => Ok(false),
            (Layout::Sequence, Some(b'{')) => Ok(true),
            (Layout::List, Some(b']')) => {
                self.input.consume(1);
                self.layout = Layout::End;
                match self.peek()? {
                    None => Ok(false),
                    Some(_) => Err(self.damaged("expected nothing after the list")),
                }
            }
            (Layout::List, Some(b',')) if !is_first => {
                self.input.consume(1);
                match self.peek()? {
                    Some(b',' | b']') => Err(self.damaged("expected an element after the comma")),
                    Some(_) => Ok(true),
                    None => Err(self.damaged("the list ends too early")),
                }
            }
            (Layout::List, Some(_)) if is_first => Ok(true),
            (Layout::List, Some(_)) => Err(self.damaged("expected a comma or the end of the list")),
            (Layout::List, None) => Err(self.damaged("the list ends too early")),
            (Layout::Sequence, Some(_)) => Err(self.damaged("expected an object or the end of the file")),
        }
    }

    fn find_layout(&mut self) -> Result<(), IngestError> {
        if self.input.available()?.starts_with(BYTE_ORDER_MARK) {
            self.input.consume(BYTE_ORDER_MARK.len());
        }
        self.layout = match self.peek()? {
            None => Layout::End,
            Some(b'{') => Layout::Sequence,
            Some(b'[') => {
                self.input.consume(1);
                Layout::List
            }
            Some(_) => Layout::Foreign,
        };
        Ok(())
    }

    /// Reads the element that comes next into the buffer; says whether it fits.
    fn read_element(&mut self) -> Result<bool, IngestError> {
        self.buffer.clear();
        self.elements += 1;
        let mut scan = Scan::default();
        let mut bytes = 0;
        loop {
            let available = self.input.available()?;
            if available.is_empty() {
                return Err(self.damaged("the text ends within it"));
            }
            let (count, is_end) = scan.take(available);
            bytes += count as u64;
            if bytes <= self.most_element_bytes {
                self.buffer.extend_from_slice(available.get(..count).unwrap_or_default());
            }
            self.input.consume(count);
            if is_end {
                return Ok(bytes <= self.most_element_bytes);
            }
        }
    }

    /// The next byte that is no blank, which stays unread.
    fn peek(&mut self) -> Result<Option<u8>, IngestError> {
        loop {
            let available = self.input.available()?;
            if available.is_empty() {
                return Ok(None);
            }
            let blanks = available.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            let next = available.get(blanks).copied();
            self.input.consume(blanks);
            if next.is_some() {
                return Ok(next);
            }
        }
    }

    /// A file that is no JSON is one broken document.
    fn foreign(&mut self) -> Result<Option<SourceItem>, IngestError> {
        if self.layout != Layout::Foreign {
            return Ok(None);
        }
        self.layout = Layout::End;
        self.input.drain()?;
        let origin = Origin::file(Arc::clone(&self.shown_path));
        let problem = "expected a list of objects, or an object, at its start".to_owned();
        Ok(Some(SourceItem::Broken(Broken { origin, problem })))
    }

    fn damaged(&self, problem: &str) -> IngestError {
        let place = match self.elements {
            0 => "before its first element".to_owned(),
            number => format!("at element {number}"),
        };
        self.input.damaged(format!("it is no valid JSON {place}: {problem}"))
    }

    fn item(&self) -> SourceItem {
        let origin = Origin::line(Arc::clone(&self.shown_path), self.elements);
        let parsed = str::from_utf8(&self.buffer)
            .map_err(|error| format!("not valid UTF-8 from byte {} of the element", error.valid_up_to() + 1))
            .and_then(|element| record::parse(element, &self.fields));
        match parsed {
            Err(problem) => SourceItem::Broken(Broken { origin, problem }),
            Ok(record) => SourceItem::Document(record.document(origin, &self.name)),
        }
    }
}

impl Source for JsonSource {
    fn next_item(&mut self) -> Result<Option<SourceItem>, IngestError> {
        if !self.find_element()? {
            return self.foreign();
        }
        if self.read_element()? {
            return Ok(Some(self.item()));
        }
        let origin = Origin::line(Arc::clone(&self.shown_path), self.elements);
        let problem = format!("the element is longer than {} bytes", self.most_element_bytes);
        Ok(Some(SourceItem::Broken(Broken { origin, problem })))
    }

    fn read_so_far(&self) -> (u64, Digest) {
        self.input.read_so_far()
    }
}

impl Scan {
    /// How many of the bytes belong to the element, and whether it ends there.
    fn take(&mut self, bytes: &[u8]) -> (usize, bool) {
        for (count, byte) in bytes.iter().enumerate() {
            if self.in_text {
                match byte {
                    _ if self.after_backslash => self.after_backslash = false,
                    b'\\' => self.after_backslash = true,
                    b'"' => {
                        self.in_text = false;
                        if self.depth == 0 {
                            return (count + 1, true);
                        }
                    }
                    _ => {}
                }
                continue;
            }
            match byte {
                // What ends a number, or the list after it.
                b'}' | b']' | b',' | b' ' | b'\n' | b'\r' | b'\t' if self.depth == 0 => return (count, true),
                b'"' => self.in_text = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return (count + 1, true);
                    }
                }
                _ => {}
            }
        }
        (bytes.len(), false)
    }
}
