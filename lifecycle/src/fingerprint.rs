//! Knows an adapter again by its answers: the first tokens of greedy answers with their log-probabilities.
//!
//! The generate stage keeps the opening of each answer of candidate, champion and base model. A rollout asks a server the
//! golden prompts whose openings differ most, and compares. A server that answers like the base model, or like another
//! version, serves other bytes than those that were judged.

mod compare;
#[cfg(test)]
mod tests;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    answers::{Answer, Answers, OpeningToken, question_turns},
    dataset::ChatMessage,
    golden::GoldenDataset,
};

pub use compare::{Comparison, Strength};
use compare::{Difference, differ};

/// How many tokens of an answer an opening holds.
pub const OPENING_TOKENS: usize = 16;

/// What a server computes in; it says how far its log-probabilities may lie from the recorded ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServedDtype {
    /// 24 bits of precision.
    F32,
    /// 11 bits of precision.
    F16,
    /// 8 bits of precision; what most servers use.
    #[default]
    Bf16,
    /// Weights in eight bits or fewer, here or there.
    Quantised,
}

impl ServedDtype {
    const ALL: [(Self, &'static str); 4] =
        [(Self::F32, "f32"), (Self::F16, "f16"), (Self::Bf16, "bf16"), (Self::Quantised, "quantised")];

    /// The largest mean difference of log-probabilities, in nats, that is still the same adapter.
    ///
    /// A logit of about 20 is known to 20 · 2⁻²⁴, 2⁻¹¹ or 2⁻⁸ by one rounding, that is 1e-6, 0.01 or 0.08 nats; sums in
    /// another order over some tens of layers give about twice that for the two narrow types, and for f32 far less than
    /// the 0.02 that are allowed for other kernels. Rounding weights to four bits moves the mean log-likelihood of text
    /// by 0.05 to 0.3 nats.
    pub fn tolerance(self) -> f64 {
        match self {
            Self::F32 => 0.02,
            Self::F16 => 0.05,
            Self::Bf16 => 0.15,
            Self::Quantised => 0.5,
        }
    }
}

impl fmt::Display for ServedDtype {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(dtype, _)| dtype == self).map_or("", |(_, name)| name);
        formatter.write_str(name)
    }
}

impl FromStr for ServedDtype {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|(_, name)| *name == text).map(|(dtype, _)| dtype);
        found.ok_or_else(|| format!("`{text}` is no number format; expected f32, f16, bf16 or quantised"))
    }
}

/// What a server answered to a prompt of the fingerprint.
#[derive(Debug, Clone, PartialEq)]
pub struct ServedReply {
    /// The whole text.
    pub text: String,
    /// Its tokens with their log-probabilities; absent where the server tells none.
    pub tokens: Option<Vec<ServedToken>>,
}

/// A token of a served answer.
#[derive(Debug, Clone, PartialEq)]
pub struct ServedToken {
    /// Its text.
    pub text: String,
    /// Natural logarithm of its probability.
    pub logprob: f64,
}

/// What a version answers to a few golden prompts, and what the others answer to them.
#[derive(Debug, Clone, PartialEq)]
pub struct Fingerprint {
    dtype: ServedDtype,
    prompts: Vec<FingerprintPrompt>,
}

/// One prompt of a fingerprint.
#[derive(Debug, Clone, PartialEq)]
pub struct FingerprintPrompt {
    /// The golden sample.
    pub sample_id: String,
    /// The turns that ask it.
    pub turns: Vec<ChatMessage>,
    expected: Opening,
    base: Opening,
    champion: Option<Opening>,
}

/// The beginning of a recorded answer.
#[derive(Debug, Clone, PartialEq)]
struct Opening {
    text: String,
    tokens: Vec<OpeningToken>,
}

/// Why there is no fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FingerprintError {
    /// Answers that another run would not repeat.
    #[error(
        "the answers of {adapter_id} were drawn at temperature {temperature}, so no server can be asked to repeat them; \
         answer with temperature 0, or set `fingerprint = \"off\"` for the target"
    )]
    NotGreedy {
        /// The version.
        adapter_id: String,
        /// The temperature.
        temperature: String,
    },
    /// The golden dataset is not the one that was answered.
    #[error("the golden dataset has none of the samples that {adapter_id} answered")]
    NoSamples {
        /// The version.
        adapter_id: String,
    },
}

impl Fingerprint {
    /// The fingerprint of the candidate of `answers`, over the `count` golden prompts that tell it best from the base model
    /// and from the champion.
    ///
    /// # Errors
    /// [`FingerprintError`] when the answers were not greedy or belong to other samples.
    pub fn of(
        answers: &Answers,
        golden: &GoldenDataset,
        count: usize,
        dtype: ServedDtype,
    ) -> Result<Self, FingerprintError> {
        let adapter_id = || answers.adapter_id.clone();
        if answers.generation.temperature > 0.0 {
            let temperature = answers.generation.temperature.to_string();
            return Err(FingerprintError::NotGreedy { adapter_id: adapter_id(), temperature });
        }
        let mut prompts: Vec<(f64, FingerprintPrompt)> = answers
            .samples
            .iter()
            .filter_map(|answered| {
                let sample = golden.samples.iter().find(|sample| sample.sample_id == answered.sample_id)?;
                let prompt = FingerprintPrompt {
                    sample_id: sample.sample_id.clone(),
                    turns: question_turns(sample, &answers.generation),
                    expected: Opening::of(&answered.candidate),
                    base: Opening::of(&answered.base),
                    champion: answered.champion.as_ref().map(Opening::of),
                };
                Some((prompt.separation(dtype.tolerance()), prompt))
            })
            .filter(|(_, prompt)| !prompt.expected.text.trim().is_empty())
            .collect();
        if prompts.is_empty() {
            return Err(FingerprintError::NoSamples { adapter_id: adapter_id() });
        }
        // Stable: equal prompts stay in the dataset's order.
        prompts.sort_by(|a, b| b.0.total_cmp(&a.0));
        prompts.truncate(count.max(1));
        Ok(Self { dtype, prompts: prompts.into_iter().map(|(_, prompt)| prompt).collect() })
    }

    /// What a server is asked.
    pub fn prompts(&self) -> &[FingerprintPrompt] {
        &self.prompts
    }

    /// Compares the replies of a server, one for each prompt in their order, with what was recorded.
    pub fn compare(&self, replies: &[ServedReply]) -> Comparison {
        compare::compare(&self.prompts, replies, self.dtype)
    }
}

impl FingerprintPrompt {
    /// How far the nearest of the others is, in nats; beginnings that clearly part are far.
    fn separation(&self, tolerance: f64) -> f64 {
        let others = std::iter::once(&self.base).chain(&self.champion);
        let distance = |other: &Opening| {
            let found = other.served();
            match differ(&self.expected, &found, tolerance) {
                Difference { parted: Some(_), .. } => compare::FAR,
                difference => difference.mean(),
            }
        };
        others.map(distance).fold(f64::INFINITY, f64::min)
    }
}

impl Opening {
    fn of(answer: &Answer) -> Self {
        Self { text: answer.text.clone(), tokens: answer.opening.clone() }
    }

    /// As a server would tell it that serves exactly this.
    fn served(&self) -> ServedReply {
        let token = |token: &OpeningToken| ServedToken {
            text: token.text.clone(),
            logprob: f64::from(token.logprob),
        };
        let tokens = (!self.tokens.is_empty()).then(|| self.tokens.iter().map(token).collect());
        ServedReply { text: self.text.clone(), tokens }
    }
}
