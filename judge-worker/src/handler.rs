//! The judge stage: answers and golden dataset in, `evaluation.json` and `replies.jsonl` out.

mod input;
mod judges;
mod output;
mod round;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use clara_lifecycle::{
    results::StageResult,
    score::{Evaluation, EvaluationContext, JudgeHealth, Judgement, PairwiseReport},
    stage::Stage,
};
use clara_runtime::{
    clock::{Clock, SystemClock},
    config::JudgeSettings,
    worker::{AttemptContext, StageFailure, StageHandler},
};

use crate::{
    canary::Canaries,
    checks,
    client::{Allowance, CallError, Endpoints, Pacing},
    family,
    ledger::{Ledger, Terms},
    panel::Panel,
    score::KeptReply,
};
use input::Input;
use round::{Judged, Round};

/// How a judge-worker judges.
#[derive(Clone)]
pub struct JudgeConfig {
    /// Base URL of the endpoint for jobs that name none, e.g. that of our own gpu-worker.
    pub default_url: Option<String>,
    /// Model at that endpoint; without it the first one that it lists.
    pub default_model: Option<String>,
    /// Whether that endpoint lives as long as one attempt, at a URL of its own: its replies are kept for the job alone.
    pub is_own: bool,
    /// The most that this process asks of an endpoint with one key, whatever its jobs allow.
    pub allowance: Allowance,
    /// What this process knows of endpoints; clones share it.
    pub endpoints: Endpoints,
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
        let allowance = Allowance {
            concurrency: settings.max_concurrency,
            requests_per_minute: settings.max_requests_per_minute,
            tokens_per_minute: settings.max_tokens_per_minute,
        };
        Self {
            default_url: settings.url.clone(),
            default_model: settings.model.clone(),
            allowance,
            ..Self::default()
        }
    }
}

impl Default for JudgeConfig {
    fn default() -> Self {
        Self {
            default_url: None,
            default_model: None,
            is_own: false,
            allowance: Allowance::default(),
            endpoints: Endpoints::default(),
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
        let ledger = Arc::new(self.ledger(&context).await?);
        let panel = self.panel(&context, &ledger).await?;
        let canaries = panel
            .probe(
                &input.golden,
                (options.canaries, options.canary_limit),
                options.concurrency,
                &context.stop,
            )
            .await
            .map_err(failure)?;
        context.progress.update(|_| {});
        let examination = checks::examine(&input.golden, &input.answers);
        let round = Round {
            panel: &panel,
            input: &input,
            examination: &examination,
            is_pairwise: options.pairwise,
            stop: &context.stop,
            progress: &context.progress,
        };
        let judged = round.judge_all(options.concurrency).await?;
        let mut evaluation = self.evaluation(&context, &input, &panel, &judged, &canaries)?;
        evaluation.health = with_calls(evaluation.health, ledger.health().await?);
        let replies = judged.into_iter().flat_map(|judged| judged.replies);
        let replies: Vec<_> = canaries.replies.into_iter().chain(replies).collect();
        for judge in evaluation.panel.iter_mut().chain([&mut evaluation.judge]) {
            judge.fingerprint = fingerprint(&judge.judge_id, &replies);
        }
        let result = output::store(&context, &evaluation, &replies).await?;
        ledger.finish().await?;
        Ok(result)
    }
}

impl JudgeHandler {
    /// What the job asked and paid so far.
    async fn ledger(&self, context: &AttemptContext) -> Result<Ledger, StageFailure> {
        let options = &context.assignment.spec.judge;
        let is_own = self.config.is_own && options.url.is_none();
        let terms = Terms { is_shared: options.cache && !is_own, budget: options.budget.clone() };
        let (job, fence) = (context.assignment.job.as_str(), context.assignment.fence);
        Ok(Ledger::open(&context.artifacts, job, fence, terms).await?)
    }

    fn evaluation(
        &self,
        context: &AttemptContext,
        input: &Input,
        panel: &Panel,
        judged: &[Judged],
        canaries: &Canaries,
    ) -> Result<Evaluation, StageFailure> {
        let identities: Vec<_> = panel.judges.iter().map(|judge| judge.identity.clone()).collect();
        let first = identities.first().ok_or_else(|| StageFailure::permanent("the panel has no judge"))?;
        let now = self.config.clock.now();
        let evaluated_at =
            jiff::Timestamp::from_millisecond(now.0).map_err(StageFailure::retryable)?.to_string();
        let by_sample = |of: fn(&Judged) -> Option<&Judgement>| -> BTreeMap<String, Judgement> {
            judged.iter().filter_map(|judged| Some((judged.sample_id.clone(), of(judged)?.clone()))).collect()
        };
        let candidate = by_sample(|judged| Some(&judged.candidate));
        let champion =
            input.answers.champion_id.as_ref().map(|_| by_sample(|judged| judged.champion.as_ref()));
        let made_of = EvaluationContext {
            golden: &input.golden,
            answers: &input.answers,
            judge: first,
            rubric: &panel.rubric,
            pass_at: context.assignment.spec.gate.pass_at,
            evaluated_at: &evaluated_at,
        };
        let pairwise =
            PairwiseReport::of(judged.iter().filter_map(|judged| judged.compared.clone()).collect());
        let health = health(input, panel, judged, canaries, pairwise.as_ref());
        let evaluation = Evaluation::new(made_of, &candidate, champion.as_ref());
        Ok(Evaluation { panel: identities, pairwise, health, offsets: panel.offsets.clone(), ..evaluation })
    }
}

/// What is known about the judging, with what is known about its calls.
fn with_calls(judging: JudgeHealth, calls: JudgeHealth) -> JudgeHealth {
    let mut warnings = judging.warnings;
    warnings.extend(calls.warnings);
    JudgeHealth {
        canaries: judging.canaries,
        canaries_failed: judging.canaries_failed,
        flip_rate: judging.flip_rate,
        warnings,
        ..calls
    }
}

/// What the endpoint of a judge said of itself with its replies.
fn fingerprint(judge_id: &str, replies: &[KeptReply]) -> Option<String> {
    let replies = replies.iter().filter(|kept| kept.judge_id == judge_id).map(|kept| &kept.reply);
    let marks: BTreeSet<String> = replies
        .map(|reply| [reply.model.as_deref(), reply.system_fingerprint.as_deref()])
        .map(|said| said.into_iter().flatten().collect::<Vec<_>>().join(" "))
        .filter(|mark| !mark.is_empty())
        .collect();
    (!marks.is_empty()).then(|| marks.into_iter().collect::<Vec<_>>().join(", "))
}

/// What is known about the judging besides its calls.
fn health(
    input: &Input,
    panel: &Panel,
    judged: &[Judged],
    canaries: &Canaries,
    pairwise: Option<&PairwiseReport>,
) -> JudgeHealth {
    let mut warnings = canaries.warnings.clone();
    for judge in &panel.judges {
        let (name, base) = (&judge.identity.judge_id, &input.answers.base_model);
        if let Some(family) = family::shared(&judge.model, base) {
            warnings.push(format!(
                "judge {name} and the base model {base} are of one family ({family}); judges prefer what their own \
                 family writes"
            ));
        }
        warnings.extend(round::gaps_of(judge, judged));
    }
    JudgeHealth {
        canaries: canaries.judged,
        canaries_failed: canaries.failed,
        flip_rate: pairwise.map(PairwiseReport::flip_rate),
        warnings,
        ..JudgeHealth::default()
    }
}

fn failure(error: CallError) -> StageFailure {
    match error {
        CallError::Stopped(reason) => StageFailure::Stopped(reason),
        error => StageFailure::of(&error, error.is_retryable()),
    }
}
