//! Turns text into token ids and back, from `tokenizer.json` or from a vocabulary inside a model file.

mod bytes;
mod sentence_pieces;
mod stream;
mod vocabulary;

use std::path::{Path, PathBuf};

pub use sentence_pieces::SentencePieces;
pub use stream::TextStream;
pub use vocabulary::Vocabulary;

/// A tokenizer with its special tokens.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    special: SpecialTokens,
    prefix: Option<u32>,
    byte_level: bool,
}

/// Tokens with a meaning beyond text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpecialTokens {
    /// Beginning of sequence.
    pub bos: Option<u32>,
    /// Ends of a generation; the first is put behind training texts.
    pub eos: Vec<u32>,
    /// Whether plain text starts with `bos`; without a word the tokenizer's own post-processor decides.
    pub add_bos: Option<bool>,
}

/// Why a tokenizer cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The file cannot be read or parsed.
    #[error("cannot load {path}: {reason}")]
    Load {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        reason: String,
    },
    /// Text is split by rules that are not known here.
    #[error(
        "pre-tokenizer `{found}` is not supported (supported: {supported}); use the model's Hugging Face folder"
    )]
    PreTokenizer {
        /// Its name in the model file.
        found: String,
        /// The known names.
        supported: String,
    },
    /// The vocabulary contradicts itself.
    #[error("broken vocabulary: {reason}")]
    Vocabulary {
        /// What is wrong, with values.
        reason: String,
    },
    /// A text that the tokenizer refused.
    #[error("cannot tokenise a text of {chars} characters: {reason}")]
    Encode {
        /// Length of the text.
        chars: usize,
        /// What the tokenizer said.
        reason: String,
    },
    /// Tokens that the tokenizer refused.
    #[error("cannot turn {tokens} tokens into text: {reason}")]
    Decode {
        /// Number of tokens.
        tokens: usize,
        /// What the tokenizer said.
        reason: String,
    },
}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// [`TokenizerError::Load`].
    pub fn from_file(path: &Path, special: SpecialTokens) -> Result<Self, TokenizerError> {
        let failed = |reason: String| TokenizerError::Load { path: path.into(), reason };
        let text = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
        let inner = tokenizers::Tokenizer::from_bytes(text).map_err(|error| failed(error.to_string()))?;
        Self::new(inner, special)
    }

    /// Builds a byte-level BPE tokenizer.
    ///
    /// # Errors
    /// [`TokenizerError::PreTokenizer`] or [`TokenizerError::Vocabulary`].
    pub fn from_vocabulary(vocabulary: Vocabulary, special: SpecialTokens) -> Result<Self, TokenizerError> {
        Self::new(vocabulary.build()?, special)
    }

    /// Builds a `SentencePiece` tokenizer.
    ///
    /// # Errors
    /// [`TokenizerError::Vocabulary`].
    pub fn from_sentence_pieces(
        pieces: SentencePieces,
        special: SpecialTokens,
    ) -> Result<Self, TokenizerError> {
        Self::new(pieces.build()?, special)
    }

    fn new(mut inner: tokenizers::Tokenizer, special: SpecialTokens) -> Result<Self, TokenizerError> {
        inner.with_padding(None);
        inner
            .with_truncation(None)
            .map_err(|error| TokenizerError::Vocabulary { reason: error.to_string() })?;
        let added_by_itself = encode(&inner, "", true)?.first().copied();
        let prefix = match special.add_bos {
            Some(true) => special.bos,
            Some(false) => None,
            None => added_by_itself.filter(|id| special.bos == Some(*id)),
        };
        let byte_level = matches!(inner.get_decoder(), Some(tokenizers::DecoderWrapper::ByteLevel(_)));
        Ok(Self { inner, special, prefix, byte_level })
    }

    /// Checks that the tokenizer has no ordinary or special token beyond the model's embedding. Tokens added to it may lie
    /// beyond: text models have some of their siblings with pictures, and the engine refuses texts that hold them.
    ///
    /// # Errors
    /// [`TokenizerError::Vocabulary`].
    pub fn check_vocabulary(&self, vocab_size: usize) -> Result<(), TokenizerError> {
        let largest = self.inner.get_vocab(false).into_values().max().unwrap_or_default();
        let special = self.special.eos.iter().chain(&self.special.bos).copied().max().unwrap_or_default();
        let found = largest.max(special) as usize;
        if found < vocab_size {
            return Ok(());
        }
        let reason = format!("token id {found} is beyond the model's embedding of {vocab_size} rows");
        Err(TokenizerError::Vocabulary { reason })
    }

    /// The ids of `text`; special tokens written out in it become single ids, none is added.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`].
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        encode(&self.inner, text, false)
    }

    /// The ids of a plain text from its very beginning: as [`Self::encode`], after the
    /// beginning-of-sequence token where the model wants one.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`].
    pub fn encode_document(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let mut ids: Vec<u32> = self.prefix.into_iter().collect();
        ids.extend(self.encode(text)?);
        Ok(ids)
    }

    /// The text of `ids`, special tokens left out.
    ///
    /// # Errors
    /// [`TokenizerError::Decode`].
    pub fn decode(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        self.inner
            .decode(ids, true)
            .map_err(|error| TokenizerError::Decode { tokens: ids.len(), reason: error.to_string() })
    }

    /// The text of one token, special tokens included; incomplete UTF-8 shows as U+FFFD.
    pub fn token_text(&self, id: u32) -> Option<String> {
        if self.is_special(id) {
            return self.inner.id_to_token(id);
        }
        Some(String::from_utf8_lossy(&self.token_bytes(id)?).into_owned())
    }

    /// The bytes that one token adds to a text.
    pub fn token_bytes(&self, id: u32) -> Option<Vec<u8>> {
        let token = self.inner.id_to_token(id)?;
        let added = self.inner.get_added_vocabulary().get_added_tokens_decoder().contains_key(&id);
        if added {
            return Some(token.into_bytes());
        }
        Some(if self.byte_level { bytes::of_byte_level(&token) } else { bytes::of_sentence_piece(&token) })
    }

    /// The id of a token by its exact entry in the vocabulary, e.g. `<|im_end|>`.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Whether the token is control, not text.
    pub fn is_special(&self, id: u32) -> bool {
        self.special.eos.contains(&id)
            || self.special.bos == Some(id)
            || self
                .inner
                .get_added_vocabulary()
                .get_added_tokens_decoder()
                .get(&id)
                .is_some_and(|token| token.special)
    }

    /// The content of a `tokenizer.json` that gives the same ids, the token before plain texts included.
    ///
    /// # Errors
    /// [`TokenizerError::Vocabulary`] when the tokenizer cannot be put into words.
    pub fn to_json(&self) -> Result<serde_json::Value, TokenizerError> {
        let broken = |reason: String| TokenizerError::Vocabulary { reason };
        let mut json = serde_json::to_value(&self.inner).map_err(|error| broken(error.to_string()))?;
        if let Some((id, token)) = self.prefix.and_then(|id| Some((id, self.inner.id_to_token(id)?))) {
            let special =
                |type_id: u32| serde_json::json!({"SpecialToken": {"id": token, "type_id": type_id}});
            let text =
                |name: &str, type_id: u32| serde_json::json!({"Sequence": {"id": name, "type_id": type_id}});
            let begin = serde_json::json!({
                "type": "TemplateProcessing",
                "single": [special(0), text("A", 0)],
                "pair": [special(0), text("A", 0), special(1), text("B", 1)],
                "special_tokens": { &token: {"id": token, "ids": [id], "tokens": [token]} },
            });
            json.as_object_mut().and_then(|keys| keys.insert("post_processor".to_owned(), begin));
        }
        Ok(json)
    }

    /// Beginning-of-sequence token.
    pub fn bos(&self) -> Option<u32> {
        self.special.bos
    }

    /// Tokens that end a generation.
    pub fn eos(&self) -> &[u32] {
        &self.special.eos
    }
}

fn encode(inner: &tokenizers::Tokenizer, text: &str, add_special: bool) -> Result<Vec<u32>, TokenizerError> {
    match inner.encode_fast(text, add_special) {
        Ok(encoding) => Ok(encoding.get_ids().to_vec()),
        Err(error) => Err(TokenizerError::Encode { chars: text.chars().count(), reason: error.to_string() }),
    }
}

#[cfg(test)]
mod tests;
