//! The query language: words, phrases, provisions, `AND`, `OR`, `NOT`, `-word` and brackets.

mod lex;
mod parse;
#[cfg(test)]
mod tests;

use crate::{error::IngestError, query::provision::Provision};

/// A query that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// As given.
    pub(crate) text: String,
    /// What a document must match.
    pub(crate) root: AnyOf,
    /// The provisions that [`Term::Provision`] counts.
    pub(crate) provisions: Vec<Provision>,
    /// Whether words must stand in order somewhere.
    pub(crate) has_phrases: bool,
    /// What is looked for, as written, without operators and without what is excluded.
    pub(crate) positive: Vec<String>,
}

/// Alternatives of which at least one matches, and none of what is excluded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct AnyOf {
    pub(crate) any: Vec<AllOf>,
    pub(crate) not: Vec<Term>,
}

/// Terms that must all match, and those that must not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct AllOf {
    pub(crate) all: Vec<Term>,
    pub(crate) not: Vec<Term>,
}

/// One thing to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Term {
    /// A folded word, in any of its forms and compounds.
    Word(String),
    /// Folded words in order, each in any of its forms.
    Phrase(Vec<String>),
    /// A provision, by its place in [`Asked::provisions`].
    Provision(usize),
    /// What stands in brackets.
    Group(AnyOf),
}

impl Asked {
    /// Understands a query.
    ///
    /// # Errors
    /// [`IngestError::EmptyQuery`] when it holds no word, [`IngestError::Query`] with the place when it is malformed.
    pub(crate) fn parse(query: &str) -> Result<Self, IngestError> {
        let refuse = |problem: Problem| IngestError::Query {
            query: query.to_owned(),
            place: problem.place,
            problem: problem.message,
        };
        let lexed = lex::tokens(query).map_err(refuse)?;
        if !lexed.tokens.iter().any(|(_, token)| token.is_sought()) {
            return Err(IngestError::EmptyQuery { query: query.to_owned() });
        }
        let parsed = parse::query(lexed.tokens).map_err(refuse)?;
        Ok(Self {
            text: query.to_owned(),
            root: parsed.root,
            provisions: lexed.provisions,
            has_phrases: parsed.has_phrases,
            positive: parsed.positive,
        })
    }
}

/// What is wrong with a query.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Problem {
    /// The character, counted from 1.
    place: usize,
    /// What was found, and what to do.
    message: String,
}

fn problem(place: usize, message: impl Into<String>) -> Problem {
    Problem { place, message: message.into() }
}
