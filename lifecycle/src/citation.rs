//! German legal citations in running text, such as `§ 35 Abs. 1 Nr. 1 BauGB`, `§§ 34, 35 BauGB` and `Art. 14 GG`.

mod parse;
mod statute;
#[cfg(test)]
mod tests;
mod token;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Range,
    str::FromStr,
};

use crate::text::fold;

/// One cited provision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Citation {
    /// Where it stands in the text, in bytes; provisions that are cited together have one place.
    pub place: Range<usize>,
    /// Section or article.
    pub kind: CitationKind,
    /// Its number, e.g. `35` or `35a`.
    pub number: String,
    /// What of it is meant, e.g. paragraph 1; a part may have several values, as in `Abs. 1 und 2`.
    pub parts: BTreeMap<Part, BTreeSet<String>>,
    /// Short name of its statute as written, where one stands beside it.
    pub statute: Option<String>,
}

/// What a provision is called in its statute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CitationKind {
    /// `§`
    Section,
    /// `Art.`
    Article,
}

/// A part of a provision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// `Abs.`, also as a Roman number.
    Paragraph,
    /// `UAbs.`
    Subparagraph,
    /// `Satz`, `S.`
    Sentence,
    /// `Hs.`
    HalfSentence,
    /// `Nr.`
    Number,
    /// `Buchst.`, `lit.`
    Letter,
    /// `Alt.`, `Var.`
    Alternative,
}

/// What a text cites.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cited {
    citations: Vec<Citation>,
    /// Names of all statutes in the text, folded.
    statutes: BTreeSet<String>,
}

/// What a text must cite: one or more provisions, or a statute as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequiredCitation(Required);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Required {
    Provisions(Vec<Citation>),
    Statute(String),
}

/// A text that cites nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is no citation; expected one such as § 35 Abs. 1 BauGB, Art. 14 GG or BauGB")]
pub struct NotACitation {
    /// The text as given.
    pub found: String,
}

impl Cited {
    /// Reads all citations of a text. Kinds of blanks, invisible characters and spellings (`Absatz 1`, `Abs. 1`, `I`)
    /// do not matter.
    pub fn of(text: &str) -> Self {
        let tokens = token::tokens(text);
        Self { citations: parse::citations(&tokens), statutes: statute::names(&tokens) }
    }

    /// The provisions in the order of the text.
    pub fn citations(&self) -> &[Citation] {
        &self.citations
    }

    /// Whether the text cites what is required. It may cite more exactly, and may name the statute once for
    /// several citations.
    pub fn holds(&self, required: &RequiredCitation) -> bool {
        match &required.0 {
            Required::Statute(name) => self.statutes.contains(name),
            Required::Provisions(provisions) => provisions.iter().all(|provision| self.cites(provision)),
        }
    }

    fn cites(&self, required: &Citation) -> bool {
        self.citations.iter().enumerate().any(|(index, found)| {
            found.kind == required.kind
                && found.number == required.number
                && required
                    .parts
                    .iter()
                    .all(|(part, values)| found.parts.get(part).is_some_and(|found| values.is_subset(found)))
                && required.statute.as_ref().is_none_or(|statute| {
                    self.statutes_of(index).any(|found| statute::key(found) == statute::key(statute))
                })
        })
    }

    /// The statute beside a citation, or else those of the nearest citations before and after it.
    fn statutes_of(&self, index: usize) -> impl Iterator<Item = &str> {
        let statute = |citation: &'_ Citation| citation.statute.is_some();
        let own = self.citations.get(index).filter(|citation| statute(citation));
        let (before, after) = match own {
            Some(_) => (None, None),
            None => (
                self.citations.iter().take(index).rev().find(|citation| statute(citation)),
                self.citations.iter().skip(index + 1).find(|citation| statute(citation)),
            ),
        };
        [own, before, after].into_iter().flatten().filter_map(|citation| citation.statute.as_deref())
    }
}

impl FromStr for RequiredCitation {
    type Err = NotACitation;

    fn from_str(text: &str) -> Result<Self, NotACitation> {
        let mut cited = Cited::of(text);
        if !cited.citations.is_empty() {
            return Ok(Self(Required::Provisions(cited.citations)));
        }
        match cited.statutes.pop_first() {
            Some(name) if cited.statutes.is_empty() => Ok(Self(Required::Statute(name))),
            Some(_) | None => Err(NotACitation { found: text.to_owned() }),
        }
    }
}

impl Citation {
    /// The provision without its parts, e.g. `§ 35 BauGB`.
    pub fn provision(&self) -> String {
        let sign = match self.kind {
            CitationKind::Section => "§",
            CitationKind::Article => "Art.",
        };
        match &self.statute {
            Some(statute) => format!("{sign} {} {statute}", self.number),
            None => format!("{sign} {}", self.number),
        }
    }
}

impl Part {
    /// The part that a word or abbreviation names.
    fn named(word: &str) -> Option<Self> {
        Some(match fold(word).as_str() {
            "abs" | "absatz" | "absatzes" | "absaetze" | "absaetzen" => Self::Paragraph,
            "uabs" | "unterabs" | "unterabsatz" | "unterabsatzes" => Self::Subparagraph,
            "s" | "satz" | "satzes" | "saetze" | "saetzen" => Self::Sentence,
            "hs" | "halbs" | "halbsatz" | "halbsatzes" => Self::HalfSentence,
            "nr" | "nrn" | "nummer" | "nummern" | "ziff" | "ziffer" | "ziffern" => Self::Number,
            "buchst" | "buchstabe" | "buchstaben" | "bst" | "lit" => Self::Letter,
            "alt" | "alternative" | "var" | "variante" => Self::Alternative,
            _ => return None,
        })
    }
}

impl fmt::Display for Citation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.provision())
    }
}
