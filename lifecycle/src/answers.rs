//! `answers.json`: what candidate, champion and base model answered to a golden dataset.

use serde::{Deserialize, Serialize};

use crate::{dataset::ChatMessage, digest::Digest, golden::GoldenSample, spec::GenerationOptions};

/// The answers to one golden dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answers {
    /// Layout of this file; now 1.
    pub format: u32,
    /// The candidate, e.g. `verwaltungsrecht-lora-v1.0.0`.
    pub adapter_id: String,
    /// The version in production that answered beside it, if any.
    pub champion_id: Option<String>,
    /// Name of the base model.
    pub base_model: String,
    /// The golden dataset as `id@version`.
    pub golden_dataset: String,
    /// Its digest.
    pub golden_digest: Digest,
    /// How the answers were made.
    pub generation: GenerationOptions,
    /// One entry per golden sample, in its order.
    pub samples: Vec<SampleAnswers>,
}

/// The answers to one golden sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampleAnswers {
    /// The golden sample.
    pub sample_id: String,
    /// The answer of the new adapter.
    pub candidate: Answer,
    /// The answer of the version in production.
    pub champion: Option<Answer>,
    /// The answer of the base model without an adapter.
    pub base: Answer,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The text, without the prompt.
    pub text: String,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// Tokens generated.
    pub tokens: u32,
    /// Mean negative log-likelihood (nats per token) of the expected output, given the prompt.
    pub expected_nll: f64,
    /// Tokens of the expected output.
    pub expected_tokens: u32,
    /// The first tokens of a greedy answer, by which a server that serves the same adapter is known again; empty where
    /// the answer was not greedy, and in files of older versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub opening: Vec<OpeningToken>,
}

/// One of the first tokens of a greedy answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpeningToken {
    /// Its text.
    pub text: String,
    /// Natural logarithm of its probability.
    pub logprob: f32,
    /// How far it lies before the next likely token, in nats; absent where there was no other.
    #[serde(default)]
    pub margin: Option<f32>,
}

/// The turns that ask a golden sample: the system prompt where there is one, then context and prompt.
pub fn question_turns(sample: &GoldenSample, options: &GenerationOptions) -> Vec<ChatMessage> {
    let turn = |role: &str, content: String| ChatMessage { role: role.to_owned(), content };
    let system = options.system_prompt.as_ref().map(|text| turn("system", text.clone()));
    let content = match sample.context.as_deref().filter(|context| !context.trim().is_empty()) {
        Some(context) => format!("{context}\n\n{}", sample.prompt),
        None => sample.prompt.clone(),
    };
    system.into_iter().chain([turn("user", content)]).collect()
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model ended it.
    Stop,
    /// The limit on tokens was reached.
    Length,
}
