//! Norms of a statute: its head, headings between its sections, and the sections themselves.

use std::collections::BTreeMap;

use clara_lifecycle::{dataset::TrainingContent, text::fold};

use super::markup::Running;
use crate::source::{Document, Origin};

/// Elements whose text belongs to nothing: tables of contents, marks of footnotes, notes of editors.
const LEFT_OUT: &[&str] = &["TOC", "FnR", "kommentar", "noindex", "IMG", "FILE"];

/// What a statute told so far: its names, and the headings above the next section.
#[derive(Debug, Default)]
pub(super) struct Statute {
    jurabk: String,
    law: String,
    title: String,
    /// Headings by the length of their mark, which has three digits for each level.
    headings: BTreeMap<usize, String>,
    norms: u64,
    last_section: Option<String>,
}

/// One `<norm>`.
#[derive(Debug, Default)]
pub(super) struct Norm {
    /// The number of its publisher, empty where it has none.
    number: String,
    jurabk: Running,
    amtabk: Running,
    langue: Running,
    mark: Running,
    division: Running,
    division_title: Running,
    enbez: Running,
    titel: Running,
    text: Running,
    footnotes: Running,
}

impl Norm {
    /// A norm without a text, with the number of its publisher.
    pub(super) fn new(number: String) -> Self {
        Self { number, ..Self::default() }
    }

    /// An element begins, the last of `path`.
    pub(super) fn start(&mut self, path: &[String]) {
        if let (Some(running), Some(name)) = (self.part(path), path.last()) {
            running.start(name);
        }
    }

    /// An element ends, the last of `path`.
    pub(super) fn end(&mut self, path: &[String]) {
        if let (Some(running), Some(name)) = (self.part(path), path.last()) {
            running.end(name);
        }
    }

    /// Takes text within the elements of `path`.
    pub(super) fn add(&mut self, path: &[String], text: &str) {
        if let Some(running) = self.part(path) {
            running.push(text);
        }
    }

    fn part(&mut self, path: &[String]) -> Option<&mut Running> {
        if path.iter().any(|name| LEFT_OUT.contains(&name.as_str())) {
            return None;
        }
        let name = |level: usize| path.get(level).map(String::as_str);
        match (name(0)?, name(1)?) {
            ("metadaten", "jurabk") => Some(&mut self.jurabk),
            ("metadaten", "amtabk") => Some(&mut self.amtabk),
            ("metadaten", "langue") => Some(&mut self.langue),
            ("metadaten", "enbez") => Some(&mut self.enbez),
            ("metadaten", "titel") => Some(&mut self.titel),
            ("metadaten", "gliederungseinheit") => match name(2)? {
                "gliederungskennzahl" => Some(&mut self.mark),
                "gliederungsbez" => Some(&mut self.division),
                "gliederungstitel" => Some(&mut self.division_title),
                _ => None,
            },
            ("textdaten", "text") if path.iter().any(|name| name == "Footnotes") => Some(&mut self.footnotes),
            ("textdaten", "text") => Some(&mut self.text),
            ("textdaten", "fussnoten") => Some(&mut self.footnotes),
            _ => None,
        }
    }
}

impl Statute {
    /// The document of a norm, `None` for heads, headings and tables of contents; one without a text for a section that
    /// was repealed, so that it is counted where it is dropped.
    pub(super) fn take(&mut self, norm: Norm, path: &str) -> Option<Document> {
        self.norms += 1;
        self.note_law(&norm);
        self.note_heading(&norm);
        let paragraph = norm.enbez.line();
        let heading = norm.titel.line();
        let mut text = norm.text.finish();
        if paragraph.to_lowercase().starts_with("inhalts") || (paragraph.is_empty() && text.is_empty()) {
            return None;
        }
        if is_repealed(&text) {
            text.clear();
        }
        // A bare number would look like that of a section.
        let name = match (paragraph.as_str(), slug(&norm.number)) {
            ("", number) if number.is_empty() => format!("norm {}", self.norms),
            ("", number) => number,
            (paragraph, _) => paragraph.to_owned(),
        };
        self.last_section = Some(format!("{name} {}", self.law));
        let structure: Vec<&str> = self.headings.values().map(String::as_str).collect();
        let about = [
            ("law", self.law.clone()),
            ("law_title", self.title.clone()),
            ("structure", structure.join(" > ")),
            ("paragraph", paragraph),
            ("heading", heading),
            ("footnotes", norm.footnotes.finish()),
        ];
        let metadata = about.into_iter().filter(|(_, value)| !value.is_empty());
        Some(Document {
            id: format!("{}-{}", slug(&self.law), slug(&name)),
            origin: Origin::line(path, self.norms),
            domain: None,
            licence: None,
            classification: None,
            content: TrainingContent::Text { text },
            metadata: metadata.map(|(name, value)| (name.to_owned(), value)).collect(),
        })
    }

    /// The section that was read last, for people.
    pub(super) fn last_section(&self) -> Option<&str> {
        self.last_section.as_deref()
    }

    fn note_law(&mut self, norm: &Norm) {
        let (jurabk, amtabk, title) = (norm.jurabk.line(), norm.amtabk.line(), norm.langue.line());
        if !jurabk.is_empty() && jurabk != self.jurabk {
            // Sections name the law by `jurabk` alone; the head may name it by `amtabk`, which is what people cite.
            self.law.clone_from(&jurabk);
            self.jurabk = jurabk;
            self.title.clear();
            self.headings.clear();
        }
        if !amtabk.is_empty() {
            self.law = amtabk;
        }
        if !title.is_empty() {
            self.title = title;
        }
    }

    fn note_heading(&mut self, norm: &Norm) {
        let (division, title) = (norm.division.line(), norm.division_title.line());
        let heading =
            [division, title].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
        if !heading.is_empty() {
            let level = norm.mark.line().len();
            self.headings.retain(|above, _| *above < level);
            self.headings.insert(level, heading);
        }
    }
}

/// Whether a text only says that nothing is left.
fn is_repealed(text: &str) -> bool {
    let words = text.trim_matches(|letter: char| !letter.is_alphanumeric()).to_lowercase();
    matches!(words.as_str(), "" | "weggefallen" | "aufgehoben" | "gegenstandslos")
}

/// A name in lower case with `-` between its words: `§ 35a` becomes `35a`, `Art 1` becomes `art-1`.
fn slug(name: &str) -> String {
    let folded = fold(name);
    let words = folded.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}
