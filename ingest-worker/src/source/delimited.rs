//! Reads CSV and TSV files: a header, and rows that are records.

mod rows;
#[cfg(test)]
mod tests;

use std::{io::BufRead as _, ops::Range, path::PathBuf, sync::Arc};

use clara_lifecycle::{counted::counted, digest::Digest, spec::FieldNames};
use csv::{ByteRecord, ReaderBuilder, Terminator};
use serde_json::{Map, Value};

use self::rows::{Row, Rows};
use super::{Broken, Origin, Source, SourceFile, SourceItem, input::Input, record};
use crate::error::IngestError;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Most columns of a table.
const MOST_COLUMNS: usize = 10_000;
/// A cell of so many lines, of which this share has as many cells as the header, holds rows: a quote before it lacks its end.
const LEAST_SWALLOWED_LINES: usize = 20;
const LEAST_SWALLOWED_PERCENT: usize = 90;

/// A table of text that is read row by row.
#[derive(Debug)]
pub(super) struct DelimitedSource {
    path: PathBuf,
    name: String,
    shown_path: Arc<str>,
    fields: Arc<FieldNames>,
    rows: Rows,
    header: Vec<String>,
    encoding: Option<Encoding>,
    /// Lines within a cell that look like rows, and so are broken ones.
    swallowed: Range<u64>,
}

/// How letters beyond ASCII are written; the first row that has any decides for the whole file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Utf8,
    Windows1252,
}

impl DelimitedSource {
    pub(super) fn open(file: &SourceFile) -> Result<Self, IngestError> {
        let is_tsv = file.name.to_lowercase().contains(".tsv");
        let delimiter = if is_tsv { b'\t' } else { b',' };
        let mut source = Self {
            path: file.path.clone(),
            name: file.name.clone(),
            shown_path: file.path.to_string_lossy().into(),
            fields: Arc::clone(&file.fields),
            rows: Rows::new(Input::open(&file.path)?, delimiter),
            header: Vec::new(),
            encoding: None,
            swallowed: 0..0,
        };
        source.read_header(is_tsv)?;
        Ok(source)
    }

    fn read_header(&mut self, is_tsv: bool) -> Result<(), IngestError> {
        if self.rows.input.available()?.starts_with(BYTE_ORDER_MARK) {
            self.rows.input.consume(BYTE_ORDER_MARK.len());
            self.encoding = Some(Encoding::Utf8);
        }
        if !self.next_header_row()? {
            return Ok(());
        }
        // Spreadsheets write the delimiter in a line of its own.
        if let [b's', b'e', b'p', b'=', delimiter] = *self.rows.row.trim_ascii_end() {
            self.rows.delimiter = delimiter;
            if !self.next_header_row()? {
                return Ok(());
            }
        } else if !is_tsv {
            self.rows.delimiter = guess_delimiter(&self.rows.row);
        }
        let header =
            self.cells().map_err(|problem| self.rows.input.damaged(format!("its header is {problem}")))?;
        self.header = header.into_iter().map(|name| name.trim().to_owned()).collect();
        let problem = if self.header.iter().any(|name| name.replace("\r\n", "").contains('\r')) {
            Some("its lines end with a carriage return alone, expected line feeds; save it with other line ends".to_owned())
        } else {
            repeated(&self.header).map(|name| format!("its header names the column `{name}` more than once"))
        };
        if let Some(problem) = problem {
            return Err(self.rows.input.damaged(problem));
        }
        record::check_columns(self.header.iter().map(String::as_str), &self.fields)
            .map_err(|problem| IngestError::Columns { path: self.path.clone(), problem })
    }

    /// Reads a row of the header; says whether there is one.
    fn next_header_row(&mut self) -> Result<bool, IngestError> {
        match self.rows.next()? {
            Row::End => Ok(false),
            Row::Whole(_) => Ok(true),
            Row::TooLong(_) => {
                let most = self.rows.most_row_bytes;
                Err(self.rows.input.damaged(format!("its header is longer than {most} bytes")))
            }
            Row::Unclosed { quote_line, .. } => Err(self
                .rows
                .input
                .damaged(format!("its header has a quote in line {quote_line} that is never closed"))),
        }
    }

    /// The cells of the row in the buffer.
    fn cells(&mut self) -> Result<Vec<String>, String> {
        let row = self.rows.row.strip_suffix(b"\n").unwrap_or(&self.rows.row);
        let row = row.strip_suffix(b"\r").unwrap_or(row);
        let mut reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .terminator(Terminator::Any(b'\n'))
            .delimiter(self.rows.delimiter)
            .buffer_capacity(row.len().clamp(64, 64 << 10))
            .from_reader(row);
        let mut cells = ByteRecord::new();
        reader.read_byte_record(&mut cells).map_err(|error| format!("no row of a table ({error})"))?;
        if cells.len() > MOST_COLUMNS {
            return Err(format!("a row of {} cells, expected at most {MOST_COLUMNS}", cells.len()));
        }
        let encoding = match self.encoding {
            Some(encoding) => encoding,
            None if row.is_ascii() => Encoding::Utf8,
            None => {
                let is_utf8 = str::from_utf8(row).is_ok();
                let encoding = if is_utf8 { Encoding::Utf8 } else { Encoding::Windows1252 };
                *self.encoding.insert(encoding)
            }
        };
        if encoding == Encoding::Windows1252 {
            let decode = |cell| encoding_rs::WINDOWS_1252.decode_without_bom_handling(cell).0.into_owned();
            return Ok(cells.iter().map(decode).collect());
        }
        str::from_utf8(row)
            .map_err(|error| format!("not valid UTF-8 from byte {} of the row", error.valid_up_to() + 1))?;
        Ok(cells.iter().map(|cell| String::from_utf8_lossy(cell).into_owned()).collect())
    }

    fn item(&mut self, line: u64) -> SourceItem {
        match self.cells().and_then(|cells| self.record(cells, line)) {
            Err(problem) => self.broken(line, problem),
            Ok(record) => SourceItem::Document(record.document(self.origin(line), &self.name)),
        }
    }

    fn broken(&self, line: u64, problem: String) -> SourceItem {
        SourceItem::Broken(Broken { origin: self.origin(line), problem })
    }

    fn origin(&self, line: u64) -> Origin {
        Origin::line(Arc::clone(&self.shown_path), line)
    }

    /// The record of a row that begins at `line`.
    fn record(&mut self, cells: Vec<String>, line: u64) -> Result<record::Record, String> {
        let last_line = self.rows.line;
        if cells.len() != self.header.len() {
            let (found, expected) = (counted(cells.len(), "cell"), self.header.len());
            let row = if last_line > line {
                format!("the row up to line {last_line}")
            } else {
                "the row".to_owned()
            };
            return Err(format!("{row} has {found}, expected {expected} as in the header"));
        }
        if cells.iter().any(|cell| self.holds_rows(cell)) {
            let end = last_line + 1;
            self.swallowed = line + 1..end;
            return Err(format!(
                "a cell goes on to line {last_line} over lines that look like rows; its quote may lack its end"
            ));
        }
        let mut object = Map::new();
        for (name, cell) in self.header.iter().zip(cells) {
            // A table of text has no other way to leave a value out.
            let value = if cell.is_empty() { Value::Null } else { Value::String(cell) };
            object.insert(name.clone(), value);
        }
        record::from_object(&object, &self.fields)
    }

    fn holds_rows(&self, cell: &str) -> bool {
        let delimiters = self.header.len().saturating_sub(1);
        if delimiters == 0 || cell.lines().count() < LEAST_SWALLOWED_LINES {
            return false;
        }
        let is_row =
            |line: &&str| line.bytes().filter(|byte| *byte == self.rows.delimiter).count() == delimiters;
        // The first line is the rest of the row with the quote.
        let lines = cell.lines().skip(1);
        lines.clone().filter(is_row).count() * 100 >= lines.count() * LEAST_SWALLOWED_PERCENT
    }
}

impl Source for DelimitedSource {
    fn next_item(&mut self) -> Result<Option<SourceItem>, IngestError> {
        if let Some(line) = self.swallowed.next() {
            let problem = "it stands within a quoted cell that may lack its end".to_owned();
            return Ok(Some(self.broken(line, problem)));
        }
        Ok(match self.rows.next()? {
            Row::End => None,
            Row::Whole(line) => Some(self.item(line)),
            Row::TooLong(line) => {
                let most = self.rows.most_row_bytes;
                let problem = format!("the row is longer than {most} bytes; a quote may lack its end");
                Some(self.broken(line, problem))
            }
            Row::Unclosed { line, quote_line } => {
                let problem = format!("a quote opened in line {quote_line} is never closed");
                Some(self.broken(line, problem))
            }
        })
    }

    fn read_so_far(&self) -> (u64, Digest) {
        self.rows.input.read_so_far()
    }
}

/// The most frequent of the usual delimiters outside of quotes; a comma where there is none.
fn guess_delimiter(header: &[u8]) -> u8 {
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0)];
    let mut is_quoted = false;
    for byte in header {
        is_quoted ^= *byte == b'"';
        for (delimiter, count) in &mut counts {
            *count += u64::from(!is_quoted && byte == delimiter);
        }
    }
    let mut best = (b',', 0);
    for candidate in counts {
        if candidate.1 > best.1 {
            best = candidate;
        }
    }
    best.0
}

fn repeated(names: &[String]) -> Option<&str> {
    let mut sorted: Vec<&str> = names.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
    sorted.sort_unstable();
    sorted.windows(2).find_map(|pair| match pair {
        [first, second] if first == second => Some(*first),
        _ => None,
    })
}
