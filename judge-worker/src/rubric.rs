//! The rubric: for every criterion the question that it asks, and what marks between 0 and 10 mean.

mod english;
mod german;
#[cfg(test)]
mod tests;

use clara_lifecycle::{digest::Digest, score::Criterion};

/// The language of rubric and prompts; that of the answers is the best choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// German.
    #[default]
    German,
    /// English.
    English,
}

/// A rubric in one language.
#[derive(Debug)]
pub(crate) struct Rubric {
    /// Changes whenever a text below changes.
    pub(crate) version: &'static str,
    /// One entry per criterion, in the order of [`Criterion::ALL`].
    pub(crate) entries: [Entry; 5],
}

/// How one criterion is scored.
#[derive(Debug)]
pub(crate) struct Entry {
    /// What is scored.
    pub(crate) criterion: Criterion,
    /// The question that the score answers.
    pub(crate) question: &'static str,
    /// Marks with their meaning, the best first.
    pub(crate) anchors: [(u8, &'static str); 5],
}

impl Rubric {
    /// The rubric in `language`.
    pub(crate) fn of(language: Language) -> &'static Self {
        match language {
            Language::German => &german::RUBRIC,
            Language::English => &english::RUBRIC,
        }
    }

    /// Digest of criteria, weights, questions and anchors.
    pub(crate) fn digest(&self) -> Digest {
        let mut parts = vec![("version", self.version.to_owned())];
        for entry in &self.entries {
            parts.push(("criterion", entry.criterion.to_string()));
            parts.push(("weight", entry.criterion.weight().to_string()));
            parts.push(("question", entry.question.to_owned()));
            for (mark, meaning) in &entry.anchors {
                parts.push(("anchor", format!("{mark} {meaning}")));
            }
        }
        Digest::of_parts(parts.iter().map(|(label, text)| (*label, text.as_bytes())))
    }

    /// The rubric as it stands in a prompt that asks for reasons: every anchor on a line of its own.
    pub(crate) fn text(&self) -> String {
        let mut lines = Vec::new();
        for entry in &self.entries {
            lines.push(format!("{}: {}", entry.criterion, entry.question));
            lines.extend(entry.anchors.iter().map(|(mark, meaning)| format!("  {mark} = {meaning}")));
        }
        lines.join("\n")
    }

    /// The rubric for small judges, who give scores alone: best, middle and worst mark on one line. Such a judge
    /// runs on processors, where each token that is read costs time for every sample.
    pub(crate) fn brief_text(&self) -> String {
        let line = |entry: &Entry| {
            let [best, _, middle, _, worst] = &entry.anchors;
            let anchors = [best, middle, worst].map(|(mark, meaning)| format!("{mark} = {meaning}"));
            format!("{}: {} {}", entry.criterion, entry.question, anchors.join("; "))
        };
        self.entries.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}
