//! What a reviewer sees of two texts side by side: changed words, and citations that agree or do not.

use std::{collections::BTreeSet, ops::Range};

use serde::{Deserialize, Serialize};
use similar::{Algorithm, ChangeTag, utils::diff_words};

use crate::citation::{Citation, Cited};

/// A stretch of text under one kind of mark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// The text.
    pub text: String,
    /// Whether the other text has it too.
    pub change: PieceChange,
    /// Whether it is part of a citation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub citation: Option<CitationMark>,
}

/// Whether both texts have a stretch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PieceChange {
    /// Both have it.
    Same,
    /// The answer alone has it.
    Added,
    /// The reference alone has it.
    Removed,
}

/// Whether a citation stands in both texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CitationMark {
    /// The other text cites it too.
    Shared,
    /// The other text does not cite it.
    Alone,
}

/// The answer with what it changes of the reference, word by word, and the citations of both.
pub fn compare(reference: &str, answer: &str) -> Vec<Piece> {
    let (of_reference, of_answer) = (marks(reference, answer), marks(answer, reference));
    let (mut at_reference, mut at_answer) = (0, 0);
    let mut pieces = Vec::new();
    for (tag, text) in diff_words(Algorithm::Myers, reference, answer) {
        let (change, from, marks) = match tag {
            ChangeTag::Equal => (PieceChange::Same, at_answer, &of_answer),
            ChangeTag::Insert => (PieceChange::Added, at_answer, &of_answer),
            ChangeTag::Delete => (PieceChange::Removed, at_reference, &of_reference),
        };
        split(&mut pieces, text, from, (change, marks));
        if tag != ChangeTag::Insert {
            at_reference += text.len();
        }
        if tag != ChangeTag::Delete {
            at_answer += text.len();
        }
    }
    pieces
}

/// A text alone, with its citations marked by whether `other` has them.
pub fn marked(text: &str, other: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    split(&mut pieces, text, 0, (PieceChange::Same, &marks(text, other)));
    pieces
}

type Marks = Vec<(Range<usize>, CitationMark)>;

fn marks(text: &str, other: &str) -> Marks {
    let shared: BTreeSet<_> = Cited::of(other).citations().iter().map(Citation::provision).collect();
    let mut marks = Marks::new();
    for citation in Cited::of(text).citations() {
        let is_shared = shared.contains(&citation.provision());
        match marks.last_mut() {
            // Provisions that are cited together have one place, which is shared when all of them are.
            Some((place, mark)) if *place == citation.place => {
                if !is_shared {
                    *mark = CitationMark::Alone;
                }
            }
            Some(_) | None => {
                let mark = if is_shared { CitationMark::Shared } else { CitationMark::Alone };
                marks.push((citation.place.clone(), mark));
            }
        }
    }
    marks
}

/// Cuts `text`, which begins at byte `from` of its whole, where citations begin and end.
fn split(pieces: &mut Vec<Piece>, text: &str, from: usize, (change, marks): (PieceChange, &Marks)) {
    let mut add = |part: Option<&str>, citation| {
        if let Some(part) = part.filter(|part| !part.is_empty()) {
            pieces.push(Piece { text: part.to_owned(), change, citation });
        }
    };
    let to = from + text.len();
    let mut at = from;
    for (place, mark) in marks.iter().filter(|(place, _)| place.start < to && from < place.end) {
        let (start, end) = (place.start.max(at), place.end.min(to));
        add(text.get(at - from..start - from), None);
        add(text.get(start - from..end - from), Some(*mark));
        at = end;
    }
    add(text.get(at - from..), None);
}
