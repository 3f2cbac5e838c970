//! The query language of ingest: words, phrases, provisions, `AND`, `OR`, `NOT`, `-word` and brackets.

mod lex;
mod parse;
mod provision;
#[cfg(test)]
mod tests;

pub use provision::{Provision, year_after};

/// A query that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// As given.
    pub text: String,
    /// What a document must match.
    pub root: AnyOf,
    /// The provisions that [`Term::Provision`] counts.
    pub provisions: Vec<Provision>,
    /// Whether words must stand in order somewhere.
    pub has_phrases: bool,
    /// What is looked for, as written, without operators and without what is excluded.
    pub positive: Vec<String>,
}

/// Alternatives of which at least one matches, and none of what is excluded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AnyOf {
    /// The alternatives.
    pub any: Vec<AllOf>,
    /// What is excluded.
    pub not: Vec<Term>,
}

/// Terms that must all match, and those that must not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AllOf {
    /// What must match.
    pub all: Vec<Term>,
    /// What must not.
    pub not: Vec<Term>,
}

/// One thing to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Term {
    /// A folded word, in any of its forms and compounds.
    Word(String),
    /// Folded words in order, each in any of its forms.
    Phrase(Vec<String>),
    /// A provision, by its place in [`Query::provisions`].
    Provision(usize),
    /// What stands in brackets.
    Group(AnyOf),
}

/// Why a query cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// It holds no word that could be searched for.
    #[error(
        "the query `{query}` holds no word to search for; give at least one word, or leave the query out to take all documents"
    )]
    Empty {
        /// The query as given.
        query: String,
    },
    /// It is malformed.
    #[error("the query `{query}` cannot be understood at character {place}: {problem}")]
    Malformed {
        /// The query as given.
        query: String,
        /// The character, counted from 1.
        place: usize,
        /// What was found, and what to do.
        problem: String,
    },
}

impl Query {
    /// Understands a query.
    ///
    /// # Errors
    /// [`QueryError::Empty`] when it holds no word, [`QueryError::Malformed`] with the place when it is malformed.
    pub fn parse(query: &str) -> Result<Self, QueryError> {
        let refuse = |problem: Problem| QueryError::Malformed {
            query: query.to_owned(),
            place: problem.place,
            problem: problem.message,
        };
        let lexed = lex::tokens(query).map_err(refuse)?;
        if !lexed.tokens.iter().any(|(_, token)| token.is_sought()) {
            return Err(QueryError::Empty { query: query.to_owned() });
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
