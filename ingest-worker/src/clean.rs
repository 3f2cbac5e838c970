//! Mends the texts of documents, and tells which of them are not worth training on.

mod boilerplate;
pub(crate) mod language;
mod normalize;
mod personal;
mod quality;
mod repetition;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use clara_lifecycle::{
    dataset::{DropReason, Mend, MendCount, TrainingContent},
    spec::{CleanOptions, PersonalData},
};

use crate::{
    filter::Drop,
    source::{Document, PAGE_BREAK},
    stop_words::StopWords,
    words::Words,
};
use quality::quality;
use repetition::RepetitionMeter;

/// Places that were mended in one document, by kind.
type Places = BTreeMap<Mend, u64>;

/// Mends and judges the texts of documents; keeps its room from one to the next.
#[derive(Debug)]
pub(crate) struct Cleaner<'a> {
    options: &'a CleanOptions,
    repetition: RepetitionMeter,
    stop_words: StopWords,
    mended: BTreeMap<Mend, MendCount>,
}

impl<'a> Cleaner<'a> {
    pub(crate) fn new(options: &'a CleanOptions) -> Self {
        Self {
            options,
            repetition: RepetitionMeter::default(),
            stop_words: StopWords::new(),
            mended: BTreeMap::new(),
        }
    }

    /// Normalizes all texts of a document, its metadata too, and takes page headers and footers out of its content.
    pub(crate) fn mend(&mut self, document: &mut Document) {
        let mut places = Places::new();
        let CleanOptions { normalize, boilerplate, .. } = *self.options;
        for text in texts_mut(&mut document.content) {
            if normalize && let Some(mended) = normalize::normalize(text, boilerplate, &mut places) {
                *text = mended;
            }
            if boilerplate && let Some((mended, lines)) = boilerplate::without_page_lines(text) {
                *text = mended;
                if lines > 0 {
                    *places.entry(Mend::Boilerplate).or_default() += lines;
                }
            }
            // Readers put it there, not the text; whoever mends takes it away.
            if !normalize && !boilerplate && text.contains(PAGE_BREAK) {
                *text = text.replace(PAGE_BREAK, "\n\n");
            }
        }
        for text in document.metadata.values_mut() {
            if normalize && let Some(mended) = normalize::normalize(text, false, &mut places) {
                *text = mended;
            }
        }
        self.count(places);
    }

    /// Why a text is not worth training on; `words` are its words.
    pub(crate) fn reason_to_drop(&mut self, content: &TrainingContent, words: &Words) -> Option<Drop> {
        let CleanOptions { languages, repetition_limit, min_quality, .. } = self.options;
        if !languages.is_empty()
            && !self.stop_words.is_surely(words.hashes(), languages)
            && let Some((found, confidence)) = language::language(&content.texts())
            && !languages.iter().any(|code| code == found)
        {
            let expected = languages.join("`, `");
            let detail =
                format!("the language is `{found}` (confidence {confidence:.2}), expected `{expected}`");
            return Some((DropReason::OtherLanguage, detail));
        }
        if *repetition_limit < 1.0 {
            let found = self.repetition.measure(content, words);
            if found.share > *repetition_limit {
                let detail = format!(
                    "{:.3} of the text is repeated {}, expected at most {repetition_limit}",
                    found.share, found.what
                );
                return Some((DropReason::Repetitive, detail));
            }
        }
        if *min_quality > 0.0 {
            let quality = quality(content, words, &self.stop_words);
            let score = quality.score();
            if score < *min_quality {
                let (part, value) = quality.weakest();
                let detail = format!(
                    "the quality is {score:.3}, expected at least {min_quality}; weakest part: {part} ({value:.3})"
                );
                return Some((DropReason::LowQuality, detail));
            }
        }
        None
    }

    /// Masks personal data, or refuses the document, as the options ask; in metadata, which may become questions and headings, it
    /// is masked either way. Gives whether the content changed.
    pub(crate) fn guard_personal_data(&mut self, document: &mut Document) -> Result<bool, Drop> {
        let mut places = Places::new();
        match self.options.personal_data {
            PersonalData::Keep => return Ok(false),
            PersonalData::Drop => {
                for text in document.content.texts() {
                    count_findings(&personal::find(text), &mut places);
                }
                if !places.is_empty() {
                    let found: Vec<String> =
                        places.iter().map(|(kind, count)| format!("{kind}: {count}")).collect();
                    return Err((
                        DropReason::PersonalData,
                        format!("holds personal data ({})", found.join(", ")),
                    ));
                }
            }
            PersonalData::Mask => {
                for text in texts_mut(&mut document.content) {
                    mask(text, &mut places);
                }
            }
        }
        let is_changed = !places.is_empty();
        for text in document.metadata.values_mut() {
            mask(text, &mut places);
        }
        self.count(places);
        Ok(is_changed)
    }

    /// What was mended so far.
    pub(crate) fn into_mended(self) -> BTreeMap<Mend, MendCount> {
        self.mended
    }

    fn count(&mut self, places: Places) {
        for (mend, count) in places {
            let total = self.mended.entry(mend).or_default();
            total.documents += 1;
            total.places += count;
        }
    }
}

fn mask(text: &mut String, places: &mut Places) {
    let findings = personal::find(text);
    if !findings.is_empty() {
        count_findings(&findings, places);
        *text = personal::masked(text, &findings);
    }
}

fn count_findings(findings: &[personal::Finding], places: &mut Places) {
    for finding in findings {
        *places.entry(finding.kind).or_default() += 1;
    }
}

fn texts_mut(content: &mut TrainingContent) -> Vec<&mut String> {
    match content {
        TrainingContent::Chat { messages } => {
            messages.iter_mut().map(|message| &mut message.content).collect()
        }
        TrainingContent::PromptCompletion { prompt, completion } => vec![prompt, completion],
        TrainingContent::Text { text } => vec![text],
    }
}
