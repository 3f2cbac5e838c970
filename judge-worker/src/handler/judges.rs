//! The judges that a job asks for: endpoints, keys, models, and how each is asked.

use std::{sync::Arc, time::Duration};

use clara_lifecycle::{
    digest::Digest,
    rubric::Rubric,
    score::JudgeIdentity,
    spec::{JudgeOptions, PanelJudge},
};
use clara_runtime::{
    stop::StopSignal,
    worker::{AttemptContext, StageFailure},
};

use super::{JudgeHandler, failure};
use crate::{
    client::{Access, Allowance, CallError, Endpoint, Pacing, Secret},
    ledger::Ledger,
    panel::Panel,
    prompt::{Prompter, Reasons},
    score::{Asking, Judge},
};

/// Only variables with such a name are read as keys: a job names the variable, and must not be able to send
/// any other secret of this process to a URL of its choice.
const KEY_VARIABLE_SUFFIX: &str = "_API_KEY";

impl JudgeHandler {
    /// All judges of the job, the first one first.
    pub(super) async fn panel(
        &self,
        context: &AttemptContext,
        ledger: &Arc<Ledger>,
    ) -> Result<Panel, StageFailure> {
        let options = &context.assignment.spec.judge;
        let rubric = options.rubric.rubric().map_err(StageFailure::permanent)?;
        let first = self.first(options).map_err(failure)?;
        let mut judges = Vec::new();
        for named in std::iter::once(&first).chain(&options.panel) {
            let is_own = self.config.is_own && options.url.is_none() && judges.is_empty();
            let endpoint = self.endpoint(named, options, is_own, ledger).map_err(failure)?;
            let judge = judge(endpoint, named, &rubric, options, &context.stop).await;
            judges.push(judge.map_err(failure)?);
        }
        Ok(Panel { rubric, judges, offsets: context.assignment.judge_offsets.clone() })
    }

    /// The judge that the job names, or else this worker.
    fn first(&self, options: &JudgeOptions) -> Result<PanelJudge, CallError> {
        let url = options.url.as_ref().or(self.config.default_url.as_ref()).ok_or(CallError::Unnamed)?;
        let by_worker = self.config.default_model.as_ref().filter(|_| options.url.is_none());
        Ok(PanelJudge {
            url: url.clone(),
            model: options.model.as_ref().or(by_worker).cloned(),
            api_key_env: options.api_key_env.clone(),
        })
    }

    /// The endpoint of one judge, with the limits of the job and of this process.
    fn endpoint(
        &self,
        named: &PanelJudge,
        options: &JudgeOptions,
        is_own: bool,
        ledger: &Arc<Ledger>,
    ) -> Result<Endpoint, CallError> {
        let asked = Allowance {
            concurrency: options.concurrency,
            requests_per_minute: options.requests_per_minute,
            tokens_per_minute: options.tokens_per_minute,
        };
        let access = Access {
            url: named.url.clone(),
            key: self.key(&named.url, named.api_key_env.as_deref())?,
            timeout: Duration::from_secs(options.timeout_seconds.into()),
            pacing: Pacing { first_pause: self.config.first_pause, ..Pacing::patient(options.max_tries) },
            // The own endpoint belongs to this attempt alone.
            allowance: if is_own { asked } else { asked.within(self.config.allowance) },
            is_own,
            clock: Arc::clone(&self.config.clock),
        };
        Endpoint::new(access, &self.config.endpoints, ledger)
    }

    fn key(&self, url: &str, variable: Option<&str>) -> Result<Option<Secret>, CallError> {
        let Some(name) = variable else { return Ok(None) };
        let unreadable = |detail| CallError::Key { url: url.to_owned(), detail };
        if !name.ends_with(KEY_VARIABLE_SUFFIX) {
            return Err(unreadable(format!(
                "`judge.api_key_env` names {name}; only variables that end in {KEY_VARIABLE_SUFFIX} are read"
            )));
        }
        let key = (self.config.variable)(name).filter(|key| !key.is_empty());
        let key =
            key.ok_or_else(|| unreadable(format!("the judge-worker has no environment variable {name}")))?;
        Ok(Some(Secret(key)))
    }
}

/// Prepares one judge; asks its endpoint for a model when none is named.
async fn judge(
    endpoint: Endpoint,
    named: &PanelJudge,
    rubric: &Rubric,
    options: &JudgeOptions,
    stop: &StopSignal,
) -> Result<Judge, CallError> {
    let model = match &named.model {
        Some(model) => model.clone(),
        None => endpoint.first_model(stop).await?,
    };
    let asking = Asking { calls: options.calls, logprobs: options.logprobs, repeats: options.repeats.max(1) };
    let reasons = if options.reasoning { Reasons::After } else { Reasons::None };
    let prompter = Prompter::new(rubric.clone(), reasons);
    let asked = identity(&prompter, asking, &model, named, options.calibrated);
    let mut judge = Judge { endpoint, model, prompter, asking, identity: asked };
    settle(&mut judge, options, stop).await?;
    judge.identity = identity(&judge.prompter, judge.asking, &judge.model, named, options.calibrated);
    Ok(judge)
}

/// Settles what depends on whether the endpoint tells probabilities: with them one reply is enough and reasons come
/// after the scores; without them a judge thinks first, and repeats take the place of probabilities. Where nothing
/// depends on it, nobody asks.
async fn settle(judge: &mut Judge, options: &JudgeOptions, stop: &StopSignal) -> Result<(), CallError> {
    let depends = options.reasoning || judge.asking.repeats > 1;
    if options.logprobs && !depends {
        return Ok(());
    }
    judge.asking.logprobs = options.logprobs && judge.tells_probabilities(stop).await?;
    if judge.asking.logprobs {
        judge.asking.repeats = 1;
    } else if options.reasoning {
        judge.prompter = Prompter::new(judge.prompter.rubric().clone(), Reasons::Before);
    }
    Ok(())
}

/// Who judges when `model` is asked in this way. The digest of the prompts covers how the judge is asked: scores of one
/// way are not comparable with those of another.
fn identity(
    prompter: &Prompter,
    asking: Asking,
    model: &str,
    named: &PanelJudge,
    calibrated: bool,
) -> JudgeIdentity {
    let rubric = prompter.rubric();
    let (texts, way) = (prompter.digest(), format!("{asking:?}"));
    let prompt_digest = Digest::of_parts([("texts", texts.as_str().as_bytes()), ("way", way.as_bytes())]);
    let rubric_digest = rubric.digest();
    JudgeIdentity {
        judge_id: format!("{model}#{}-{}", prompt_digest.short(), rubric_digest.short()),
        model: model.to_owned(),
        url: named.url.clone(),
        rubric_version: rubric.version.clone(),
        rubric_digest,
        prompt_digest,
        calibrated,
        // Known when it has answered.
        fingerprint: None,
    }
}
