//! Cuts a text into what citations are made of.

use crate::text::is_invisible;

/// A piece of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) piece: Piece,
    /// Bytes where it begins and ends.
    pub(super) start: usize,
    pub(super) end: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// `§`
    Sign,
    /// A number, perhaps with one small letter: `35`, `35a`.
    Number(String),
    /// Letters.
    Word(String),
    /// `.`
    Dot,
    /// `,` or `/`
    Comma,
    /// A hyphen or dash.
    Dash,
    /// Anything else but blanks.
    Other,
}

impl Token {
    pub(super) fn word(&self) -> Option<&str> {
        match &self.piece {
            Piece::Word(word) => Some(word),
            Piece::Sign | Piece::Number(_) | Piece::Dot | Piece::Comma | Piece::Dash | Piece::Other => None,
        }
    }

    pub(super) fn number(&self) -> Option<&str> {
        match &self.piece {
            Piece::Number(number) => Some(number),
            Piece::Sign | Piece::Word(_) | Piece::Dot | Piece::Comma | Piece::Dash | Piece::Other => None,
        }
    }
}

/// All tokens; invisible characters are passed over wherever they stand.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let characters: Vec<(usize, char)> =
        text.char_indices().filter(|(_, character)| !is_invisible(*character)).collect();
    let mut tokens = Vec::new();
    let mut rest = characters.as_slice();
    while let Some(((start, first), _)) = rest.split_first() {
        let (piece, length) = match first {
            '§' => (Some(Piece::Sign), 1),
            '.' => (Some(Piece::Dot), 1),
            ',' | '/' => (Some(Piece::Comma), 1),
            '-' | '\u{2010}'..='\u{2014}' => (Some(Piece::Dash), 1),
            blank if blank.is_whitespace() => (None, 1),
            digit if digit.is_ascii_digit() => number(rest),
            letter if is_letter(*letter) => word(rest),
            _ => (Some(Piece::Other), 1),
        };
        let (taken, after) = rest.split_at(length.clamp(1, rest.len()));
        if let (Some(piece), Some((last, character))) = (piece, taken.last()) {
            tokens.push(Token { piece, start: *start, end: last + character.len_utf8() });
        }
        rest = after;
    }
    tokens
}

fn number(rest: &[(usize, char)]) -> (Option<Piece>, usize) {
    let mut number: String =
        rest.iter().map(|(_, character)| *character).take_while(char::is_ascii_digit).collect();
    let mut after = rest.iter().skip(number.len()).map(|(_, character)| *character);
    if let Some(letter) = after.next().filter(char::is_ascii_lowercase)
        && !after.next().is_some_and(is_letter)
    {
        number.push(letter);
    }
    let length = number.len();
    (Some(Piece::Number(number)), length)
}

fn word(rest: &[(usize, char)]) -> (Option<Piece>, usize) {
    let letters = rest.iter().map(|(_, character)| *character).take_while(|character| is_letter(*character));
    let word: String = letters.collect();
    let length = word.chars().count();
    (Some(Piece::Word(word)), length)
}

/// A letter, or the mark of a letter that is written in two characters.
fn is_letter(character: char) -> bool {
    character.is_alphabetic() || matches!(character, '\u{0300}'..='\u{036F}')
}
