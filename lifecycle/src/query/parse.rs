//! Reads the tokens of a query: `NOT` binds closest, then `AND`, then `OR`, which words side by side mean too.

use std::{iter::Peekable, vec::IntoIter};

use super::{AllOf, AnyOf, Problem, Term, lex::Token, problem};
use crate::{
    language::is_german_function_word,
    text::{fold, words},
};

/// Deeper brackets are refused.
const MOST_BRACKETS: usize = 32;

/// What a query says.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) root: AnyOf,
    pub(super) has_phrases: bool,
    pub(super) positive: Vec<String>,
}

/// Reads all tokens.
pub(super) fn query(tokens: Vec<(usize, Token)>) -> Result<Parsed, Problem> {
    let last = tokens.last().map_or(1, |(place, _)| *place);
    let tokens = tokens.into_iter().peekable();
    let mut parser = Parser { tokens, last, depth: 0, parsed: Parsed::default() };
    let root = parser.any_of(1, true)?;
    if let Some((place, _)) = parser.tokens.next() {
        return Err(problem(place, "this bracket closes none; open it or leave it out"));
    }
    Ok(Parsed { root, ..parser.parsed })
}

struct Parser {
    tokens: Peekable<IntoIter<(usize, Token)>>,
    /// Where the last token begins.
    last: usize,
    depth: usize,
    parsed: Parsed,
}

/// A term, and whether it is excluded.
struct Factor {
    is_excluded: bool,
    /// Whether it is one word with parts, such as `Bund-Länder`.
    is_hyphenated: bool,
    term: Term,
}

impl Parser {
    /// Alternatives up to a closing bracket or the end; `start` is where they begin.
    fn any_of(&mut self, start: usize, is_sought: bool) -> Result<AnyOf, Problem> {
        let mut group = AnyOf::default();
        let mut after_or: Option<usize> = None;
        while let Some((place, token)) = self.tokens.peek() {
            let place = *place;
            match token {
                Token::Close => break,
                Token::Or => {
                    if after_or.is_some() || group.any.is_empty() {
                        return Err(problem(place, "`OR` needs a word on both sides"));
                    }
                    self.tokens.next();
                    after_or = Some(place);
                    continue;
                }
                Token::And => return Err(problem(place, "`AND` needs a word on both sides")),
                Token::Open
                | Token::Not
                | Token::Minus
                | Token::Word(_)
                | Token::Phrase(_)
                | Token::Provisions(..) => {}
            }
            let chain = self.chain(is_sought)?;
            let is_beside_or =
                after_or.take().is_some() || self.tokens.peek().is_some_and(|(_, next)| *next == Token::Or);
            if chain.iter().all(|factor| factor.is_excluded) {
                if is_beside_or {
                    return Err(problem(
                        place,
                        "what is excluded cannot stand beside `OR`: nearly every document would match; put it at the end",
                    ));
                }
                group.not.extend(chain.into_iter().map(|factor| factor.term));
            } else {
                add_alternative(&mut group.any, chain);
            }
        }
        if let Some(place) = after_or {
            return Err(problem(place, "`OR` needs a word on both sides"));
        }
        if group.any.is_empty() {
            let problem_here = if group.not.is_empty() {
                "the brackets hold no word; fill them or leave them out"
            } else {
                "only says what is excluded; say what is looked for, too"
            };
            return Err(problem(start, problem_here));
        }
        drop_function_words(&mut group.any);
        self.parsed.has_phrases |= holds_phrase(&group);
        Ok(group)
    }

    /// Factors that `AND` joins.
    fn chain(&mut self, is_sought: bool) -> Result<Vec<Factor>, Problem> {
        let mut chain = vec![self.factor(is_sought)?];
        while self.tokens.next_if(|(_, token)| *token == Token::And).is_some() {
            chain.push(self.factor(is_sought)?);
        }
        Ok(chain)
    }

    fn factor(&mut self, is_sought: bool) -> Result<Factor, Problem> {
        let is_no = |(_, token): &(usize, Token)| matches!(token, Token::Not | Token::Minus);
        let is_excluded = self.tokens.next_if(is_no).is_some();
        let is_sought = is_sought != is_excluded;
        let Some((place, token)) = self.tokens.next() else {
            return Err(problem(self.last, "the query ends where a word is expected; add one"));
        };
        let mut is_hyphenated = false;
        let term = match token {
            Token::Word(word) => {
                self.note(is_sought, &word);
                let mut parts: Vec<String> = words(&fold(&word)).map(str::to_owned).collect();
                match parts.pop() {
                    Some(only) if parts.is_empty() => Term::Word(only),
                    last => {
                        is_hyphenated = true;
                        Term::Phrase(parts.into_iter().chain(last).collect())
                    }
                }
            }
            Token::Phrase(phrase) => {
                self.note(is_sought, &phrase);
                Term::Phrase(words(&fold(&phrase)).map(str::to_owned).collect())
            }
            Token::Provisions(places, written) => {
                self.note(is_sought, &written);
                provisions(&places)
            }
            Token::Open => Term::Group(self.bracket(place, is_sought)?),
            Token::Close | Token::And | Token::Or | Token::Not | Token::Minus => {
                return Err(problem(place, "a word, phrase or bracket is expected here"));
            }
        };
        Ok(Factor { is_excluded, is_hyphenated, term })
    }

    fn bracket(&mut self, place: usize, is_sought: bool) -> Result<AnyOf, Problem> {
        self.depth += 1;
        if self.depth > MOST_BRACKETS {
            return Err(problem(place, format!("brackets stand in more than {MOST_BRACKETS} others")));
        }
        let group = self.any_of(place, is_sought)?;
        self.depth -= 1;
        match self.tokens.next() {
            Some((_, Token::Close)) => Ok(group),
            Some(_) | None => Err(problem(place, "the bracket that opens here has no end; close it")),
        }
    }

    fn note(&mut self, is_sought: bool, written: &str) {
        if is_sought {
            self.parsed.positive.push(written.to_owned());
        }
    }
}

/// Any of the provisions that are named together, as in `§§ 34, 35 BauGB`.
fn provisions(places: &[usize]) -> Term {
    match places {
        [only] => Term::Provision(*only),
        _ => Term::Group(AnyOf {
            any: places
                .iter()
                .map(|place| AllOf { all: vec![Term::Provision(*place)], not: Vec::new() })
                .collect(),
            not: Vec::new(),
        }),
    }
}

/// A chain as an alternative; the parts of a lone `Bund-Länder` are alternatives of their own.
fn add_alternative(any: &mut Vec<AllOf>, mut chain: Vec<Factor>) {
    if let [Factor { is_excluded: false, is_hyphenated: true, term: Term::Phrase(parts) }] =
        chain.as_mut_slice()
    {
        let parts = std::mem::take(parts);
        any.extend(parts.into_iter().map(|part| AllOf { all: vec![Term::Word(part)], not: Vec::new() }));
        return;
    }
    let mut alternative = AllOf::default();
    for Factor { is_excluded, term, .. } in chain {
        if is_excluded { alternative.not.push(term) } else { alternative.all.push(term) }
    }
    any.push(alternative);
}

/// Drops alternatives that are function words alone, unless there are no others.
fn drop_function_words(any: &mut Vec<AllOf>) {
    let is_function_word = |alternative: &AllOf| match alternative.all.as_slice() {
        [Term::Word(word)] => alternative.not.is_empty() && is_german_function_word(word),
        _ => false,
    };
    if !any.iter().all(is_function_word) {
        any.retain(|alternative| !is_function_word(alternative));
    }
}

/// Whether a phrase stands in the group itself.
fn holds_phrase(group: &AnyOf) -> bool {
    let is_phrase = |term: &Term| matches!(term, Term::Phrase(words) if words.len() > 1);
    let in_chain = |chain: &AllOf| chain.all.iter().chain(&chain.not).any(is_phrase);
    group.any.iter().any(in_chain) || group.not.iter().any(is_phrase)
}
