//! Scores how well a text reads as a text: words, sentences and function words, not noise, tables, menus or markup.

mod token;

#[cfg(test)]
mod tests;

use clara_lifecycle::dataset::TrainingContent;

use crate::{share::share, stop_words::StopWords, words::Words};
use token::{Token, token};

/// The weakest part makes so much of the score, the mean of all parts the rest: one thing that is wrong makes a text useless,
/// however good its other parts are.
const WEIGHT_OF_WEAKEST: f64 = 0.7;
/// A line with so many words reads as text, whatever ends it.
const LONG_LINE_WORDS: u64 = 6;
/// A line with so many words reads as text when punctuation ends it.
const SHORT_LINE_WORDS: u64 = 3;

/// The parts of a score, each 0 (bad) to 1 (as in good texts).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Quality {
    /// Letters among all that is not blank.
    pub(crate) letters: f64,
    /// Words that can be words, among all that hold letters; the rest is noise of text recognition or markup.
    pub(crate) spelling: f64,
    /// Function words among all words, in the language that has most of them.
    pub(crate) function_words: f64,
    /// Text in lines that read as sentences or parts of them, not as entries of menus and tables.
    pub(crate) lines: f64,
    /// Signs that programs and layouts use, per word.
    pub(crate) symbols: f64,
    /// Links and addresses among the words.
    pub(crate) links: f64,
    /// Mean length of the words.
    pub(crate) word_length: f64,
}

/// What one pass over the characters counts.
#[derive(Debug, Default)]
struct Counts {
    visible: u64,
    letters: u64,
    symbols: u64,
    tokens: u64,
    words: u64,
    word_letters: u64,
    noise: u64,
    links: u64,
    /// Bytes of all lines, and of those that read as text.
    line_bytes: u64,
    text_line_bytes: u64,
}

impl Quality {
    /// The score, 0 (bad) to 1.
    pub(crate) fn score(&self) -> f64 {
        let parts = self.parts();
        let weakest = parts.iter().map(|(_, part)| *part).fold(1.0, f64::min);
        #[expect(clippy::cast_precision_loss, reason = "a handful of parts")]
        let mean = parts.iter().map(|(_, part)| *part).sum::<f64>() / parts.len() as f64;
        WEIGHT_OF_WEAKEST * weakest + (1.0 - WEIGHT_OF_WEAKEST) * mean
    }

    /// The part that pulls the score down most, for people.
    pub(crate) fn weakest(&self) -> (&'static str, f64) {
        let mut weakest = ("nothing", 1.0);
        for (name, part) in self.parts() {
            if part < weakest.1 {
                weakest = (name, part);
            }
        }
        weakest
    }

    fn parts(&self) -> [(&'static str, f64); 7] {
        [
            ("letters", self.letters),
            ("spelling", self.spelling),
            ("function words", self.function_words),
            ("lines", self.lines),
            ("symbols", self.symbols),
            ("links", self.links),
            ("word length", self.word_length),
        ]
    }
}

/// The parts of a document's score; `words` are its words.
pub(crate) fn quality(content: &TrainingContent, words: &Words, stop_words: &StopWords) -> Quality {
    let mut counts = Counts::default();
    for line in content.texts().into_iter().flat_map(str::lines) {
        counts.add_line(line);
    }
    let function_words = share(stop_words.most(words.hashes()), words.hashes().len() as u64);
    let length = share(counts.word_letters, counts.words);
    Quality {
        letters: rise(share(counts.letters, counts.visible), 0.5, 0.75),
        spelling: rise(share(counts.words, counts.words + counts.noise), 0.6, 0.9),
        function_words: rise(function_words, 0.06, 0.2),
        lines: rise(share(counts.text_line_bytes, counts.line_bytes), 0.3, 0.7),
        symbols: 1.0 - rise(share(counts.symbols, counts.tokens), 0.1, 0.4),
        links: 1.0 - rise(share(counts.links, counts.tokens), 0.03, 0.15),
        word_length: rise(length, 2.5, 3.5) * (1.0 - rise(length, 11.0, 14.0)),
    }
}

impl Counts {
    fn add_line(&mut self, line: &str) {
        let line = line.trim();
        if line.is_empty() {
            return;
        }
        let mut line_words = 0;
        for text in line.split_whitespace() {
            self.add_characters(text);
            self.tokens += 1;
            match token(text) {
                Token::Word { letters } => {
                    self.words += 1;
                    self.word_letters += letters;
                    line_words += 1;
                }
                Token::Noise => self.noise += 1,
                Token::Link => self.links += 1,
                Token::Abbreviation => line_words += 1,
                Token::Number => {}
            }
        }
        let is_ended = line.ends_with(['.', ',', ';', ':', '!', '?', ')', '“', '”', '"', '«']);
        let least = if is_ended { SHORT_LINE_WORDS } else { LONG_LINE_WORDS };
        self.line_bytes += line.len() as u64;
        if line_words >= least {
            self.text_line_bytes += line.len() as u64;
        }
    }

    fn add_characters(&mut self, text: &str) {
        for character in text.chars() {
            self.visible += 1;
            if character.is_alphabetic() {
                self.letters += 1;
            } else if is_symbol(character) {
                self.symbols += 1;
            }
        }
    }
}

/// Signs of programs, markup, tables and broken text; not those of prose, such as `§`, `%` and `€`.
fn is_symbol(character: char) -> bool {
    matches!(
        character,
        '#' | '|'
            | '{'
            | '}'
            | '<'
            | '>'
            | '\\'
            | '_'
            | '='
            | '*'
            | '~'
            | '^'
            | '`'
            | '$'
            | '…'
            | '\u{FFFD}'
            | '■'
            | '□'
            | '►'
            | '¦'
            | '¬'
            | '+'
    )
}

/// 0 up to `from`, 1 from `to` on, straight between.
fn rise(value: f64, from: f64, to: f64) -> f64 {
    ((value - from) / (to - from)).clamp(0.0, 1.0)
}
