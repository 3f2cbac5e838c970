//! The exact bytes behind every token, and the tokens behind given bytes.

use std::{fmt, sync::Arc};

use crate::model_cache::SharedModel;

/// Turns text into tokens as the model's tokenizer does, without special tokens; `None` when it cannot.
pub type Spelling = dyn Fn(&str) -> Option<Vec<u32>> + Send + Sync;

/// The texts of all tokens of a model.
pub struct TokenTexts {
    pieces: Vec<Option<Vec<u8>>>,
    /// For each first byte the tokens that start with it and the rest of their bytes.
    by_first_byte: Vec<Vec<(u32, Vec<u8>)>>,
    spelling: Box<Spelling>,
}

impl fmt::Debug for TokenTexts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TokenTexts").field("tokens", &self.pieces.len()).finish_non_exhaustive()
    }
}

impl TokenTexts {
    /// A vocabulary whose token `i` stands for `pieces[i]`; special tokens stand for `None`.
    pub fn new(pieces: Vec<Option<Vec<u8>>>, spelling: Box<Spelling>) -> Self {
        let mut by_first_byte = vec![Vec::new(); 256];
        for (token, piece) in (0_u32..).zip(&pieces) {
            let Some((first, rest)) = piece.as_deref().and_then(<[u8]>::split_first) else { continue };
            if let Some(tokens) = by_first_byte.get_mut(usize::from(*first)) {
                tokens.push((token, rest.to_vec()));
            }
        }
        Self { pieces, by_first_byte, spelling }
    }

    /// The texts of a model's tokens.
    pub fn of(model: &Arc<SharedModel>) -> Self {
        let tokenizer = &model.tokenizer;
        let tokens = u32::try_from(model.base.config.vocab_size).unwrap_or(u32::MAX);
        let text = |token| if tokenizer.is_special(token) { None } else { tokenizer.token_bytes(token) };
        let owner = Arc::clone(model);
        let spelling = move |text: &str| owner.tokenizer.encode(text).ok();
        Self::new((0..tokens).map(text).collect(), Box::new(spelling))
    }

    /// The bytes of a token; empty for special tokens and for numbers beyond the tokenizer's.
    pub fn bytes(&self, token: u32) -> &[u8] {
        let piece = usize::try_from(token).ok().and_then(|token| self.pieces.get(token));
        piece.and_then(Option::as_deref).unwrap_or_default()
    }

    /// Tokens whose text starts with `byte`, each with the rest of its text.
    pub fn starting_with(&self, byte: u8) -> &[(u32, Vec<u8>)] {
        self.by_first_byte.get(usize::from(byte)).map_or(&[], Vec::as_slice)
    }

    /// Tokens that together give exactly `text`: as the tokenizer splits it where that is exact, else by the longest tokens.
    /// `None` when some byte has no token.
    pub fn spell(&self, text: &[u8]) -> Option<Vec<u32>> {
        let split = std::str::from_utf8(text).ok().and_then(|text| (self.spelling)(text));
        let exact = |tokens: &Vec<u32>| tokens.iter().flat_map(|&token| self.bytes(token)).eq(text);
        split.filter(exact).or_else(|| self.longest(text))
    }

    fn longest(&self, mut text: &[u8]) -> Option<Vec<u32>> {
        let mut tokens = Vec::new();
        while let Some((first, rest)) = text.split_first() {
            let fitting = self.starting_with(*first).iter().filter(|(_, piece)| rest.starts_with(piece));
            let (token, piece) = fitting.max_by_key(|(token, piece)| (piece.len(), u32::MAX - token))?;
            tokens.push(*token);
            text = rest.get(piece.len()..)?;
        }
        Some(tokens)
    }
}

#[cfg(test)]
pub(crate) mod tests;
