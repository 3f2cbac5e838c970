//! Turns documents into records: running text as it is, as the completion of its heading, or as the answer to a question.

mod facts;
mod questions;
#[cfg(test)]
mod tests;

use clara_lifecycle::{
    dataset::{ChatMessage, ShapeReport, TrainingContent, TrainingRecord},
    id::Domain,
    spec::{IngestOptions, RecordShape},
};

use self::questions::Questions;
use crate::{chunk::chunks, error::IngestError, source::Document};

pub(crate) use facts::{Facts, LAW_FIELDS, SECTION_FIELDS};

/// Turns documents into records.
#[derive(Debug)]
pub(crate) struct Shaper<'a> {
    options: &'a IngestOptions,
    domain: &'a Domain,
    questions: Questions<'a>,
    left_as_text: u64,
}

/// A place in a series of chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    /// Counted from 1.
    pub(crate) number: usize,
    /// Chunks of the document.
    pub(crate) of: usize,
}

impl<'a> Shaper<'a> {
    /// A shaper; reads nothing but the options.
    ///
    /// # Errors
    /// [`IngestError::Options`] when a template of a question is wrong.
    pub(crate) fn new(options: &'a IngestOptions, domain: &'a Domain) -> Result<Self, IngestError> {
        let questions = Questions::new(&options.shape.questions, options.seed)?;
        Ok(Self { options, domain, questions, left_as_text: 0 })
    }

    /// The records of a document: running text shaped and cut into chunks, everything else as it is.
    ///
    /// `is_golden` tells whether a golden sample asks the same; such a question is not asked.
    pub(crate) fn records(
        &mut self,
        document: Document,
        is_golden: &dyn Fn(&str) -> bool,
    ) -> Vec<TrainingRecord> {
        let TrainingContent::Text { text } = &document.content else {
            return vec![TrainingRecord { document_id: document.id, content: document.content }];
        };
        match self.options.shape.records {
            RecordShape::Text => series(&document.id, self.cut(text), |_, chunk| as_text(chunk)),
            RecordShape::Completion => self.completions(&document, text),
            RecordShape::Instruction => self.instructions(&document, text, is_golden),
        }
    }

    /// What the manifest says about the shape of the records; of mixture, clusters and tokens others know.
    pub(crate) fn report(&self) -> ShapeReport {
        ShapeReport {
            records: self.options.shape.records,
            order: self.options.shape.order,
            left_as_text: self.left_as_text,
            unused_questions: self.questions.unused(),
            ..ShapeReport::default()
        }
    }

    fn completions(&mut self, document: &Document, text: &str) -> Vec<TrainingRecord> {
        let facts = Facts::of(document, text);
        let Some(title) = facts.title() else { return self.left_as_text(document, text) };
        let source = self.source(&facts);
        series(&document.id, self.cut(facts.body), |part, chunk| TrainingContent::PromptCompletion {
            prompt: format!("{}\n\n", in_part(&title, part)),
            completion: cited(chunk, source.as_deref()),
        })
    }

    fn instructions(
        &mut self,
        document: &Document,
        text: &str,
        is_golden: &dyn Fn(&str) -> bool,
    ) -> Vec<TrainingRecord> {
        let facts = Facts::of(document, text);
        let chunks = self.cut(facts.body);
        let context = facts.context(document, self.domain);
        let Some(questions) = self.questions.ask(&document.id, &context, chunks.len(), is_golden) else {
            return self.left_as_text(document, text);
        };
        let source = self.source(&facts);
        let mut questions = questions.into_iter();
        series(&document.id, chunks, |_, chunk| TrainingContent::Chat {
            messages: vec![
                message("user", questions.next().unwrap_or_default()),
                message("assistant", cited(chunk, source.as_deref())),
            ],
        })
    }

    fn left_as_text(&mut self, document: &Document, text: &str) -> Vec<TrainingRecord> {
        self.left_as_text += 1;
        series(&document.id, self.cut(text), |_, chunk| as_text(chunk))
    }

    fn cut<'t>(&self, text: &'t str) -> Vec<&'t str> {
        chunks(text, usize::try_from(self.options.chunk_chars).unwrap_or(usize::MAX))
    }

    fn source(&self, facts: &Facts<'_>) -> Option<String> {
        if self.options.shape.cite { facts.source() } else { None }
    }
}

/// One record for each chunk; `id#n` when there are several.
fn series(
    document_id: &str,
    chunks: Vec<&str>,
    mut content: impl FnMut(Part, &str) -> TrainingContent,
) -> Vec<TrainingRecord> {
    let of = chunks.len();
    let records = (1..).zip(chunks).map(|(number, chunk)| TrainingRecord {
        document_id: if of == 1 { document_id.to_owned() } else { format!("{document_id}#{number}") },
        content: content(Part { number, of }, chunk),
    });
    records.collect()
}

/// A question or heading that says which part of the whole is meant, before the mark that ends it.
fn in_part(text: &str, part: Part) -> String {
    if part.of == 1 {
        return text.to_owned();
    }
    let bare = text.trim_end_matches(['?', '.', '!', ':']);
    let end = text.strip_prefix(bare).unwrap_or_default();
    format!("{bare} (Teil {} von {}){end}", part.number, part.of)
}

/// A text and the source that it is from, if that is to be named.
fn cited(text: &str, source: Option<&str>) -> String {
    match source {
        None => text.to_owned(),
        Some(source) if text.contains('\n') => format!("{text}\n\n({source})"),
        Some(source) => format!("{text} ({source})"),
    }
}

fn as_text(chunk: &str) -> TrainingContent {
    TrainingContent::Text { text: chunk.to_owned() }
}

fn message(role: &str, content: String) -> ChatMessage {
    ChatMessage { role: role.to_owned(), content }
}
