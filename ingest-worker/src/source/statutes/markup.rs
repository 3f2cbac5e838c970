//! The markup within a section as running text: paragraphs, lists, tables.

use std::borrow::Cow;

use quick_xml::{escape::resolve_predefined_entity, events::BytesRef};

use crate::source::flow::{Flow, Gap};

/// The text of elements, in their order.
#[derive(Debug, Default)]
pub(super) struct Running {
    flow: Flow,
    /// Whether the mark of a list item was the last that was written.
    after_mark: bool,
    /// Cells of the table row so far; `None` outside of rows.
    cells: Option<u32>,
    /// Where a raised text begins.
    raised: Option<usize>,
    is_verbatim: bool,
}

impl Running {
    /// An element begins.
    pub(super) fn start(&mut self, name: &str) {
        match name {
            "P" | "DL" | "DT" | "Title" | "table" | "Footnote" | "Content" => self.widen(Gap::Paragraph),
            "DD" | "LA" => self.widen(if self.after_mark { Gap::Blank } else { Gap::Paragraph }),
            "BR" => self.widen(Gap::Line),
            "pre" => {
                self.widen(Gap::Paragraph);
                self.is_verbatim = true;
            }
            "row" => {
                self.widen(Gap::Line);
                self.cells = Some(0);
            }
            "entry" => {
                let earlier = self.cells.unwrap_or_default();
                if earlier > 0 {
                    self.flow.end_cell();
                }
                self.cells = Some(earlier + 1);
            }
            "SUP" => self.raised = Some(self.flow.text().len()),
            _ => {}
        }
    }

    /// An element ends.
    pub(super) fn end(&mut self, name: &str) {
        match name {
            "P" | "DL" | "Title" | "Footnote" | "Content" => self.widen(Gap::Paragraph),
            "table" => {
                self.cells = None;
                self.widen(Gap::Paragraph);
            }
            "DT" => {
                self.widen(Gap::Blank);
                self.after_mark = true;
            }
            "pre" => {
                self.widen(Gap::Paragraph);
                self.is_verbatim = false;
            }
            "row" => self.cells = None,
            "SUP" => self.raise(),
            _ => {}
        }
    }

    /// Takes text as it stands in the file.
    pub(super) fn push(&mut self, text: &str) {
        self.after_mark &= text.trim().is_empty();
        self.flow.push(text, self.is_verbatim);
    }

    /// The text.
    pub(super) fn finish(self) -> String {
        self.flow.finish()
    }

    /// The text in one line.
    pub(super) fn line(&self) -> String {
        self.flow.line()
    }

    /// Asks for a gap, within a cell for a blank at most: a row is one line.
    fn widen(&mut self, gap: Gap) {
        let is_in_cell = self.cells.is_some_and(|cells| cells > 0);
        self.flow.widen(if is_in_cell { gap.min(Gap::Blank) } else { gap });
    }

    /// Writes units of measure as people write them; other raised texts stay in the line.
    fn raise(&mut self) {
        let Some(start) = self.raised.take() else { return };
        let Some((before, raised)) = self.flow.text().split_at_checked(start) else { return };
        let sign = match raised {
            "2" => '²',
            "3" => '³',
            _ => return,
        };
        if before.ends_with(char::is_alphabetic) {
            self.flow.replace_from(start, sign);
        }
    }
}

/// What a reference such as `&auml;` stands for; an unknown one stays as it is.
pub(super) fn resolved(reference: &BytesRef<'_>) -> Cow<'static, str> {
    if let Ok(Some(letter)) = reference.resolve_char_ref() {
        return Cow::Owned(letter.to_string());
    }
    let name = String::from_utf8_lossy(reference);
    if let Some(text) = resolve_predefined_entity(&name) {
        return Cow::Borrowed(text);
    }
    Cow::Borrowed(match name.as_ref() {
        "auml" => "ä",
        "ouml" => "ö",
        "uuml" => "ü",
        "Auml" => "Ä",
        "Ouml" => "Ö",
        "Uuml" => "Ü",
        "szlig" => "ß",
        "sect" => "§",
        "euro" => "€",
        "nbsp" | "thinsp" | "ensp" | "emsp" => " ",
        "ndash" => "–",
        "mdash" => "—",
        "hellip" => "…",
        "bdquo" => "„",
        "ldquo" => "“",
        "rdquo" => "”",
        "sup2" => "²",
        "sup3" => "³",
        "deg" => "°",
        "micro" => "µ",
        "middot" => "·",
        "times" => "×",
        "shy" => "",
        _ => return Cow::Owned(format!("&{name};")),
    })
}
