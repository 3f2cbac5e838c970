//! How a job is judged: options, rubric, panel, and the offsets of judges.

use std::collections::BTreeMap;

use clara_lifecycle::{
    attempt::JudgeOffsets,
    rubric::{AppliesWhen, Language, Rubric, RubricChoice, RubricCriterion},
    spec::{JudgeBudget, JudgeCalls, JudgeOptions, PanelJudge},
};

use super::{ConvertError, parsed};
use crate::v1;

impl From<JudgeOptions> for v1::JudgeOptions {
    fn from(options: JudgeOptions) -> Self {
        let (rubric, own_rubric) = match options.rubric {
            RubricChoice::Named(name) => (Some(name), None),
            RubricChoice::Own(rubric) => (None, Some(Rubric::into(*rubric))),
        };
        Self {
            url: options.url,
            model: options.model,
            api_key_env: options.api_key_env,
            reasoning: options.reasoning,
            concurrency: options.concurrency,
            max_tries: options.max_tries,
            timeout_seconds: options.timeout_seconds,
            calibrated: options.calibrated,
            rubric,
            own_rubric,
            each_criterion: options.calls == JudgeCalls::Each,
            logprobs: Some(options.logprobs),
            repeats: Some(options.repeats),
            panel: options.panel.into_iter().map(Into::into).collect(),
            pairwise: options.pairwise,
            canaries: Some(options.canaries),
            canary_limit: Some(options.canary_limit),
            requests_per_minute: options.requests_per_minute,
            tokens_per_minute: options.tokens_per_minute,
            cache: Some(options.cache),
            budget: options.budget.map(Into::into),
        }
    }
}

impl TryFrom<v1::JudgeOptions> for JudgeOptions {
    type Error = ConvertError;

    fn try_from(options: v1::JudgeOptions) -> Result<Self, ConvertError> {
        let default = Self::default();
        let rubric = match (options.own_rubric, options.rubric) {
            (Some(own), _) => RubricChoice::Own(Box::new(own.try_into()?)),
            (None, Some(name)) => RubricChoice::Named(name),
            (None, None) => default.rubric,
        };
        Ok(Self {
            url: options.url,
            model: options.model,
            api_key_env: options.api_key_env,
            reasoning: options.reasoning,
            concurrency: options.concurrency,
            max_tries: options.max_tries,
            timeout_seconds: options.timeout_seconds,
            calibrated: options.calibrated,
            rubric,
            calls: if options.each_criterion { JudgeCalls::Each } else { JudgeCalls::Together },
            logprobs: options.logprobs.unwrap_or(default.logprobs),
            repeats: options.repeats.unwrap_or(default.repeats),
            panel: options.panel.into_iter().map(Into::into).collect(),
            pairwise: options.pairwise,
            canaries: options.canaries.unwrap_or(default.canaries),
            canary_limit: options.canary_limit.unwrap_or(default.canary_limit),
            requests_per_minute: options.requests_per_minute,
            tokens_per_minute: options.tokens_per_minute,
            cache: options.cache.unwrap_or(default.cache),
            budget: options.budget.map(Into::into),
        })
    }
}

impl From<JudgeBudget> for v1::JudgeBudget {
    fn from(budget: JudgeBudget) -> Self {
        let JudgeBudget { most, prompt_price, reply_price, currency } = budget;
        Self { most, prompt_price, reply_price, currency }
    }
}

impl From<v1::JudgeBudget> for JudgeBudget {
    fn from(budget: v1::JudgeBudget) -> Self {
        let v1::JudgeBudget { most, prompt_price, reply_price, currency } = budget;
        Self { most, prompt_price, reply_price, currency }
    }
}

impl From<PanelJudge> for v1::PanelJudge {
    fn from(judge: PanelJudge) -> Self {
        let PanelJudge { url, model, api_key_env } = judge;
        Self { url, model, api_key_env }
    }
}

impl From<v1::PanelJudge> for PanelJudge {
    fn from(judge: v1::PanelJudge) -> Self {
        let v1::PanelJudge { url, model, api_key_env } = judge;
        Self { url, model, api_key_env }
    }
}

impl From<Rubric> for v1::Rubric {
    fn from(rubric: Rubric) -> Self {
        Self {
            version: rubric.version,
            language: rubric.language.as_str().to_owned(),
            criteria: rubric.criteria.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::Rubric> for Rubric {
    type Error = ConvertError;

    fn try_from(rubric: v1::Rubric) -> Result<Self, ConvertError> {
        let language = [Language::German, Language::English];
        Ok(Self {
            version: rubric.version,
            language: named("judge.rubric.language", &rubric.language, language, Language::as_str)?,
            criteria: rubric.criteria.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
        })
    }
}

impl From<RubricCriterion> for v1::RubricCriterion {
    fn from(entry: RubricCriterion) -> Self {
        Self {
            criterion: entry.criterion.to_string(),
            weight: entry.weight,
            question: entry.question,
            anchors: entry.anchors,
            applies_when: entry.applies_when.as_str().to_owned(),
            hard_fail: entry.hard_fail,
        }
    }
}

impl TryFrom<v1::RubricCriterion> for RubricCriterion {
    type Error = ConvertError;

    fn try_from(entry: v1::RubricCriterion) -> Result<Self, ConvertError> {
        let when = [AppliesWhen::Always, AppliesWhen::Note, AppliesWhen::Context, AppliesWhen::Reference];
        Ok(Self {
            criterion: parsed("judge.rubric.criterion", &entry.criterion)?,
            weight: entry.weight,
            question: entry.question,
            anchors: entry.anchors,
            applies_when: named("judge.rubric.applies_when", &entry.applies_when, when, AppliesWhen::as_str)?,
            hard_fail: entry.hard_fail,
        })
    }
}

/// The value that is called `text`.
fn named<T: Copy, const N: usize>(
    field: &'static str,
    text: &str,
    all: [T; N],
    name: fn(T) -> &'static str,
) -> Result<T, ConvertError> {
    let unknown = || ConvertError {
        field,
        reason: format!("`{text}` is unknown; expected one of {}", all.map(name).join(", ")),
    };
    all.into_iter().find(|value| name(*value) == text).ok_or_else(unknown)
}

/// The wire form of what is added to the scores of judges.
pub(super) fn offsets_to_wire(offsets: JudgeOffsets) -> Vec<v1::JudgeOffset> {
    let of_judge = |(judge_id, criteria): (String, BTreeMap<_, f64>)| {
        criteria.into_iter().map(move |(criterion, offset)| v1::JudgeOffset {
            judge_id: judge_id.clone(),
            criterion: ToString::to_string(&criterion),
            offset,
        })
    };
    offsets.into_iter().flat_map(of_judge).collect()
}

/// What is added to the scores of judges.
pub(super) fn offsets_from_wire(offsets: Vec<v1::JudgeOffset>) -> Result<JudgeOffsets, ConvertError> {
    let mut all = JudgeOffsets::new();
    for v1::JudgeOffset { judge_id, criterion, offset } in offsets {
        let criterion = parsed("assignment.judge_offsets.criterion", &criterion)?;
        all.entry(judge_id).or_default().insert(criterion, offset);
    }
    Ok(all)
}
