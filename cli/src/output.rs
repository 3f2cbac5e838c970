//! The only place that prints: data to standard output, talk to standard error.

#[cfg(test)]
mod tests;

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
};

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// One JSON document.
    Json,
}

/// Where a command's words go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    pub(crate) format: Format,
    pub(crate) quiet: bool,
}

#[expect(
    clippy::unused_self,
    reason = "who prints must hold an output, so that printing is seen in signatures"
)]
impl Output {
    pub(crate) fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// A line of data.
    pub(crate) fn line(self, text: impl Display) -> io::Result<()> {
        writeln!(io::stdout().lock(), "{text}")
    }

    /// Data without an end of line, shown at once.
    pub(crate) fn part(self, text: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()
    }

    /// A document.
    pub(crate) fn json<T: Serialize>(self, document: &T) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(document)?;
        Ok(self.line(text)?)
    }

    /// Rows under a header; only the header where there are no rows.
    pub(crate) fn table<const N: usize>(self, header: [&str; N], rows: Vec<[String; N]>) -> io::Result<()> {
        self.line(table(header, rows, terminal_width()))
    }

    /// Names and values, one a line; a value of several lines stays in its column.
    pub(crate) fn fields(self, fields: &[(&str, String)]) -> io::Result<()> {
        self.line(aligned(fields))
    }

    /// Where data goes that comes bit by bit.
    pub(crate) fn data(self) -> impl Write {
        io::stdout().lock()
    }

    /// Where prompts of a conversation go.
    pub(crate) fn talk(self) -> impl Write {
        io::stderr().lock()
    }

    /// A word to the user about what happens.
    pub(crate) fn note(self, text: impl Display) {
        if !self.quiet {
            complain(&text.to_string());
        }
    }
}

/// Something that the user must know.
pub(crate) fn complain(text: &str) {
    // When nobody can read standard error, nobody can be told.
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// Whether progress bars can be drawn; a terminal that moves no cursor (`TERM=dumb`) gets lines.
pub(crate) fn talks_to_terminal() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Columns and rows of the terminal where standard error goes.
pub(crate) fn talk_size() -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(io::stderr()).ok()?;
    Some((size.ws_col, size.ws_row))
}

/// Columns of the terminal; without one, rows are as wide as they are.
fn terminal_width() -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col >= 60).then_some(size.ws_col)
}

fn table<const N: usize>(header: [&str; N], rows: Vec<[String; N]>, width: Option<u16>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.map(str::to_uppercase));
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

fn aligned(fields: &[(&str, String)]) -> String {
    let width = fields.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for (name, value) in fields {
        let mut name = *name;
        for line in value.lines().chain(value.is_empty().then_some("")) {
            lines.push(format!("{name:width$}  {line}").trim_end().to_owned());
            name = "";
        }
    }
    lines.join("\n")
}
