//! The judge stage: answers and golden dataset in, `evaluation.json` and `replies.jsonl` out.

mod input;
mod output;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use clara_lifecycle::{
    answers::SampleAnswers,
    golden::GoldenSample,
    results::StageResult,
    score::{Evaluation, EvaluationContext, JudgeIdentity, Judgement, UnscoredReason},
    spec::JudgeOptions,
    stage::Stage,
};
use clara_runtime::{
    clock::{Clock, SystemClock},
    config::JudgeSettings,
    metrics,
    stop::StopSignal,
    worker::{AttemptContext, ProgressSender, StageFailure, StageHandler},
};
use futures::{StreamExt, TryStreamExt, stream};

use crate::{
    checks::{self, Examination, Examined},
    client::{Access, CallError, Endpoint, Pacing, Secret},
    prompt::Prompter,
    rubric::Language,
    score::{Judge, KeptReply, Subject},
};
use input::Input;

/// Only variables with such a name are read as keys: a job names the variable, and must not be able to send
/// any other secret of this process to a URL of its choice.
const KEY_VARIABLE_SUFFIX: &str = "_API_KEY";

/// How a judge-worker judges.
#[derive(Clone)]
pub struct JudgeConfig {
    /// Base URL of the endpoint for jobs that name none, e.g. that of our own gpu-worker.
    pub default_url: Option<String>,
    /// Model at that endpoint; without it the first one that it lists.
    pub default_model: Option<String>,
    /// Language of rubric and prompts.
    pub language: Language,
    /// Pause before the second try of a call; doubles from try to try, up to eight seconds.
    pub first_pause: Duration,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Looks up the environment variable that holds an endpoint's key.
    pub variable: fn(&str) -> Option<String>,
}

impl JudgeConfig {
    /// What the settings say.
    pub fn of(settings: &JudgeSettings) -> Self {
        Self { default_url: settings.url.clone(), default_model: settings.model.clone(), ..Self::default() }
    }
}

impl Default for JudgeConfig {
    fn default() -> Self {
        Self {
            default_url: None,
            default_model: None,
            language: Language::German,
            first_pause: Pacing::patient(1).first_pause,
            clock: Arc::new(SystemClock),
            variable: |name| std::env::var(name).ok(),
        }
    }
}

impl fmt::Debug for JudgeConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("JudgeConfig")
            .field("default_url", &self.default_url)
            .field("default_model", &self.default_model)
            .field("language", &self.language)
            .finish_non_exhaustive()
    }
}

/// Carries out the judge stage.
#[derive(Debug)]
pub struct JudgeHandler {
    config: JudgeConfig,
}

impl JudgeHandler {
    /// A handler that judges as `config` says.
    pub fn new(config: JudgeConfig) -> Self {
        Self { config }
    }
}

#[async_trait]
impl StageHandler for JudgeHandler {
    fn stage(&self) -> Stage {
        Stage::Judge
    }

    async fn run(&self, context: AttemptContext) -> Result<StageResult, StageFailure> {
        let input = Input::read(&context.assignment, &context.artifacts).await?;
        let options = &context.assignment.spec.judge;
        let judge = self.judge(options, &context.stop).await.map_err(failure)?;
        let identity = judge.prompter.identity(&judge.model, judge.endpoint.url(), options.calibrated);
        let examination = checks::examine(&input.golden, &input.answers);
        let round = Round {
            judge: &judge,
            input: &input,
            examination: &examination,
            stop: &context.stop,
            progress: &context.progress,
        };
        let judged = round.judge_all(options.concurrency).await?;
        let evaluation = self.evaluation(&context, &input, &identity, &judged)?;
        let replies = judged.into_iter().flat_map(|judged| judged.replies).collect::<Vec<_>>();
        output::store(&context, &evaluation, &replies).await
    }
}

impl JudgeHandler {
    /// The judge that `options` ask for; asks the endpoint for a model when none is named.
    async fn judge(&self, options: &JudgeOptions, stop: &StopSignal) -> Result<Judge, CallError> {
        let url = options.url.as_ref().or(self.config.default_url.as_ref()).ok_or(CallError::Unnamed)?;
        let endpoint = Endpoint::new(Access {
            url: url.clone(),
            key: self.key(url, options.api_key_env.as_deref())?,
            timeout: Duration::from_secs(options.timeout_seconds.into()),
            pacing: Pacing { first_pause: self.config.first_pause, ..Pacing::patient(options.max_tries) },
            clock: Arc::clone(&self.config.clock),
        })?;
        let by_worker = self.config.default_model.as_ref().filter(|_| options.url.is_none());
        let model = match options.model.as_ref().or(by_worker) {
            Some(model) => model.clone(),
            None => endpoint.first_model(stop).await?,
        };
        Ok(Judge { endpoint, model, prompter: Prompter::new(self.config.language, options.reasoning) })
    }

    fn key(&self, url: &str, variable: Option<&str>) -> Result<Option<Secret>, CallError> {
        let Some(name) = variable else { return Ok(None) };
        let setup = |detail| CallError::Setup { url: url.to_owned(), detail };
        if !name.ends_with(KEY_VARIABLE_SUFFIX) {
            return Err(setup(format!(
                "`judge.api_key_env` names {name}; only variables that end in {KEY_VARIABLE_SUFFIX} are read"
            )));
        }
        let key = (self.config.variable)(name).filter(|key| !key.is_empty());
        let key = key.ok_or_else(|| setup(format!("the judge-worker has no environment variable {name}")))?;
        Ok(Some(Secret(key)))
    }

    fn evaluation(
        &self,
        context: &AttemptContext,
        input: &Input,
        identity: &JudgeIdentity,
        judged: &[Judged],
    ) -> Result<Evaluation, StageFailure> {
        let now = self.config.clock.now();
        let evaluated_at =
            jiff::Timestamp::from_millisecond(now.0).map_err(StageFailure::retryable)?.to_string();
        let by_sample = |of: fn(&Judged) -> Option<&Judgement>| -> BTreeMap<String, Judgement> {
            judged.iter().filter_map(|judged| Some((judged.sample_id.clone(), of(judged)?.clone()))).collect()
        };
        let candidate = by_sample(|judged| Some(&judged.candidate));
        let champion =
            input.answers.champion_id.as_ref().map(|_| by_sample(|judged| judged.champion.as_ref()));
        let rubric = context.assignment.spec.judge.rubric.rubric().map_err(StageFailure::permanent)?;
        let evaluation = EvaluationContext {
            golden: &input.golden,
            answers: &input.answers,
            judge: identity,
            rubric: &rubric,
            pass_at: context.assignment.spec.gate.pass_at,
            evaluated_at: &evaluated_at,
        };
        Ok(Evaluation::new(evaluation, &candidate, champion.as_ref()))
    }
}

/// The judgements of one sample.
#[derive(Debug)]
struct Judged {
    sample_id: String,
    candidate: Judgement,
    champion: Option<Judgement>,
    replies: Vec<KeptReply>,
}

/// One pass over all samples.
struct Round<'a> {
    judge: &'a Judge,
    input: &'a Input,
    examination: &'a Examination,
    stop: &'a StopSignal,
    progress: &'a ProgressSender,
}

impl Round<'_> {
    /// Judges all samples, several at once, in the order of the golden dataset.
    async fn judge_all(&self, concurrency: u32) -> Result<Vec<Judged>, StageFailure> {
        let pairs = self.input.pairs()?;
        self.progress.update(|progress| {
            "samples".clone_into(&mut progress.unit);
            progress.total = Some(pairs.len() as u64);
        });
        let calls: Vec<_> =
            pairs.into_iter().map(|(sample, answers)| self.judge_sample(sample, answers)).collect();
        let judged: Vec<Judged> =
            stream::iter(calls).buffered(concurrency.max(1) as usize).try_collect().await.map_err(failure)?;
        broken_endpoint(&judged).map_or(Ok(judged), Err)
    }

    async fn judge_sample(
        &self,
        sample: &GoldenSample,
        answers: &SampleAnswers,
    ) -> Result<Judged, CallError> {
        let mut replies = Vec::new();
        let of = |adapter_id, answer| Subject { sample, adapter_id, answer };
        let candidate = of(self.input.answers.adapter_id.as_str(), answers.candidate.text.as_str());
        let examined = self.examination.candidate(&sample.sample_id);
        let candidate = self.judge_answer(candidate, examined, &mut replies).await?;
        self.progress.update(|_| {});
        let champion = match (&self.input.answers.champion_id, &answers.champion) {
            (Some(id), Some(answer)) => {
                let examined = self.examination.champion(&sample.sample_id);
                Some(self.judge_answer(of(id, &answer.text), examined, &mut replies).await?)
            }
            (Some(_) | None, Some(_) | None) => None,
        };
        metrics::sample_judged(matches!(candidate, Judgement::Scored(_)));
        if let Judgement::Unscored { reason, .. } = &candidate {
            tracing::warn!(sample.id = %sample.sample_id, %reason, "the judge gave no score for {}", sample.sample_id);
        }
        self.progress.update(|progress| progress.done += 1);
        Ok(Judged { sample_id: sample.sample_id.clone(), candidate, champion, replies })
    }
}

impl Round<'_> {
    /// Judges one answer, unless it holds nothing to judge; what is known without a judge goes along.
    async fn judge_answer(
        &self,
        subject: Subject<'_>,
        examined: Option<&Examined>,
        replies: &mut Vec<KeptReply>,
    ) -> Result<Judgement, CallError> {
        if let Some(verdict) = examined.and_then(Examined::verdict) {
            return Ok(verdict);
        }
        let judgement = self.judge.judge(subject, self.stop, replies).await?;
        Ok(match examined {
            Some(examined) => examined.complete(judgement),
            None => judgement,
        })
    }
}

/// An endpoint that failed for every single answer is broken; that is no evaluation.
fn broken_endpoint(judged: &[Judged]) -> Option<StageFailure> {
    let mut details = Vec::new();
    for judged in judged {
        match &judged.candidate {
            Judgement::Unscored { reason: UnscoredReason::ServerError, detail } => details.push(detail),
            Judgement::Unscored { .. } | Judgement::Scored(_) => return None,
        }
    }
    details.first().map(StageFailure::retryable)
}

fn failure(error: CallError) -> StageFailure {
    match error {
        CallError::Stopped(reason) => StageFailure::Stopped(reason),
        error => StageFailure::of(&error, error.is_retryable()),
    }
}
