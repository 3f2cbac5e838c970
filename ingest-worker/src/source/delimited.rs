//! Reads CSV and TSV files: a header, and rows that are records.

#[cfg(test)]
mod tests;

use std::{
    io::{self, BufRead as _},
    path::PathBuf,
    sync::Arc,
};

use clara_lifecycle::{digest::Digest, spec::FieldNames};
use csv::{ByteRecord, ReaderBuilder, Terminator};
use serde_json::{Map, Value};

use super::{Broken, MOST_DOCUMENT_BYTES, Origin, Source, SourceFile, SourceItem, input::Input, record};
use crate::error::IngestError;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Most columns of a table.
const MOST_COLUMNS: usize = 10_000;

/// A table of text that is read row by row.
#[derive(Debug)]
pub(super) struct DelimitedSource {
    path: PathBuf,
    name: String,
    shown_path: Arc<str>,
    fields: Arc<FieldNames>,
    input: Input,
    delimiter: u8,
    header: Vec<String>,
    encoding: Option<Encoding>,
    /// Lines read so far; a row may hold several.
    lines: u64,
    buffer: Vec<u8>,
    most_row_bytes: u64,
}

/// How letters beyond ASCII are written; the first row that has any decides for the whole file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Utf8,
    Windows1252,
}

/// What the next row is, its bytes aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Row {
    /// It begins at this line.
    Whole(u64),
    TooLong(u64),
    End,
}

/// Where within a row a byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    CellStart,
    Bare,
    Quoted,
    /// After a quote within a quoted cell: its end, or the first of two that stand for one.
    AfterQuote,
}

impl DelimitedSource {
    pub(super) fn open(file: &SourceFile) -> Result<Self, IngestError> {
        let is_tsv = file.name.to_lowercase().contains(".tsv");
        let mut source = Self {
            path: file.path.clone(),
            name: file.name.clone(),
            shown_path: file.path.to_string_lossy().into(),
            fields: Arc::clone(&file.fields),
            input: Input::open(&file.path)?,
            delimiter: if is_tsv { b'\t' } else { b',' },
            header: Vec::new(),
            encoding: None,
            lines: 0,
            buffer: Vec::new(),
            most_row_bytes: MOST_DOCUMENT_BYTES,
        };
        source.read_header(is_tsv)?;
        Ok(source)
    }

    fn read_header(&mut self, is_tsv: bool) -> Result<(), IngestError> {
        if self.input.available()?.starts_with(BYTE_ORDER_MARK) {
            self.input.consume(BYTE_ORDER_MARK.len());
            self.encoding = Some(Encoding::Utf8);
        }
        let Row::Whole(_) = self.next_row()? else {
            return Ok(());
        };
        // Spreadsheets write the delimiter in a line of its own.
        if let [b's', b'e', b'p', b'=', delimiter] = *self.buffer.trim_ascii_end() {
            self.delimiter = delimiter;
            if self.next_row()? == Row::End {
                return Ok(());
            }
        } else if !is_tsv {
            self.delimiter = guess_delimiter(&self.buffer);
        }
        let header =
            self.cells().map_err(|problem| self.input.damaged(format!("its header is {problem}")))?;
        self.header = header.into_iter().map(|name| name.trim().to_owned()).collect();
        if let Some(name) = repeated(&self.header) {
            return Err(self.input.damaged(format!("its header names the column `{name}` more than once")));
        }
        record::check_columns(self.header.iter().map(String::as_str), &self.fields)
            .map_err(|problem| IngestError::Columns { path: self.path.clone(), problem })
    }

    /// Reads the next row that is not blank into the buffer.
    fn next_row(&mut self) -> Result<Row, IngestError> {
        loop {
            let row = self.read_row().map_err(|error| self.input.fatal(error))?;
            let is_blank = matches!(row, Row::Whole(_)) && self.buffer.trim_ascii().is_empty();
            if !is_blank {
                return Ok(row);
            }
        }
    }

    fn read_row(&mut self) -> io::Result<Row> {
        self.buffer.clear();
        let line = self.lines + 1;
        let mut state = State::CellStart;
        let mut bytes = 0;
        loop {
            let available = self.input.fill_buf()?;
            if available.is_empty() && bytes == 0 {
                return Ok(Row::End);
            }
            let (count, is_end) = state.take(available, self.delimiter);
            let taken = available.get(..count).unwrap_or_default();
            bytes += count as u64;
            for byte in taken {
                self.lines += u64::from(*byte == b'\n');
            }
            if bytes <= self.most_row_bytes {
                self.buffer.extend_from_slice(taken);
            }
            let is_last = available.is_empty();
            self.input.consume(count);
            if is_end || is_last {
                let fits = bytes <= self.most_row_bytes;
                return Ok(if fits { Row::Whole(line) } else { Row::TooLong(line) });
            }
        }
    }

    /// The cells of the row in the buffer.
    fn cells(&mut self) -> Result<Vec<String>, String> {
        let end = self.buffer.strip_suffix(b"\n").map_or(self.buffer.len(), <[u8]>::len);
        self.buffer.truncate(end);
        let end = self.buffer.strip_suffix(b"\r").map_or(end, <[u8]>::len);
        self.buffer.truncate(end);
        let mut reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .terminator(Terminator::Any(b'\n'))
            .delimiter(self.delimiter)
            .buffer_capacity(self.buffer.len().clamp(64, 64 << 10))
            .from_reader(self.buffer.as_slice());
        let mut row = ByteRecord::new();
        reader.read_byte_record(&mut row).map_err(|error| format!("no row of a table ({error})"))?;
        if row.len() > MOST_COLUMNS {
            return Err(format!("a row of {} cells, expected at most {MOST_COLUMNS}", row.len()));
        }
        let encoding = match self.encoding {
            Some(encoding) => encoding,
            None if self.buffer.is_ascii() => Encoding::Utf8,
            None => {
                let is_utf8 = str::from_utf8(&self.buffer).is_ok();
                let encoding = if is_utf8 { Encoding::Utf8 } else { Encoding::Windows1252 };
                *self.encoding.insert(encoding)
            }
        };
        if encoding == Encoding::Windows1252 {
            let decode = |cell| encoding_rs::WINDOWS_1252.decode_without_bom_handling(cell).0.into_owned();
            return Ok(row.iter().map(decode).collect());
        }
        str::from_utf8(&self.buffer)
            .map_err(|error| format!("not valid UTF-8 from byte {} of the row", error.valid_up_to() + 1))?;
        Ok(row.iter().map(|cell| String::from_utf8_lossy(cell).into_owned()).collect())
    }

    fn item(&mut self, line: u64) -> SourceItem {
        let origin = Origin::line(Arc::clone(&self.shown_path), line);
        let record = self.cells().and_then(|cells| self.record(cells));
        match record {
            Err(problem) => SourceItem::Broken(Broken { origin, problem }),
            Ok(record) => SourceItem::Document(record.document(origin, &self.name)),
        }
    }

    fn record(&self, cells: Vec<String>) -> Result<record::Record, String> {
        if cells.len() != self.header.len() {
            let (found, expected) = (cells.len(), self.header.len());
            return Err(format!("the row has {found} cells, expected {expected} as in the header"));
        }
        let mut object = Map::new();
        for (name, cell) in self.header.iter().zip(cells) {
            // A table of text has no other way to leave a value out.
            let value = if cell.is_empty() { Value::Null } else { Value::String(cell) };
            object.insert(name.clone(), value);
        }
        record::from_object(&object, &self.fields)
    }
}

impl Source for DelimitedSource {
    fn next_item(&mut self) -> Result<Option<SourceItem>, IngestError> {
        Ok(match self.next_row()? {
            Row::End => None,
            Row::Whole(line) => Some(self.item(line)),
            Row::TooLong(line) => {
                let origin = Origin::line(Arc::clone(&self.shown_path), line);
                let problem =
                    format!("the row is longer than {} bytes; a quote may lack its end", self.most_row_bytes);
                Some(SourceItem::Broken(Broken { origin, problem }))
            }
        })
    }

    fn read_so_far(&self) -> (u64, Digest) {
        self.input.read_so_far()
    }
}

impl State {
    /// How many of the bytes belong to the row, its line end included, and whether it ends there.
    fn take(&mut self, bytes: &[u8], delimiter: u8) -> (usize, bool) {
        for (count, byte) in bytes.iter().enumerate() {
            *self = match (*self, *byte) {
                (Self::Quoted, b'"') => Self::AfterQuote,
                (Self::CellStart | Self::AfterQuote, b'"') | (Self::Quoted, _) => Self::Quoted,
                (_, b'\n') => return (count + 1, true),
                (_, byte) if byte == delimiter => Self::CellStart,
                (Self::CellStart | Self::Bare | Self::AfterQuote, _) => Self::Bare,
            };
        }
        (bytes.len(), false)
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
