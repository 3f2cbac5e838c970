//! The list of knowledge gaps: what evaluations found, what became of it, and the query for data that may close them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    id::JobId,
    score::{Evaluation, GapSeverity, GapStatus, KnowledgeGap},
};

#[cfg(test)]
mod tests;

/// Longest query for the data of several gaps, in characters.
const QUERY_CHARS: usize = 1_000;
/// What a query means by more than itself: brackets and quotes group words. Here they only part them.
const QUERY_SIGNS: [char; 8] = ['(', ')', '"', '„', '“', '”', '»', '«'];
/// Words that join or exclude others in a query.
const QUERY_OPERATORS: [&str; 3] = ["AND", "OR", "NOT"];

/// What somebody did about a gap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GapNote {
    /// The gap.
    pub gap_id: String,
    /// What became of it.
    pub status: GapStatus,
    /// Who did it.
    pub actor: String,
    /// When, RFC 3339.
    pub at: String,
    /// Why, or how.
    pub notes: String,
    /// The job that trains on data for it, if one does.
    #[serde(default)]
    pub job: Option<JobId>,
}

/// Which gaps are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GapFilter {
    /// Only gaps of this status.
    pub status: Option<GapStatus>,
    /// Only gaps at least as bad as this.
    pub severity: Option<GapSeverity>,
    /// Only these; empty for all.
    pub gap_ids: Vec<String>,
}

impl GapFilter {
    /// Whether the gap is wanted.
    pub fn takes(&self, gap: &KnowledgeGap) -> bool {
        self.status.is_none_or(|status| gap.status == status)
            // The worst severity is the least.
            && self.severity.is_none_or(|severity| gap.severity <= severity)
            && (self.gap_ids.is_empty() || self.gap_ids.contains(&gap.gap_id))
    }
}

/// The gaps that `evaluations` of one family show, the newest evaluation first, each with what became of it.
///
/// What a person did counts. Without that, a gap of an older version is resolved when the sample passes in a newer
/// evaluation with the same golden dataset, whatever its version.
pub fn gaps_of(evaluations: &[Evaluation], notes: &BTreeMap<String, GapNote>) -> Vec<KnowledgeGap> {
    let mut gaps = Vec::new();
    for (place, evaluation) in evaluations.iter().enumerate() {
        let newer = evaluations.get(..place).unwrap_or_default();
        for gap in &evaluation.knowledge_gaps {
            let mut gap = gap.clone();
            if let Some(note) = notes.get(&gap.gap_id) {
                gap.status = note.status;
                gap.resolved_at = (note.status == GapStatus::Resolved).then(|| note.at.clone());
                gap.resolution_notes = Some(format!("{}: {}", note.actor, note.notes));
            } else if let Some(later) =
                newer.iter().rev().find(|later| passes(later, &gap, dataset_of(evaluation)))
            {
                gap.status = GapStatus::Resolved;
                gap.resolved_at = Some(later.summary.evaluated_at.clone());
                gap.resolution_notes = Some(format!("passes in {}", later.summary.adapter_id));
            }
            gaps.push(gap);
        }
    }
    gaps
}

/// The worst gaps first; equal ones by their score.
pub fn sort_by_severity(gaps: &mut [KnowledgeGap]) {
    let score = |gap: &KnowledgeGap| gap.evaluation_score.unwrap_or(0.0);
    gaps.sort_by(|a, b| a.severity.cmp(&b.severity).then(score(a).total_cmp(&score(b))));
}

/// One query for the data of several gaps: the words of their topics and queries, each once, in order.
pub fn query_of(gaps: &[KnowledgeGap]) -> String {
    let mut seen = BTreeSet::new();
    let mut query = String::new();
    let texts = gaps.iter().flat_map(|gap| [Some(&gap.topic), gap.suggested_data_query.as_ref()]).flatten();
    let is_border = |letter: char| letter.is_whitespace() || QUERY_SIGNS.contains(&letter);
    for word in texts.flat_map(|text| text.split(is_border)) {
        let bare = word.trim_matches(|letter: char| letter.is_ascii_punctuation());
        if bare.is_empty() || QUERY_OPERATORS.contains(&bare) || !seen.insert(bare.to_lowercase()) {
            continue;
        }
        if query.chars().count() + 1 + bare.chars().count() > QUERY_CHARS {
            break;
        }
        if !query.is_empty() {
            query.push(' ');
        }
        query.push_str(bare);
    }
    query
}

fn dataset_of(evaluation: &Evaluation) -> &str {
    let reference = evaluation.summary.golden_dataset_id.as_str();
    reference.split_once('@').map_or(reference, |(id, _)| id)
}

/// Whether the sample of `gap` was asked with the same words and passed.
fn passes(later: &Evaluation, gap: &KnowledgeGap, dataset: &str) -> bool {
    dataset_of(later) == dataset
        && later.results.iter().any(|result| {
            result.passed && result.prompt == gap.prompt && result.expected_output == gap.expected_output
        })
}
