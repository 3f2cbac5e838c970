//! A `SentencePiece` vocabulary as model files carry it, and the tokenizer built from it.

use std::cmp::Ordering;

use serde_json::{Value, json};
use tokenizers::{
    DecoderWrapper, NormalizerWrapper,
    models::bpe::{BPE, Vocab},
};

use super::{TokenizerError, vocabulary::add_tokens};

/// Stands for a space.
const SPACE: &str = "\u{2581}";

/// Pieces with their scores: of two neighbours the pair with the greater score is joined first.
#[derive(Debug, Clone, Default)]
pub struct SentencePieces {
    /// Pieces; the place is the id. Bytes that are no piece are written as `<0x0A>`.
    pub tokens: Vec<String>,
    /// Scores, in the order of the pieces.
    pub scores: Vec<f32>,
    /// Pieces that are control, not text.
    pub control: Vec<String>,
    /// Pieces that are never split, but are text.
    pub user_defined: Vec<String>,
    /// Whether a space is put before the text.
    pub begins_with_space: bool,
}

/// A way to make a piece of two others.
struct Merge<'a> {
    left: &'a str,
    right: &'a str,
    score: f32,
    ids: (u32, u32),
}

impl SentencePieces {
    pub(super) fn build(self) -> Result<tokenizers::Tokenizer, TokenizerError> {
        let broken = |reason: String| TokenizerError::Vocabulary { reason };
        if self.scores.len() != self.tokens.len() {
            let (scores, tokens) = (self.scores.len(), self.tokens.len());
            return Err(broken(format!("{scores} scores for {tokens} pieces; expected one for each")));
        }
        let mut vocab = Vocab::default();
        for (id, token) in (0..).zip(&self.tokens) {
            vocab.insert(token.clone(), id);
        }
        let merges = self.merges(&vocab);
        let model = BPE::builder()
            .vocab_and_merges(vocab, merges)
            .byte_fallback(true)
            .fuse_unk(true)
            .unk_token("<unk>".to_owned())
            .build()
            .map_err(|error| broken(error.to_string()))?;
        let mut tokenizer = tokenizers::Tokenizer::new(model);
        let parsed = |error: serde_json::Error| broken(error.to_string());
        let normalizer: NormalizerWrapper = serde_json::from_value(self.normalizer()).map_err(parsed)?;
        let decoder: DecoderWrapper = serde_json::from_value(self.decoder()).map_err(parsed)?;
        tokenizer.with_normalizer(Some(normalizer)).map_err(|error| broken(error.to_string()))?;
        tokenizer.with_decoder(Some(decoder));
        add_tokens(&mut tokenizer, self.control, self.user_defined)?;
        Ok(tokenizer)
    }

    /// Every way to make a piece of two others, the greatest score first.
    fn merges(&self, vocab: &Vocab) -> Vec<(String, String)> {
        let mut merges = Vec::new();
        for (token, score) in self.tokens.iter().zip(&self.scores) {
            for (at, _) in token.char_indices().skip(1) {
                let (left, right) = token.split_at(at);
                if let (Some(left_id), Some(right_id)) = (vocab.get(left), vocab.get(right)) {
                    merges.push(Merge { left, right, score: *score, ids: (*left_id, *right_id) });
                }
            }
        }
        let by_score = |one: &Merge<'_>, other: &Merge<'_>| -> Ordering {
            other.score.total_cmp(&one.score).then(one.ids.cmp(&other.ids))
        };
        merges.sort_by(by_score);
        merges.into_iter().map(|merge| (merge.left.to_owned(), merge.right.to_owned())).collect()
    }

    fn normalizer(&self) -> Value {
        let spaces = json!({"type": "Replace", "pattern": {"String": " "}, "content": SPACE});
        if self.begins_with_space {
            return json!({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": SPACE}, spaces]});
        }
        spaces
    }

    fn decoder(&self) -> Value {
        let mut steps = vec![
            json!({"type": "Replace", "pattern": {"String": SPACE}, "content": " "}),
            json!({"type": "ByteFallback"}),
            json!({"type": "Fuse"}),
        ];
        if self.begins_with_space {
            steps.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
        }
        json!({"type": "Sequence", "decoders": steps})
    }
}
