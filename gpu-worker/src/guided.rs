//! Keeps generated text inside a JSON schema: what is fixed is forced, what is free is chosen among the tokens that fit.

mod ordered;
mod schema;
mod text_value;

use std::sync::Arc;

pub use ordered::OrderedJson;
pub use schema::SchemaError;

use crate::token_texts::TokenTexts;
use schema::Segment;
use text_value::TextValue;

/// Longest string, in characters, where the schema sets no `maxLength`.
pub const DEFAULT_MAX_LENGTH: u32 = 400;

/// A compiled schema.
///
/// Supported: objects whose properties all appear, in the schema's order; integers with `minimum` and `maximum` of up to
/// three digits; `enum` of strings or integers; booleans; strings with `maxLength`. Everything else is refused.
#[derive(Debug, Clone)]
pub struct Guide {
    segments: Arc<[Segment]>,
}

/// Where a generated text stands in its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    segment: usize,
    /// Bytes matched in the segment.
    offset: usize,
    /// Choices that still fit: indices `first..end`.
    first: usize,
    end: usize,
    text: TextValue,
}

impl Guide {
    /// Compiles a schema whose root is an object.
    ///
    /// # Errors
    /// [`SchemaError`] names the keyword or value that is not supported, and where it stands.
    pub fn compile(schema: &OrderedJson) -> Result<Self, SchemaError> {
        Ok(Self { segments: schema::segments(schema)?.into() })
    }

    /// The start of the text.
    pub fn start(&self) -> Position {
        self.enter(0)
    }

    /// Whether the text is complete.
    pub fn is_complete(&self, position: Position) -> bool {
        position.segment >= self.segments.len()
    }

    /// The position after `byte`; `None` when it does not fit.
    pub fn advance(&self, position: Position, byte: u8) -> Option<Position> {
        match self.segments.get(position.segment)? {
            Segment::Literal(text) => {
                let fits = text.get(position.offset) == Some(&byte);
                let next = Position { offset: position.offset + 1, ..position };
                fits.then(|| if next.offset == text.len() { self.enter(position.segment + 1) } else { next })
            }
            Segment::Choice(choices) => self.advance_choice(position, choices, byte),
            Segment::Text { .. } => match position.text.advance(byte)? {
                Some(text) => Some(Position { text, ..position }),
                None => Some(self.enter(position.segment + 1)),
            },
        }
    }

    /// The position after all of `bytes`; `None` when they do not fit.
    pub fn advance_all(&self, position: Position, bytes: &[u8]) -> Option<Position> {
        bytes.iter().try_fold(position, |position, &byte| self.advance(position, byte))
    }

    /// The text that must follow, up to the next free choice.
    pub fn forced(&self, mut position: Position) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(byte) = self.only_next(position) {
            let Some(next) = self.advance(position, byte) else { break };
            bytes.push(byte);
            position = next;
        }
        bytes
    }

    /// The same position with the string it stands in at its end; `None` outside of strings and inside of a character.
    pub fn close_string(&self, position: Position) -> Option<Position> {
        match self.segments.get(position.segment)? {
            Segment::Text { .. } => Some(Position { text: position.text.closed()?, ..position }),
            Segment::Literal(_) | Segment::Choice(_) => None,
        }
    }

    /// The longest text that can follow when every string ends at once.
    pub fn rest_without_strings(&self, position: Position) -> Vec<u8> {
        let mut rest = Vec::new();
        for (index, segment) in self.segments.iter().enumerate().skip(position.segment) {
            let here = if index == position.segment { position } else { self.enter(index) };
            match segment {
                Segment::Literal(text) => rest.extend_from_slice(text.get(here.offset..).unwrap_or_default()),
                Segment::Text { .. } => rest.push(b'"'),
                Segment::Choice(choices) => {
                    let fitting = choices.get(here.first..here.end).unwrap_or_default();
                    let longest = fitting.iter().max_by_key(|choice| choice.len());
                    rest.extend_from_slice(
                        longest.and_then(|text| text.get(here.offset..)).unwrap_or_default(),
                    );
                }
            }
        }
        rest
    }

    /// The tokens whose whole text may follow, ascending.
    pub fn allowed(&self, position: Position, vocabulary: &TokenTexts) -> Vec<u32> {
        let mut tokens = Vec::new();
        for byte in 0..=u8::MAX {
            let Some(next) = self.advance(position, byte) else { continue };
            for &(token, ref rest) in vocabulary.starting_with(byte) {
                if self.advance_all(next, rest).is_some() {
                    tokens.push(token);
                }
            }
        }
        tokens.sort_unstable();
        tokens
    }

    fn enter(&self, segment: usize) -> Position {
        let (end, max_chars) = match self.segments.get(segment) {
            Some(Segment::Choice(choices)) => (choices.len(), 0),
            Some(Segment::Text { max_chars }) => (0, *max_chars),
            Some(Segment::Literal(_)) | None => (0, 0),
        };
        Position { segment, offset: 0, first: 0, end, text: TextValue::new(max_chars) }
    }

    fn advance_choice(&self, position: Position, choices: &[Vec<u8>], byte: u8) -> Option<Position> {
        let next_byte = |index: &usize| choices.get(*index).and_then(|choice| choice.get(position.offset));
        let mut fitting = (position.first..position.end).filter(|index| next_byte(index) == Some(&byte));
        let Some(first) = fitting.next() else {
            let complete = self.is_complete_choice(position, choices);
            return complete
                .then(|| self.enter(position.segment + 1))
                .and_then(|next| self.advance(next, byte));
        };
        let end = fitting.next_back().map_or(first + 1, |last| last + 1);
        let next = Position { offset: position.offset + 1, first, end, ..position };
        let settled = end - first == 1 && self.is_complete_choice(next, choices);
        Some(if settled { self.enter(position.segment + 1) } else { next })
    }

    /// Whether what was matched is a whole choice; sorted choices put it before its continuations.
    #[expect(clippy::unused_self, reason = "reads as a question about a position of this guide")]
    fn is_complete_choice(&self, position: Position, choices: &[Vec<u8>]) -> bool {
        position.first < position.end
            && choices.get(position.first).is_some_and(|choice| choice.len() == position.offset)
    }

    /// The one byte that may follow, when there is only one.
    fn only_next(&self, position: Position) -> Option<u8> {
        match self.segments.get(position.segment)? {
            Segment::Literal(text) => text.get(position.offset).copied(),
            Segment::Text { .. } => position.text.is_full().then_some(b'"'),
            Segment::Choice(_) => {
                let mut fitting = (0..=u8::MAX).filter(|&byte| self.advance(position, byte).is_some());
                let only = fitting.next()?;
                fitting.next().is_none().then_some(only)
            }
        }
    }
}

#[cfg(test)]
mod tests;
