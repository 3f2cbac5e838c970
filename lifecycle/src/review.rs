//! Review: what people note about a version's answers before it is decided on, and what they look at first.
//!
//! The evaluation never changes. What a reviewer says stands beside it in a [`ReviewNotes`]: comments and choices
//! belong to one person each; an override of scores belongs to the sample, and names what it was based on.

mod compare;
mod priority;
mod sheet;
mod subject;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use serde::{Deserialize, Serialize};

use crate::score::{CriteriaScores, Criterion, Preference};

pub use compare::{CitationMark, Piece, PieceChange, compare, marked};
pub use priority::{Concern, Priority, Standing, sample_priority, version_priority};
pub use sheet::{
    AnswerView, CriterionFigures, QueuedReview, ReviewItem, ReviewLine, ReviewSheet, SavedReview,
};
pub use subject::{Subject, candidate_stands_first};

/// Longest comment or reason, in characters.
pub const LONGEST_TEXT: usize = 10_000;

/// What reviewers noted about one version.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ReviewNotes {
    /// Grows with every override.
    pub revision: u64,
    /// By sample.
    pub samples: BTreeMap<String, SampleNotes>,
    /// Reasons for a verdict that were begun and not yet given, by reviewer.
    pub drafts: BTreeMap<String, String>,
}

/// What reviewers noted about one answer.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SampleNotes {
    /// Grows with every override of this sample; 0 before the first.
    pub revision: u64,
    /// Who has seen it.
    pub seen_by: BTreeSet<String>,
    /// What each reviewer remarks.
    pub comments: BTreeMap<String, Comment>,
    /// Scores that replace the judge's beside the evaluation.
    pub overridden: Option<Override>,
    /// Which answer each reviewer prefers without knowing whose it is.
    pub preferences: BTreeMap<String, Preference>,
    /// Who changed the scores last, when and how.
    pub changed: Option<Changed>,
}

/// A remark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comment {
    /// The words.
    pub text: String,
    /// When, RFC 3339.
    pub at: String,
}

/// Scores that a person sets against the judge's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Override {
    /// By criterion, 0–10; the others stay as judged.
    pub scores: BTreeMap<Criterion, f64>,
    /// Why.
    pub reason: String,
    /// Who.
    pub by: String,
    /// When, RFC 3339.
    pub at: String,
}

/// Who changed something, when and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// Who.
    pub by: String,
    /// When, RFC 3339.
    pub at: String,
    /// What was changed, in words.
    pub what: String,
}

/// Something that a reviewer does to the record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum ReviewChange {
    /// Has looked at a sample.
    Seen {
        /// The sample.
        sample_id: String,
    },
    /// Remarks something; an empty text takes the remark back.
    Comment {
        /// The sample.
        sample_id: String,
        /// The words.
        text: String,
    },
    /// Sets scores against the judge's; no scores take the override back.
    Override {
        /// The sample.
        sample_id: String,
        /// By criterion, 0–10.
        scores: BTreeMap<Criterion, f64>,
        /// Why.
        reason: String,
        /// The notes' revision that the reviewer has seen.
        based_on: u64,
    },
    /// Prefers an answer without knowing whose it is.
    Prefer {
        /// The sample.
        sample_id: String,
        /// The answer.
        preference: Preference,
    },
    /// Begins the reason of a verdict.
    Draft {
        /// The words so far.
        text: String,
    },
}

/// Who reviews, and when.
#[derive(Debug, Clone, Copy)]
pub struct Reviewer<'a> {
    /// Who.
    pub name: &'a str,
    /// When, RFC 3339.
    pub at: &'a str,
}

/// A change that cannot be made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ReviewError {
    /// Another reviewer changed what the change is based on.
    #[error("{subject} was changed meanwhile: {} {} at {}; look again", .changed.by, .changed.what, .changed.at)]
    Conflict {
        /// The sample or version.
        subject: String,
        /// By whom, when and how.
        changed: Changed,
    },
    /// There is no such sample.
    #[error("the evaluation of this version has no sample {sample_id}; `clara review next` lists them")]
    UnknownSample {
        /// The sample.
        sample_id: String,
    },
    /// Nobody is named.
    #[error("a review needs to know who reviews (--actor)")]
    NobodyNamed,
    /// A reason is missing.
    #[error("an override needs a reason")]
    ReasonMissing,
    /// A score is out of range.
    #[error("the score for {criterion} is {found}; expected 0 to 10")]
    OutOfRange {
        /// The criterion.
        criterion: Criterion,
        /// The score as given.
        found: f64,
    },
    /// The judge gave no scores, so the reviewer must give all.
    #[error("the judge gave {sample_id} no score; an override needs a score for {missing} too")]
    Incomplete {
        /// The sample.
        sample_id: String,
        /// The first criterion without one.
        missing: Criterion,
    },
    /// There is no override to take back.
    #[error("{sample_id} has no override to take back")]
    NothingToTakeBack {
        /// The sample.
        sample_id: String,
    },
    /// A text is too long.
    #[error("the text has {found} characters; expected at most {LONGEST_TEXT}")]
    TooLong {
        /// Its length.
        found: usize,
    },
}

impl ReviewChange {
    /// The sample that it is about.
    pub fn sample_id(&self) -> Option<&str> {
        match self {
            Self::Seen { sample_id }
            | Self::Comment { sample_id, .. }
            | Self::Override { sample_id, .. }
            | Self::Prefer { sample_id, .. } => Some(sample_id),
            Self::Draft { .. } => None,
        }
    }
}

impl ReviewNotes {
    /// What was noted about a sample.
    pub fn notes(&self, sample_id: &str) -> SampleNotes {
        self.samples.get(sample_id).cloned().unwrap_or_default()
    }

    /// Makes a change to a version with the answers in `subject`.
    ///
    /// # Errors
    /// [`ReviewError`] when the change is based on notes that are no longer so, or is not complete; nothing is changed then.
    pub fn apply(
        &mut self,
        change: &ReviewChange,
        by: Reviewer<'_>,
        subject: &Subject,
    ) -> Result<(), ReviewError> {
        if by.name.trim().is_empty() {
            return Err(ReviewError::NobodyNamed);
        }
        if let Some(sample_id) = change.sample_id()
            && !subject.has_sample(sample_id)
        {
            return Err(ReviewError::UnknownSample { sample_id: sample_id.to_owned() });
        }
        match change {
            ReviewChange::Seen { sample_id } => {
                self.notes_mut(sample_id).seen_by.insert(by.name.to_owned());
            }
            ReviewChange::Comment { sample_id, text } => self.comment(sample_id, text, by)?,
            ReviewChange::Prefer { sample_id, preference } => {
                self.notes_mut(sample_id).preferences.insert(by.name.to_owned(), *preference);
            }
            ReviewChange::Draft { text } => {
                check_length(text)?;
                if text.trim().is_empty() {
                    self.drafts.remove(by.name);
                } else {
                    self.drafts.insert(by.name.to_owned(), text.clone());
                }
            }
            ReviewChange::Override { sample_id, scores, reason, based_on } => {
                let notes = self.samples.get(sample_id);
                if let Some(SampleNotes { revision, changed: Some(changed), .. }) = notes
                    && revision != based_on
                {
                    let (subject, changed) = (sample_id.clone(), changed.clone());
                    return Err(ReviewError::Conflict { subject, changed });
                }
                self.override_scores(sample_id, (scores, reason), by, subject)?;
            }
        }
        Ok(())
    }

    /// Whether a verdict may rest on the record as it was at `revision`.
    ///
    /// # Errors
    /// [`ReviewError::Conflict`] with the newest override when there is one that the reviewer has not seen.
    pub fn check_verdict(&self, adapter_id: &str, revision: u64) -> Result<(), ReviewError> {
        let newest = self.samples.iter().filter_map(|(id, notes)| Some((id, notes.changed.as_ref()?)));
        match newest.max_by(|(_, a), (_, b)| a.at.cmp(&b.at)) {
            Some((sample_id, changed)) if self.revision != revision => {
                let what = format!("{} of {sample_id}", changed.what);
                let changed = Changed { what, ..changed.clone() };
                Err(ReviewError::Conflict { subject: adapter_id.to_owned(), changed })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn comment(&mut self, sample_id: &str, text: &str, by: Reviewer<'_>) -> Result<(), ReviewError> {
        check_length(text)?;
        let comments = &mut self.notes_mut(sample_id).comments;
        if text.trim().is_empty() {
            comments.remove(by.name);
        } else {
            let comment = Comment { text: text.trim().to_owned(), at: by.at.to_owned() };
            comments.insert(by.name.to_owned(), comment);
        }
        Ok(())
    }

    fn override_scores(
        &mut self,
        sample_id: &str,
        (scores, reason): (&BTreeMap<Criterion, f64>, &str),
        by: Reviewer<'_>,
        subject: &Subject,
    ) -> Result<(), ReviewError> {
        if reason.trim().is_empty() {
            return Err(ReviewError::ReasonMissing);
        }
        check_length(reason)?;
        if let Some((&criterion, &found)) = scores.iter().find(|(_, score)| !(0.0..=10.0).contains(*score)) {
            return Err(ReviewError::OutOfRange { criterion, found });
        }
        let judged = subject.scores(sample_id);
        let missing = Criterion::ALL.into_iter().find(|criterion| !scores.contains_key(criterion));
        if let Some(missing) = missing.filter(|_| judged.is_none() && !scores.is_empty()) {
            return Err(ReviewError::Incomplete { sample_id: sample_id.to_owned(), missing });
        }
        let before = self.notes(sample_id).overridden.map(|before| before.scores).unwrap_or_default();
        if scores.is_empty() && before.is_empty() {
            return Err(ReviewError::NothingToTakeBack { sample_id: sample_id.to_owned() });
        }
        let what = in_words(&before, scores, judged);
        self.revision += 1;
        let notes = self.notes_mut(sample_id);
        notes.revision += 1;
        let (name, at) = (by.name.to_owned(), by.at.to_owned());
        notes.changed = Some(Changed { by: name.clone(), at: at.clone(), what });
        notes.overridden = (!scores.is_empty()).then(|| Override {
            scores: scores.clone(),
            reason: reason.trim().to_owned(),
            by: name,
            at,
        });
        Ok(())
    }

    fn notes_mut(&mut self, sample_id: &str) -> &mut SampleNotes {
        self.samples.entry(sample_id.to_owned()).or_default()
    }
}

impl SampleNotes {
    /// The scores with the override in the place of the judge's; `None` when nobody gave any.
    pub fn corrected(&self, judged: Option<&CriteriaScores>) -> Option<CriteriaScores> {
        let Some(overridden) = &self.overridden else { return judged.cloned() };
        let mut scores: BTreeMap<_, _> = judged.map(|judged| judged.iter().collect()).unwrap_or_default();
        scores.extend(&overridden.scores);
        // Where a judge scored, its rubric says which criteria there are; elsewhere a person gives all of them.
        if judged.is_some() { CriteriaScores::of(scores).ok() } else { CriteriaScores::new(scores).ok() }
    }
}

fn check_length(text: &str) -> Result<(), ReviewError> {
    let found = text.chars().count();
    if found > LONGEST_TEXT { Err(ReviewError::TooLong { found }) } else { Ok(()) }
}

/// What an override changes: `accuracy 8 → 5, style 6 → 7`.
fn in_words(
    before: &BTreeMap<Criterion, f64>,
    after: &BTreeMap<Criterion, f64>,
    judged: Option<&CriteriaScores>,
) -> String {
    let judged: BTreeMap<_, _> = judged.map(|judged| judged.iter().collect()).unwrap_or_default();
    let of = |scores: &BTreeMap<Criterion, f64>, criterion| {
        scores.get(&criterion).or_else(|| judged.get(&criterion)).copied()
    };
    let mut words = String::new();
    for criterion in Criterion::ALL {
        let (from, to) = (of(before, criterion), of(after, criterion));
        let has_changed = before.get(&criterion) != after.get(&criterion);
        if !has_changed {
            continue;
        }
        let number =
            |score: Option<f64>| score.map_or_else(|| "none".to_owned(), |score| format!("{score:.1}"));
        let comma = if words.is_empty() { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(words, "{comma}{criterion} {} → {}", number(from), number(to));
    }
    if words.is_empty() { "the same scores again".to_owned() } else { words }
}
