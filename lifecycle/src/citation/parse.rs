//! Reads citations out of tokens.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Citation, CitationKind, Part,
    statute::{self, roman},
    token::{Piece, Token},
};
use crate::text::fold;

/// A longer range such as `§§ 1 bis 999` names its ends alone.
const LONGEST_RANGE: u32 = 200;

/// All provisions that the tokens cite, in order.
pub(super) fn citations(tokens: &[Token]) -> Vec<Citation> {
    let mut found = Vec::new();
    let mut reader = Reader { tokens, at: 0 };
    while reader.at < tokens.len() {
        let start = reader.at;
        let cited = reader.citation();
        if cited.is_empty() {
            reader.at = start + 1;
        }
        found.extend(cited);
    }
    found
}

struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
}

/// What stands between two members of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Between {
    And,
    To,
}

type Parts = BTreeMap<Part, BTreeSet<String>>;

impl<'a> Reader<'a> {
    /// The provisions that are cited here, none when no citation begins here.
    fn citation(&mut self) -> Vec<Citation> {
        let first = self.at;
        let Some((kind, several)) = self.opening() else { return Vec::new() };
        let mut sections: Vec<(String, Parts)> = Vec::new();
        let mut between = Between::And;
        while let Some(number) = self.section_number() {
            if between == Between::To
                && let Some((before, _)) = sections.last()
            {
                let inner = inner_numbers(before, &number);
                sections.extend(inner.into_iter().map(|number| (number, Parts::new())));
            }
            sections.push((number, self.parts(several)));
            match self.separator_before(|token| token.number().is_some()) {
                Some(next) if several => between = next,
                Some(_) | None => break,
            }
        }
        let statute = self.statute();
        let place = self.place(first);
        sections
            .into_iter()
            .map(|(number, parts)| Citation {
                place: place.clone(),
                kind,
                number,
                parts,
                statute: statute.clone(),
            })
            .collect()
    }

    /// The sign or word that begins a citation, and whether several provisions may follow.
    fn opening(&mut self) -> Option<(CitationKind, bool)> {
        let token = self.peek(0)?;
        let opening = match &token.piece {
            Piece::Sign => {
                let mut signs = 0;
                while self.peek(0).is_some_and(|token| token.piece == Piece::Sign) {
                    (self.at, signs) = (self.at + 1, signs + 1);
                }
                return Some((CitationKind::Section, signs > 1));
            }
            Piece::Word(word) => match fold(word).as_str() {
                "paragraf" | "paragraph" | "paragrafen" | "paragraphen" => (CitationKind::Section, true),
                "art" | "artikel" | "artikels" | "artikeln" => (CitationKind::Article, true),
                _ => return None,
            },
            Piece::Number(_) | Piece::Dot | Piece::Comma | Piece::Dash | Piece::Other => return None,
        };
        self.at += 1;
        self.skip_dot();
        self.peek(0)?.number()?;
        Some(opening)
    }

    /// `35`, `35a` or `35 a`, with `f.` or `ff.` passed over.
    fn section_number(&mut self) -> Option<String> {
        let mut number = self.peek(0)?.number()?.to_owned();
        self.at += 1;
        let is_letter = |word: &str| word.len() == 1 && word.starts_with(|c: char| c.is_ascii_lowercase());
        if let Some(word) = self.peek(0).and_then(Token::word) {
            if word == "f" || word == "ff" {
                self.at += 1;
                self.skip_dot();
            } else if is_letter(word) && number.ends_with(|c: char| c.is_ascii_digit()) {
                number.push_str(word);
                self.at += 1;
            }
        }
        Some(number)
    }

    fn parts(&mut self, several: bool) -> Parts {
        let mut parts = Parts::new();
        if let Some(paragraph) = self.peek(0).and_then(Token::word).and_then(roman) {
            self.at += 1;
            parts.entry(Part::Paragraph).or_default().insert(paragraph.to_string());
            if let Some(sentence) = self.peek(0).and_then(Token::number) {
                parts.entry(Part::Sentence).or_default().insert(sentence.to_owned());
                self.at += 1;
            }
        }
        loop {
            let start = self.at;
            self.separator();
            let Some((part, values)) = self.part(several) else {
                self.at = start;
                return parts;
            };
            parts.entry(part).or_default().extend(values);
        }
    }

    /// `Abs. 1`, `Abs. 1 und 2`, `Nr. 1 bis 3`.
    fn part(&mut self, several: bool) -> Option<(Part, BTreeSet<String>)> {
        let part = Part::named(self.peek(0)?.word()?)?;
        let dots = usize::from(self.peek(1).is_some_and(|token| token.piece == Piece::Dot));
        let mut last = value(part, self.peek(1 + dots)?)?;
        self.at += 2 + dots;
        let mut values = BTreeSet::from([last.clone()]);
        let is_value = |token: &Token| value(part, token).is_some();
        loop {
            let start = self.at;
            let Some(between) = self.separator_before(is_value) else { return Some((part, values)) };
            // After `§§` a number without a word before it is the next provision, unless it is the end of a range.
            if several && part != Part::Letter && between == Between::And {
                self.at = start;
                return Some((part, values));
            }
            let Some(next) = self.peek(0).and_then(|token| value(part, token)) else {
                return Some((part, values));
            };
            self.at += 1;
            if between == Between::To {
                values.extend(inner_numbers(&last, &next));
            }
            values.insert(next.clone());
            last = next;
        }
    }

    /// The statute that stands here, perhaps behind an article or behind `der` and `des`.
    fn statute(&mut self) -> Option<String> {
        let article = self.peek(0).and_then(Token::word);
        let skip = usize::from(article.is_some_and(|word| matches!(word, "des" | "der" | "dem" | "vom")));
        let (name, length) = statute::at(self.tokens.get(self.at + skip..)?)?;
        self.at += skip + length;
        Some(name)
    }

    /// A separator, if a token of the right kind follows it.
    fn separator_before(&mut self, wanted: impl Fn(&Token) -> bool) -> Option<Between> {
        let start = self.at;
        let between = self.separator();
        if between.is_some() && self.peek(0).is_some_and(wanted) {
            return between;
        }
        self.at = start;
        None
    }

    fn separator(&mut self) -> Option<Between> {
        let token = self.peek(0)?;
        let between = match &token.piece {
            Piece::Comma => Between::And,
            Piece::Dash => Between::To,
            Piece::Word(word) => match word.as_str() {
                "und" | "oder" | "sowie" | "u" => Between::And,
                "bis" => Between::To,
                _ => return None,
            },
            Piece::Sign | Piece::Number(_) | Piece::Dot | Piece::Other => return None,
        };
        self.at += 1;
        if token.word() == Some("u") {
            self.skip_dot();
        }
        Some(between)
    }

    fn skip_dot(&mut self) {
        if self.peek(0).is_some_and(|token| token.piece == Piece::Dot) {
            self.at += 1;
        }
    }

    fn peek(&self, ahead: usize) -> Option<&'a Token> {
        self.tokens.get(self.at + ahead)
    }

    /// The bytes from token `first` to the one that was read last.
    fn place(&self, first: usize) -> std::ops::Range<usize> {
        let start = self.tokens.get(first).map_or(0, |token| token.start);
        let end =
            self.at.checked_sub(1).and_then(|last| self.tokens.get(last)).map_or(start, |token| token.end);
        start..end
    }
}

/// The value of a part that a token gives: a number, or one or two small letters where the part has such.
fn value(part: Part, token: &Token) -> Option<String> {
    if part == Part::Letter {
        let word = token.word()?;
        let is_letter = word.len() <= 2 && word.chars().all(|character| character.is_ascii_lowercase());
        return is_letter.then(|| word.to_owned());
    }
    token.number().map(str::to_owned)
}

/// The whole numbers between two others.
fn inner_numbers(first: &str, last: &str) -> Vec<String> {
    match (first.parse::<u32>(), last.parse::<u32>()) {
        (Ok(first), Ok(last)) if last > first && last - first <= LONGEST_RANGE => {
            (first + 1..last).map(|number| number.to_string()).collect()
        }
        _ => Vec::new(),
    }
}
