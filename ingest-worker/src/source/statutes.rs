//! Reads statutes as XML of the form of gesetze-im-internet.de: each section with a text is a document.

mod markup;
mod norm;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    io::{self, BufRead, Read},
    path::PathBuf,
};

use clara_lifecycle::digest::Digest;
use quick_xml::{Error, Reader, events::Event};

use self::norm::{Norm, Statute};
use super::{Broken, MOST_DOCUMENT_BYTES, Origin, Source, SourceFile, SourceItem, input::Input};
use crate::error::IngestError;

const ROOT: &[u8] = b"dokumente";
const NORM: &[u8] = b"norm";
/// Attribute of a norm: the number that its publisher gave it, unique among all statutes.
const NUMBER: &str = "doknr";

/// A statute that is read section by section.
pub(super) struct StatutesSource {
    path: PathBuf,
    reader: Reader<Bounded>,
    buffer: Vec<u8>,
    statute: Statute,
    is_begun: bool,
    /// Whether the root element has ended.
    is_whole: bool,
    at_end: bool,
}

/// The bytes of the file, at most so many for a section.
struct Bounded {
    input: Input,
    left: u64,
}

/// What follows in the file.
enum Next {
    Norm(Box<Norm>),
    /// The file is something else: what it is.
    Foreign(String),
    End,
}

impl StatutesSource {
    pub(super) fn open(file: &SourceFile) -> Result<Self, IngestError> {
        let input = Input::open(&file.path)?;
        let mut reader = Reader::from_reader(Bounded { input, left: MOST_DOCUMENT_BYTES });
        let config = reader.config_mut();
        config.allow_dangling_amp = true;
        config.expand_empty_elements = true;
        Ok(Self {
            path: file.path.clone(),
            reader,
            buffer: Vec::new(),
            statute: Statute::default(),
            is_begun: false,
            is_whole: false,
            at_end: false,
        })
    }

    fn next(&mut self) -> Result<Next, IngestError> {
        loop {
            self.reader.get_mut().left = MOST_DOCUMENT_BYTES;
            match self.event()? {
                Event::Start(tag) if !self.is_begun => {
                    if tag.local_name().as_ref() != ROOT {
                        return Ok(Next::Foreign(String::from_utf8_lossy(tag.name().as_ref()).into_owned()));
                    }
                    self.is_begun = true;
                }
                Event::Start(tag) if tag.local_name().as_ref() == NORM => {
                    let number = tag.try_get_attribute(NUMBER).ok().flatten();
                    let number = number.map(|number| String::from_utf8_lossy(&number.value).into_owned());
                    return Ok(Next::Norm(Box::new(self.norm(number.unwrap_or_default())?)));
                }
                Event::End(tag) if tag.local_name().as_ref() == ROOT => self.is_whole = true,
                Event::Eof if self.is_whole => return Ok(Next::End),
                Event::Eof if self.is_begun => {
                    return Err(self.damaged("the file ends without `</dokumente>`"));
                }
                Event::Eof => return Ok(Next::Foreign("none".to_owned())),
                _ => {}
            }
        }
    }

    /// Reads a norm with the given number of its publisher to its end.
    fn norm(&mut self, number: String) -> Result<Norm, IngestError> {
        let mut norm = Norm::new(number);
        let mut path: Vec<String> = Vec::new();
        loop {
            match self.event()? {
                Event::Start(tag) => {
                    path.push(String::from_utf8_lossy(tag.local_name().as_ref()).into_owned());
                    norm.start(&path);
                }
                Event::End(_) if path.is_empty() => return Ok(norm),
                Event::End(_) => {
                    norm.end(&path);
                    path.pop();
                }
                Event::Text(text) => norm.add(&path, self.utf8(&text)?),
                Event::CData(text) => norm.add(&path, self.utf8(&text)?),
                Event::GeneralRef(reference) => norm.add(&path, &markup::resolved(&reference)),
                Event::Eof => return Err(self.damaged("the file ends within a section")),
                Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
            }
        }
    }

    fn event(&mut self) -> Result<Event<'static>, IngestError> {
        self.buffer.clear();
        match self.reader.read_event_into(&mut self.buffer) {
            Ok(event) => Ok(event.into_owned()),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::QuotaExceeded => {
                Err(self.damaged(&error.to_string()))
            }
            Err(Error::Io(error)) => {
                Err(self.reader.get_ref().input.fatal(io::Error::new(error.kind(), error.to_string())))
            }
            Err(error) => Err(self.damaged(&format!("it is no well-formed XML ({error})"))),
        }
    }

    fn utf8<'a>(&self, bytes: &'a [u8]) -> Result<&'a str, IngestError> {
        str::from_utf8(bytes).map_err(|error| {
            let byte =
                self.reader.buffer_position().saturating_sub(bytes.len() as u64) + error.valid_up_to() as u64;
            self.damaged(&format!("it is not valid UTF-8 near byte {}", byte + 1))
        })
    }

    fn damaged(&self, problem: &str) -> IngestError {
        let place = match self.statute.last_section() {
            Some(section) => format!("after {section}"),
            None => "before its first section".to_owned(),
        };
        self.reader.get_ref().input.damaged(format!("{problem}, {place}"))
    }
}

impl fmt::Debug for StatutesSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("StatutesSource").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Source for StatutesSource {
    fn next_item(&mut self) -> Result<Option<SourceItem>, IngestError> {
        while !self.at_end {
            match self.next()? {
                Next::Norm(norm) => {
                    let path = self.path.to_string_lossy();
                    if let Some(document) = self.statute.take(*norm, &path) {
                        return Ok(Some(SourceItem::Document(document)));
                    }
                }
                Next::Foreign(found) => {
                    self.at_end = true;
                    self.reader.get_mut().input.drain()?;
                    let problem = format!(
                        "expected the XML of a statute with the root element `dokumente`, found `{found}`"
                    );
                    let origin = Origin::file(self.path.to_string_lossy());
                    return Ok(Some(SourceItem::Broken(Broken { origin, problem })));
                }
                Next::End => {
                    self.at_end = true;
                    self.reader.get_mut().input.drain()?;
                }
            }
        }
        Ok(None)
    }

    fn read_so_far(&self) -> (u64, Digest) {
        self.reader.get_ref().input.read_so_far()
    }
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Bounded {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            let problem = format!("a section is longer than {MOST_DOCUMENT_BYTES} bytes");
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, problem));
        }
        self.input.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.left = self.left.saturating_sub(count as u64);
        self.input.consume(count);
    }
}
