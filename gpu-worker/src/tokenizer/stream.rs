//! Turns tokens into text one by one, holding back characters that are not complete yet.

use super::{Tokenizer, TokenizerError};

/// The text of a growing token sequence.
///
/// A token may end in the middle of a character, and a decoder may write a token differently depending on the one before
/// it; so each step decodes the last complete piece together with what is new and gives out the difference.
#[derive(Debug, Clone, Default)]
pub struct TextStream {
    ids: Vec<u32>,
    shown_from: usize,
    shown_to: usize,
}

impl TextStream {
    /// An empty text.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a token and returns the text that became complete, which may be empty.
    ///
    /// # Errors
    /// [`TokenizerError::Decode`].
    pub fn push(&mut self, tokenizer: &Tokenizer, id: u32) -> Result<String, TokenizerError> {
        self.ids.push(id);
        let fresh = self.fresh_text(tokenizer)?;
        if fresh.is_empty() || fresh.ends_with('\u{FFFD}') {
            return Ok(String::new());
        }
        self.shown_from = self.shown_to;
        self.shown_to = self.ids.len();
        Ok(fresh)
    }

    /// The text that was held back, broken characters as U+FFFD.
    ///
    /// # Errors
    /// [`TokenizerError::Decode`].
    pub fn finish(&mut self, tokenizer: &Tokenizer) -> Result<String, TokenizerError> {
        let fresh = self.fresh_text(tokenizer)?;
        self.shown_from = self.shown_to;
        self.shown_to = self.ids.len();
        Ok(fresh)
    }

    fn fresh_text(&self, tokenizer: &Tokenizer) -> Result<String, TokenizerError> {
        let window = self.ids.get(self.shown_from..).unwrap_or_default();
        let shown = self.ids.get(self.shown_from..self.shown_to).unwrap_or_default();
        let (shown, text) = (tokenizer.decode(shown)?, tokenizer.decode(window)?);
        Ok(text.get(shown.len()..).unwrap_or_default().to_owned())
    }
}
