//! Cuts a query into its tokens.

use super::{Problem, Provision, problem, year_after};
use crate::{
    citation::{Citation, Cited},
    text::{fold, words},
};

/// One piece of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Open,
    Close,
    And,
    Or,
    Not,
    /// `-` before what is excluded.
    Minus,
    /// What stands between blanks, as written; `Bund-Länder` is one.
    Word(String),
    /// What stands in quotes.
    Phrase(String),
    /// Provisions that are named together, by their places in [`Lexed::provisions`].
    Provisions(Vec<usize>, String),
}

/// The tokens with the character that each begins at, counted from 1.
#[derive(Debug, Default)]
pub(super) struct Lexed {
    pub(super) tokens: Vec<(usize, Token)>,
    pub(super) provisions: Vec<Provision>,
}

impl Token {
    /// Whether it can be searched for.
    pub(super) fn is_sought(&self) -> bool {
        matches!(self, Self::Word(_) | Self::Phrase(_) | Self::Provisions(..))
    }
}

/// The tokens of a query; what holds neither letter nor digit is passed over.
pub(super) fn tokens(query: &str) -> Result<Lexed, Problem> {
    let mut lexer = Lexer { rest: query, place: 1, lexed: Lexed::default() };
    while let Some(first) = lexer.rest.chars().next() {
        match first {
            _ if first.is_whitespace() => lexer.skip(first.len_utf8()),
            '(' => lexer.push(Token::Open, 1),
            ')' => lexer.push(Token::Close, 1),
            '-' if lexer.excludes() => lexer.push(Token::Minus, 1),
            _ => match closing(first) {
                Some(closing) => lexer.phrase(first, closing)?,
                None => lexer.word_or_provision(),
            },
        }
    }
    Ok(lexer.lexed)
}

struct Lexer<'a> {
    rest: &'a str,
    /// Of the next character, counted from 1.
    place: usize,
    lexed: Lexed,
}

impl Lexer<'_> {
    fn skip(&mut self, bytes: usize) {
        let (skipped, rest) = self.rest.split_at(bytes);
        self.place += skipped.chars().count();
        self.rest = rest;
    }

    fn push(&mut self, token: Token, bytes: usize) {
        self.lexed.tokens.push((self.place, token));
        self.skip(bytes);
    }

    /// Whether the `-` here stands before what it excludes: `-word`, not `a - b`.
    fn excludes(&self) -> bool {
        let next = self.rest.chars().nth(1);
        next.is_some_and(|next| {
            next.is_alphanumeric() || matches!(next, '(' | '§') || closing(next).is_some()
        })
    }

    fn phrase(&mut self, opening: char, closing: &[char]) -> Result<(), Problem> {
        let inner = self.rest.split_at(opening.len_utf8()).1;
        let Some((end, mark)) = inner.char_indices().find(|(_, letter)| closing.contains(letter)) else {
            return Err(problem(
                self.place,
                format!("the phrase that begins with {opening} has no end; close it"),
            ));
        };
        let phrase = inner.split_at(end).0.trim().to_owned();
        if words(&fold(&phrase)).next().is_none() {
            return Err(problem(self.place, "the phrase holds no word; fill it or leave it out"));
        }
        self.push(Token::Phrase(phrase), opening.len_utf8() + end + mark.len_utf8());
        Ok(())
    }

    fn word_or_provision(&mut self) {
        if let Some(bytes) = self.provisions() {
            self.skip(bytes);
            return;
        }
        let word = word_at(self.rest);
        let token = match word {
            "AND" => Some(Token::And),
            "OR" => Some(Token::Or),
            "NOT" => Some(Token::Not),
            _ => words(&fold(word)).next().map(|_| Token::Word(word.to_owned())),
        };
        match token {
            Some(token) => self.push(token, word.len()),
            None => self.skip(word.len().max(1)),
        }
    }

    /// Reads the provisions that are named here; gives the bytes that name them.
    fn provisions(&mut self) -> Option<usize> {
        let (segment, _) = self.rest.split_at(segment_end(self.rest));
        let cited = Cited::of(segment);
        let first = cited.citations().first().filter(|first| first.place.start == 0)?;
        let year = year_after(segment, first);
        let bytes = match year {
            // Blanks stand between the law and its year.
            Some(year) => segment.split_at(first.place.end).1.find(year)? + first.place.end + year.len(),
            None => first.place.end,
        };
        let (written, _) = segment.split_at(bytes);
        let together = cited.citations().iter().filter(|citation| citation.place.start == 0);
        let mut named: Vec<String> = together.map(Citation::provision).collect();
        if let [only] = named.as_mut_slice() {
            // The words as written also say which paragraph is meant.
            written.clone_into(only);
        }
        let law = self.law_before(first);
        let mut places = Vec::new();
        for provision in named {
            let provision = match (&law, year) {
                (Some((law, _)), _) => format!("{provision} {law}"),
                (None, Some(year)) if !provision.ends_with(year) => format!("{provision} {year}"),
                (None, _) => provision,
            };
            places.push(self.lexed.provisions.len());
            self.lexed.provisions.push(Provision::parse(&provision)?);
        }
        let mut place = self.place;
        for _ in 0..law.map_or(0, |(_, tokens)| tokens) {
            (place, _) = self.lexed.tokens.pop()?;
        }
        self.lexed.tokens.push((place, Token::Provisions(places, written.to_owned())));
        Some(bytes)
    }

    /// The law in `BauGB § 35` and `EEG 2014 § 10b`: the word or two before provisions that name none themselves, and how many.
    fn law_before(&self, first: &Citation) -> Option<(String, usize)> {
        if first.statute.is_some() {
            return None;
        }
        let law = |words: &str| {
            let text = format!("§ 1 {words}");
            let cited = Cited::of(&text);
            let citation = cited.citations().first()?;
            let name = citation.statute.clone()?;
            Some((name, year_after(&text, citation).map(str::to_owned)))
        };
        let word = |(_, token): &'_ (usize, Token)| match token {
            Token::Word(word) => Some(word.clone()),
            Token::Open
            | Token::Close
            | Token::And
            | Token::Or
            | Token::Not
            | Token::Minus
            | Token::Phrase(_)
            | Token::Provisions(..) => None,
        };
        let before: Vec<String> = self.lexed.tokens.iter().rev().take(2).map_while(word).collect();
        if let [year, word] = before.as_slice()
            && let Some((name, Some(year))) = law(&format!("{word} {year}"))
        {
            return Some((format!("{name} {year}"), 2));
        }
        law(before.first()?).map(|(name, _)| (name, 1))
    }
}

/// The marks that may end a phrase which begins with this one.
fn closing(opening: char) -> Option<&'static [char]> {
    Some(match opening {
        '"' => &['"'],
        '„' => &['“', '”', '"'],
        '“' => &['”', '“'],
        '»' => &['«'],
        '«' => &['»'],
        _ => return None,
    })
}

fn is_border(letter: char) -> bool {
    letter.is_whitespace() || matches!(letter, '(' | ')') || closing(letter).is_some()
}

fn word_at(text: &str) -> &str {
    let end = text.find(is_border).unwrap_or(text.len());
    // A mark that ends a phrase elsewhere is a word of its own here, and passed over.
    let end = if end == 0 { text.chars().next().map_or(0, char::len_utf8) } else { end };
    text.split_at(end).0
}

/// Where the next bracket, quote or operator begins.
fn segment_end(text: &str) -> usize {
    let mut at = 0;
    loop {
        let rest = text.split_at(at).1;
        let Some(first) = rest.chars().next() else { return at };
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        if matches!(first, '(' | ')') || closing(first).is_some() {
            return at;
        }
        let word = word_at(rest);
        if matches!(word, "AND" | "OR" | "NOT") {
            return at;
        }
        at += word.len();
    }
}
