//! A model whose answers follow from the bytes of its adapter.

use std::path::Path;

use anyhow::{Context, Result};
use clara_lifecycle::{
    answers::{Answer, FinishReason, OpeningToken},
    digest::Digest,
};

const WORDS: [&str; 8] = ["Frist", "Bescheid", "Gemeinde", "Klage", "Antrag", "Nachbar", "Satzung", "Monat"];
/// Tokens of every answer.
const TOKENS: usize = 8;

/// A token of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Word {
    /// Its text.
    pub text: String,
    /// Natural logarithm of its probability.
    pub logprob: f32,
}

/// The weights in a PEFT folder or a GGUF file, as their digest.
///
/// # Errors
/// When there are none.
pub fn weights_of(path: &Path) -> Result<String> {
    let file = if path.is_dir() { path.join("adapter_model.safetensors") } else { path.to_owned() };
    let bytes = std::fs::read(&file).with_context(|| format!("no weights at {}", file.display()))?;
    Ok(Digest::of(&bytes).to_string())
}

/// What weights answer to a question; `base` stands for the base model alone.
pub fn words(weights: &str, question: &str) -> Vec<Word> {
    let word = |place: usize| {
        let digest = Digest::of(format!("{weights}/{question}/{place}").as_bytes());
        let number = |from: usize| {
            let digits = digest.as_str().get(from..from + 4).unwrap_or_default();
            u16::from_str_radix(digits, 16).unwrap_or_default()
        };
        let text = WORDS.get(usize::from(number(0)) % WORDS.len()).copied().unwrap_or_default();
        Word { text: format!(" {text}"), logprob: -0.05 - f32::from(number(4)) / 65_536.0 }
    };
    (0..TOKENS).map(word).collect()
}

/// The answer as the generate stage records it.
pub fn opening(weights: &str, question: &str) -> Answer {
    let words = words(weights, question);
    let token =
        |word: &Word| OpeningToken { text: word.text.clone(), logprob: word.logprob, margin: Some(2.0) };
    Answer {
        text: words.iter().map(|word| word.text.as_str()).collect(),
        finish_reason: FinishReason::Stop,
        tokens: 8,
        expected_nll: 2.0,
        expected_tokens: 5,
        opening: words.iter().map(token).collect(),
    }
}
