//! The rows of a table of text; a quote that is never closed costs its own row, not those after it.

use std::io::{self, BufRead as _, Cursor};

use crate::{
    error::IngestError,
    source::{MOST_DOCUMENT_BYTES, input::Input},
};

/// So many bytes after quotes without an end are read again at most, in all: such quotes are few, or the file is no table.
const MOST_BYTES_AGAIN: u64 = 16 * MOST_DOCUMENT_BYTES;

/// The rows of a file, one at a time.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) input: Input,
    pub(super) delimiter: u8,
    pub(super) most_row_bytes: u64,
    /// The row that was read last, its line end included.
    pub(super) row: Vec<u8>,
    /// The line that was read last; a row may hold several.
    pub(super) line: u64,
    /// What follows a quote without an end, to be read as rows.
    again: Cursor<Vec<u8>>,
    bytes_again: u64,
}

/// What the next row is, its bytes aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Row {
    /// It begins at this line.
    Whole(u64),
    TooLong(u64),
    /// It ends with the line of the quote, since that has no end; what follows are rows.
    Unclosed {
        line: u64,
        quote_line: u64,
    },
    End,
}

/// Where within a row a byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    CellStart,
    Bare,
    Quoted,
    /// After a quote within a quoted cell: its end, or the first of two that stand for one.
    AfterQuote {
        /// Whether it stands on a later line and where a cell may begin.
        may_open: bool,
    },
}

/// How far a row was followed.
#[derive(Debug)]
struct Scan {
    state: State,
    delimiter: u8,
    previous: u8,
    /// Line of the next byte.
    line: u64,
    /// Line on which the last quoted cell begins.
    quote_line: u64,
}

/// Why a row goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    LineEnd,
    /// What looked like the end of a quoted cell begins another one, so the quote before it was never closed.
    SecondOpening,
}

impl Rows {
    pub(super) fn new(input: Input, delimiter: u8) -> Self {
        Self {
            input,
            delimiter,
            most_row_bytes: MOST_DOCUMENT_BYTES,
            row: Vec::new(),
            line: 0,
            again: Cursor::default(),
            bytes_again: 0,
        }
    }

    /// Reads the next row that is not blank.
    pub(super) fn next(&mut self) -> Result<Row, IngestError> {
        loop {
            let row = self.read()?;
            let is_blank = matches!(row, Row::Whole(_)) && self.row.trim_ascii().is_empty();
            if !is_blank {
                return Ok(row);
            }
        }
    }

    fn read(&mut self) -> Result<Row, IngestError> {
        self.row.clear();
        let line = self.line + 1;
        let mut scan = Scan {
            state: State::CellStart,
            delimiter: self.delimiter,
            previous: b'\n',
            line,
            quote_line: line,
        };
        let mut bytes = 0;
        loop {
            let (count, stop) = self.take(&mut scan, bytes).map_err(|error| self.input.fatal(error))?;
            bytes += count;
            let is_last = count == 0 && stop.is_none();
            if is_last && bytes == 0 {
                return Ok(Row::End);
            }
            if stop == Some(Stop::SecondOpening) || (is_last && scan.state == State::Quoted) {
                return self.end_at_quote(line, scan.quote_line, bytes);
            }
            if is_last || stop == Some(Stop::LineEnd) {
                // The last line may lack its end.
                self.line = if is_last { scan.line } else { scan.line - 1 };
                let fits = bytes <= self.most_row_bytes;
                return Ok(if fits { Row::Whole(line) } else { Row::TooLong(line) });
            }
        }
    }

    /// Takes the bytes at hand that belong to the row, of which so many were read already; says how many these are.
    fn take(&mut self, scan: &mut Scan, read: u64) -> io::Result<(u64, Option<Stop>)> {
        let is_again = self.reads_again();
        let available = if is_again { self.again.fill_buf()? } else { self.input.fill_buf()? };
        let (count, stop) = scan.take(available);
        let bytes = count as u64;
        if read + bytes <= self.most_row_bytes {
            self.row.extend_from_slice(available.get(..count).unwrap_or_default());
        }
        if is_again {
            self.again.consume(count);
        } else {
            self.input.consume(count);
        }
        Ok((bytes, stop))
    }

    /// Ends a row of so many bytes with the line of its quote, and makes the lines after it the next rows.
    fn end_at_quote(&mut self, line: u64, quote_line: u64, bytes: u64) -> Result<Row, IngestError> {
        if bytes > self.most_row_bytes {
            let most = self.most_row_bytes;
            let problem =
                format!("a quote opened in line {quote_line} is not closed within {most} bytes of its row");
            return Err(self.input.damaged(problem));
        }
        let line_ends = self.row.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let of_quote = (line..).zip(line_ends).find(|(line, _)| *line == quote_line);
        let end = of_quote.map_or(self.row.len(), |(_, (end, _))| end + 1);
        let rest = self.row.split_off(end);
        let rest_bytes = rest.len() as u64;
        self.bytes_again += rest_bytes;
        if self.bytes_again > MOST_BYTES_AGAIN {
            let problem =
                format!("too many of its quotes are never closed, the last one opened in line {quote_line}");
            return Err(self.input.damaged(problem));
        }
        if self.reads_again() {
            // All of the row was read again, so that it can be once more.
            self.again.set_position(self.again.position().saturating_sub(rest_bytes));
        } else {
            self.again = Cursor::new(rest);
        }
        self.line = quote_line;
        Ok(Row::Unclosed { line, quote_line })
    }

    fn reads_again(&self) -> bool {
        self.again.position() < self.again.get_ref().len() as u64
    }
}

impl Scan {
    /// How many of the bytes belong to the row, its line end included, and why it goes no further.
    fn take(&mut self, bytes: &[u8]) -> (usize, Option<Stop>) {
        for (count, byte) in bytes.iter().enumerate() {
            self.state = match (self.state, *byte) {
                (State::CellStart, b'"') => {
                    self.quote_line = self.line;
                    State::Quoted
                }
                (State::Quoted, b'"') => {
                    let is_cell_start = self.previous == b'\n' || self.previous == self.delimiter;
                    State::AfterQuote { may_open: is_cell_start && self.line > self.quote_line }
                }
                (State::AfterQuote { .. }, b'"') | (State::Quoted, _) => State::Quoted,
                (State::CellStart | State::Bare | State::AfterQuote { .. }, b'\n') => {
                    self.line += 1;
                    return (count + 1, Some(Stop::LineEnd));
                }
                (_, byte) if byte == self.delimiter => State::CellStart,
                (State::AfterQuote { may_open: true }, byte) if !byte.is_ascii_whitespace() => {
                    return (count, Some(Stop::SecondOpening));
                }
                (State::CellStart | State::Bare | State::AfterQuote { .. }, _) => State::Bare,
            };
            self.line += u64::from(*byte == b'\n');
            self.previous = *byte;
        }
        (bytes.len(), None)
    }
}
