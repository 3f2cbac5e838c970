//! A byte-level BPE vocabulary as model files carry it, and the tokenizer built from it.

use serde_json::{Value, json};
use tokenizers::{
    AddedToken, DecoderWrapper, NormalizerWrapper, PreTokenizerWrapper,
    models::bpe::{BPE, Vocab},
};

use super::TokenizerError;

/// Entries, merges and the name of the splitting rules.
#[derive(Debug, Clone, Default)]
pub struct Vocabulary {
    /// Splits text into words: `smollm`, `qwen2` or `llama-bpe`.
    pub pre_tokenizer: String,
    /// Entries; the place is the id.
    pub tokens: Vec<String>,
    /// Pairs to join, most important first, each as `left right`.
    pub merges: Vec<String>,
    /// Entries that are control, not text.
    pub control: Vec<String>,
    /// Entries that are never split, but are text.
    pub user_defined: Vec<String>,
}

/// How one family splits text into words before merging.
struct Family {
    name: &'static str,
    pre_tokenizer: fn() -> Value,
    unicode_nfc: bool,
    /// Words that are entries themselves are taken whole, whatever the merges say.
    ignore_merges: bool,
}

const FAMILIES: [Family; 3] = [
    Family { name: "smollm", pre_tokenizer: digits_then_bytes, unicode_nfc: false, ignore_merges: false },
    Family { name: "qwen2", pre_tokenizer: qwen2, unicode_nfc: true, ignore_merges: false },
    Family { name: "llama-bpe", pre_tokenizer: llama3, unicode_nfc: false, ignore_merges: true },
];

impl Vocabulary {
    pub(super) fn build(self) -> Result<tokenizers::Tokenizer, TokenizerError> {
        let family = FAMILIES.iter().find(|family| family.name == self.pre_tokenizer).ok_or_else(|| {
            let supported: Vec<&str> = FAMILIES.iter().map(|family| family.name).collect();
            TokenizerError::PreTokenizer {
                found: self.pre_tokenizer.clone(),
                supported: supported.join(", "),
            }
        })?;
        let broken = |reason: String| TokenizerError::Vocabulary { reason };
        let mut merges = Vec::with_capacity(self.merges.len());
        for merge in &self.merges {
            let (left, right) =
                merge.split_once(' ').ok_or_else(|| broken(format!("merge `{merge}` is not a pair")))?;
            merges.push((left.to_owned(), right.to_owned()));
        }
        let mut vocab = Vocab::default();
        for (id, token) in (0..).zip(self.tokens) {
            vocab.insert(token, id);
        }
        let model = BPE::builder()
            .vocab_and_merges(vocab, merges)
            .ignore_merges(family.ignore_merges)
            .build()
            .map_err(|error| broken(error.to_string()))?;
        let mut tokenizer = tokenizers::Tokenizer::new(model);
        family.apply(&mut tokenizer).map_err(broken)?;
        add_tokens(&mut tokenizer, self.control, self.user_defined)?;
        Ok(tokenizer)
    }
}

/// Makes entries control, or text that is never split.
pub(super) fn add_tokens(
    tokenizer: &mut tokenizers::Tokenizer,
    control: Vec<String>,
    user_defined: Vec<String>,
) -> Result<(), TokenizerError> {
    let broken = |error: tokenizers::Error| TokenizerError::Vocabulary { reason: error.to_string() };
    let added = |token: String, special| AddedToken::from(token, special).normalized(false);
    let control = control.into_iter().map(|token| added(token, true));
    tokenizer.add_special_tokens(control).map_err(broken)?;
    let user_defined = user_defined.into_iter().map(|token| added(token, false));
    tokenizer.add_tokens(user_defined).map_err(broken)?;
    Ok(())
}

impl Family {
    fn apply(&self, tokenizer: &mut tokenizers::Tokenizer) -> Result<(), String> {
        let pre_tokenizer: PreTokenizerWrapper =
            serde_json::from_value((self.pre_tokenizer)()).map_err(|error| error.to_string())?;
        let decoder: DecoderWrapper =
            serde_json::from_value(byte_level(true)).map_err(|error| error.to_string())?;
        tokenizer.with_pre_tokenizer(Some(pre_tokenizer));
        tokenizer.with_decoder(Some(decoder));
        if self.unicode_nfc {
            let normalizer: NormalizerWrapper =
                serde_json::from_value(json!({"type": "NFC"})).map_err(|error| error.to_string())?;
            tokenizer.with_normalizer(Some(normalizer)).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

fn byte_level(use_regex: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex})
}

fn digits_then_bytes() -> Value {
    let digits = json!({"type": "Digits", "individual_digits": true});
    json!({"type": "Sequence", "pretokenizers": [digits, byte_level(true)]})
}

fn qwen2() -> Value {
    split_by(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    )
}

fn llama3() -> Value {
    split_by(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    )
}

fn split_by(pattern: &str) -> Value {
    let split =
        json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
    json!({"type": "Sequence", "pretokenizers": [split, byte_level(false)]})
}
