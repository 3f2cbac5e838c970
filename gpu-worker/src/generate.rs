//! Answers a golden dataset with candidate, champion and base model, and measures how likely they find the expected outputs.

mod handler;

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use clara_lifecycle::{
    answers::{Answer, OpeningToken, SampleAnswers, question_turns},
    fingerprint::OPENING_TOKENS,
    golden::GoldenSample,
    spec::GenerationOptions,
};
use clara_runtime::stop::StopReason;

pub use handler::{GenerateConfig, GenerateHandler};

use crate::{
    engine::{AdapterWeights, EngineError},
    model_cache::{PromptError, SharedModel},
    sampling::{Sampling, TokenLogprobs},
    text::{Batch, BatchLimits, Finished, TextError, TextEvent, TextRequest, Ticket, TokenEvent},
    token_texts::TokenTexts,
    tokenizer::TokenizerError,
};

const CANDIDATE: &str = "candidate";
const CHAMPION: &str = "champion";

/// Who answers beside the base model.
#[derive(Debug)]
pub struct Contestants {
    /// The version under test.
    pub candidate: AdapterWeights,
    /// The version in production, if there is one.
    pub champion: Option<AdapterWeights>,
}

/// How far the answers are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AnswersProgress {
    /// Answers written and measured.
    pub done: u64,
    /// Answers in all.
    pub total: u64,
    /// Tokens generated so far.
    pub tokens: u64,
    /// Seconds since the first token.
    pub seconds: f64,
}

/// Sees each step of the work and may end it.
pub trait Observer {
    /// Whether and why to stop; asked before each step.
    fn stop(&self) -> Option<StopReason>;

    /// Takes note of a step.
    fn progress(&mut self, progress: AnswersProgress);
}

/// Why a golden dataset could not be answered.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// A prompt leaves no room for an answer.
    #[error(
        "golden sample {sample} takes {tokens} tokens, but the base model's context has {context_length}; \
         shorten its prompt or context, or use another base model"
    )]
    TooLong {
        /// The sample.
        sample: String,
        /// Tokens of its prompt, with the expected output where that is what does not fit.
        tokens: usize,
        /// Tokens the base model allows.
        context_length: usize,
    },
    /// A sample without expected output cannot be measured.
    #[error("golden sample {sample} has no expected output; add one and freeze a new version")]
    NoExpectedOutput {
        /// The sample.
        sample: String,
    },
    /// A prompt that template or tokenizer refuse.
    #[error("golden sample {sample} gives no prompt: {source}")]
    Prompt {
        /// The sample.
        sample: String,
        /// What refused it.
        source: PromptError,
    },
    /// An adapter that does not fit the base model, or logits that are not numbers.
    #[error("{who} cannot answer: {source}")]
    Text {
        /// Candidate, champion or base model.
        who: &'static str,
        /// What failed.
        source: TextError,
    },
    /// The work was told to stop.
    #[error("stopped: {0:?}")]
    Stopped(StopReason),
}

/// Answers all samples, in batches; the same arguments give the same answers.
///
/// # Errors
/// [`GenerateError`] names the sample or contestant at fault. All samples are checked before the first token.
pub fn answer(
    model: &Arc<SharedModel>,
    contestants: &Contestants,
    samples: &[GoldenSample],
    options: &GenerationOptions,
    limits: BatchLimits,
    observer: &mut dyn Observer,
) -> Result<Vec<SampleAnswers>, GenerateError> {
    let questions = samples
        .iter()
        .map(|sample| Question::new(model, sample, options))
        .collect::<Result<Vec<_>, GenerateError>>()?;
    let mut session = Session::open(model, contestants, &questions, limits)?;
    session.submit(options);
    session.run(observer)?;
    session.collect()
}

/// A golden sample as tokens.
struct Question<'a> {
    sample: &'a GoldenSample,
    prompt: Vec<u32>,
    expected: Vec<u32>,
    max_tokens: u32,
}

impl<'a> Question<'a> {
    fn new(
        model: &SharedModel,
        sample: &'a GoldenSample,
        options: &GenerationOptions,
    ) -> Result<Self, GenerateError> {
        let name = || sample.sample_id.clone();
        let refused = |source| GenerateError::Prompt { sample: name(), source };
        let prompt = model.chat_prompt(&question_turns(sample, options)).map_err(refused)?;
        let expected = model.tokenizer.encode(&sample.expected_output);
        let expected = expected.map_err(|source: TokenizerError| refused(source.into()))?;
        if expected.is_empty() {
            return Err(GenerateError::NoExpectedOutput { sample: name() });
        }
        let context_length = model.base.config.max_positions;
        for tokens in [prompt.len() + 1, prompt.len() + expected.len()] {
            if tokens > context_length {
                return Err(GenerateError::TooLong { sample: name(), tokens, context_length });
            }
        }
        let room = u32::try_from(context_length - prompt.len()).unwrap_or(u32::MAX);
        Ok(Self { sample, prompt, expected, max_tokens: options.max_new_tokens.clamp(1, room) })
    }
}

/// One run over all questions and contestants.
struct Session<'a> {
    batch: Batch,
    vocabulary: Arc<TokenTexts>,
    questions: &'a [Question<'a>],
    /// Adapters in the order in which they answer; `None` is the base model.
    contestants: Vec<Option<&'static str>>,
    running: BTreeMap<Ticket, Running>,
    answers: BTreeMap<(usize, &'static str), Answer>,
}

/// An answer being written.
struct Running {
    question: usize,
    adapter: Option<&'static str>,
    text: String,
    opening: Vec<OpeningToken>,
}

impl<'a> Session<'a> {
    fn open(
        model: &Arc<SharedModel>,
        contestants: &Contestants,
        questions: &'a [Question<'a>],
        limits: BatchLimits,
    ) -> Result<Self, GenerateError> {
        let refused = |adapter| move |error: EngineError| failed(adapter, error.into());
        let decoder = model.decoder().map_err(refused(None))?;
        let text_model = model.text_model();
        let vocabulary = Arc::clone(&text_model.vocabulary);
        let mut batch = Batch::new(decoder, text_model, limits);
        let mut names = vec![Some(CANDIDATE)];
        batch.decoder().add_adapter(CANDIDATE, &contestants.candidate).map_err(refused(Some(CANDIDATE)))?;
        if let Some(champion) = &contestants.champion {
            batch.decoder().add_adapter(CHAMPION, champion).map_err(refused(Some(CHAMPION)))?;
            names.push(Some(CHAMPION));
        }
        names.push(None);
        let (running, answers) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { batch, vocabulary, questions, contestants: names, running, answers })
    }

    /// Puts all requests in line, one contestant after another, so that a batch shares its adapter.
    fn submit(&mut self, options: &GenerationOptions) {
        for &adapter in &self.contestants {
            for (index, question) in self.questions.iter().enumerate() {
                let ticket = self.batch.submit(TextRequest {
                    prompt: question.prompt.clone(),
                    adapter: adapter.map(str::to_owned),
                    max_tokens: question.max_tokens,
                    sampling: Sampling { temperature: options.temperature, top_p: 1.0, seed: options.seed },
                    stop: Vec::new(),
                    guide: None,
                    // The chosen token and the one that it beat; only a greedy answer can be repeated elsewhere.
                    logprobs: (options.temperature <= 0.0).then_some(2),
                });
                let (text, opening) = (String::new(), Vec::new());
                self.running.insert(ticket, Running { question: index, adapter, text, opening });
            }
        }
    }

    fn run(&mut self, observer: &mut dyn Observer) -> Result<(), GenerateError> {
        let start = Instant::now();
        let total = self.running.len() as u64;
        let mut tokens = 0;
        while !self.batch.is_idle() {
            if let Some(reason) = observer.stop() {
                return Err(GenerateError::Stopped(reason));
            }
            for (ticket, event) in self.batch.step() {
                tokens += u64::from(matches!(event, TextEvent::Token(_)));
                self.take(ticket, event)?;
            }
            let (done, seconds) = (self.answers.len() as u64, start.elapsed().as_secs_f64());
            observer.progress(AnswersProgress { done, total, tokens, seconds });
        }
        Ok(())
    }

    fn take(&mut self, ticket: Ticket, event: TextEvent) -> Result<(), GenerateError> {
        match event {
            TextEvent::Token(token) => {
                if let Some(running) = self.running.get_mut(&ticket) {
                    running.text.push_str(&token.text);
                    if running.opening.len() < OPENING_TOKENS {
                        running.opening.extend(opening_token(&token, &self.vocabulary));
                    }
                }
                Ok(())
            }
            TextEvent::Finished(finished) => match self.running.remove(&ticket) {
                Some(running) => self.finish(running, &finished),
                None => Ok(()),
            },
            TextEvent::Failed(error) => {
                Err(failed(self.running.remove(&ticket).and_then(|running| running.adapter), error))
            }
        }
    }

    /// Completes an answer and measures the expected output under the same contestant.
    fn finish(&mut self, running: Running, finished: &Finished) -> Result<(), GenerateError> {
        let Some(question) = self.questions.get(running.question) else { return Ok(()) };
        let tokens: Vec<u32> = question.prompt.iter().chain(&question.expected).copied().collect();
        let scored = self.batch.decoder().score(running.adapter, &tokens, question.prompt.len());
        let logprobs = scored.map_err(|error| failed(running.adapter, error.into()))?;
        let answer = Answer {
            text: running.text + &finished.text,
            finish_reason: finished.reason,
            tokens: finished.completion_tokens,
            expected_nll: mean_nll(&logprobs),
            expected_tokens: u32::try_from(logprobs.len()).unwrap_or(u32::MAX),
            opening: running.opening,
        };
        if !answer.expected_nll.is_finite() {
            let tokens = finished.completion_tokens;
            return Err(failed(running.adapter, TextError::NotFinite { tokens }));
        }
        self.answers.insert((running.question, running.adapter.unwrap_or_default()), answer);
        Ok(())
    }

    /// The answers by sample, in the dataset's order.
    fn collect(mut self) -> Result<Vec<SampleAnswers>, GenerateError> {
        let has_champion = self.contestants.contains(&Some(CHAMPION));
        let mut take = |index: usize, who: Option<&'static str>| {
            let answer = self.answers.remove(&(index, who.unwrap_or_default()));
            answer.ok_or_else(|| failed(who, TextError::Ended))
        };
        let mut samples = Vec::with_capacity(self.questions.len());
        for (index, question) in self.questions.iter().enumerate() {
            samples.push(SampleAnswers {
                sample_id: question.sample.sample_id.clone(),
                candidate: take(index, Some(CANDIDATE))?,
                champion: if has_champion { Some(take(index, Some(CHAMPION))?) } else { None },
                base: take(index, None)?,
            });
        }
        Ok(samples)
    }
}

/// A token as a server tells it, and how far it lies before the next likely one.
fn opening_token(token: &TokenEvent, vocabulary: &TokenTexts) -> Option<OpeningToken> {
    let TokenLogprobs { chosen, top } = token.logprobs.as_ref()?;
    let rival = top.iter().find(|(other, _)| *other != token.token).map(|(_, logprob)| *logprob);
    let text = String::from_utf8_lossy(vocabulary.bytes(token.token)).into_owned();
    Some(OpeningToken { text, logprob: *chosen, margin: rival.map(|rival| chosen - rival) })
}

fn failed(adapter: Option<&'static str>, source: TextError) -> GenerateError {
    GenerateError::Text { who: adapter.unwrap_or("base model"), source }
}

#[expect(clippy::cast_precision_loss, reason = "token counts are far below 2^53")]
fn mean_nll(logprobs: &[f32]) -> f64 {
    let sum: f64 = logprobs.iter().map(|logprob| -f64::from(*logprob)).sum();
    sum / logprobs.len() as f64
}

#[cfg(test)]
mod tests;
