//! Who scores the answers, and how.

use serde::{Deserialize, Serialize};

use super::{JudgeBudget, SpecProblem, problems::Findings};
use crate::{rubric::RubricChoice, shown::shown};

/// Who scores the answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, as a specification file has them")]
pub struct JudgeOptions {
    /// Base URL of an OpenAI-compatible endpoint, e.g. `http://localhost:8000/v1`;
    /// without it the endpoint of our own gpu-worker.
    pub url: Option<String>,
    /// Model name at the endpoint; without it the first model that the endpoint lists.
    pub model: Option<String>,
    /// Name of the environment variable that holds the endpoint's key.
    pub api_key_env: Option<String>,
    /// Whether the judge gives reasons; needs a judge that can write them.
    pub reasoning: bool,
    /// Calls in flight at once.
    pub concurrency: u32,
    /// Tries per call, the first included.
    pub max_tries: u32,
    /// Longest wait for one reply in seconds.
    pub timeout_seconds: u32,
    /// Whether the scores of this judge were compared with human labels.
    pub calibrated: bool,
    /// What is scored: `de`, `en`, or an own rubric.
    pub rubric: RubricChoice,
    /// Whether the criteria are asked for in one call or in one call each.
    pub calls: JudgeCalls,
    /// Whether scores are expectations over the probabilities of their tokens, where the endpoint gives those.
    pub logprobs: bool,
    /// Replies whose mean is the score, where there are no probabilities; more than one are asked for with a temperature.
    pub repeats: u32,
    /// Judges beside the first; the scores are the mean over all of them.
    pub panel: Vec<PanelJudge>,
    /// Whether the judges also compare the candidate with the champion, in both orders.
    pub pairwise: bool,
    /// Canaries per judge: bad answers with an attack, which must stay low.
    pub canaries: u32,
    /// Overall score (0–100) that no canary may exceed.
    pub canary_limit: f64,
    /// Calls per minute at most; 0 means no limit.
    pub requests_per_minute: u32,
    /// Tokens of prompts and replies per minute at most; 0 means no limit.
    pub tokens_per_minute: u32,
    /// Whether replies of earlier jobs to the same questions are taken, and those of this job kept for later ones.
    pub cache: bool,
    /// What the calls cost and may cost; without it costs are not known.
    pub budget: Option<JudgeBudget>,
}

/// How many criteria one call asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JudgeCalls {
    /// All of them.
    #[default]
    Together,
    /// One: the criteria do not colour each other, at several times the cost.
    Each,
}

/// A further judge of a panel.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PanelJudge {
    /// Base URL of an OpenAI-compatible endpoint.
    pub url: String,
    /// Model name there; without it the first model that the endpoint lists.
    #[serde(default)]
    pub model: Option<String>,
    /// Name of the environment variable that holds the endpoint's key.
    #[serde(default)]
    pub api_key_env: Option<String>,
}

impl JudgeOptions {
    /// The same as it may be shown: see [`shown`].
    #[must_use]
    pub fn shown(&self) -> Self {
        let mut told = self.clone();
        for url in told.url.iter_mut().chain(told.panel.iter_mut().map(|judge| &mut judge.url)) {
            *url = shown(url).into_owned();
        }
        told
    }
}

impl Default for JudgeOptions {
    fn default() -> Self {
        Self {
            url: None,
            model: None,
            api_key_env: None,
            reasoning: true,
            concurrency: 4,
            max_tries: 4,
            timeout_seconds: 120,
            calibrated: false,
            rubric: RubricChoice::default(),
            calls: JudgeCalls::Together,
            logprobs: true,
            repeats: 1,
            panel: Vec::new(),
            pairwise: false,
            canaries: 3,
            canary_limit: 40.0,
            requests_per_minute: 0,
            tokens_per_minute: 0,
            cache: true,
            budget: None,
        }
    }
}

impl JudgeOptions {
    /// Everything that is wrong with the options by themselves.
    pub fn problems(&self) -> Vec<SpecProblem> {
        let mut found = Findings::default();
        self.check(&mut found);
        found.0
    }

    pub(super) fn check(&self, found: &mut Findings) {
        found.require("judge.concurrency", (1..=256).contains(&self.concurrency), || {
            format!("is {}; expected 1 to 256", self.concurrency)
        });
        found.require("judge.max_tries", (1..=20).contains(&self.max_tries), || {
            format!("is {}; expected 1 to 20", self.max_tries)
        });
        found.require("judge.timeout_seconds", self.timeout_seconds > 0, || {
            "is 0; expected at least 1".into()
        });
        if let Some(budget) = &self.budget {
            budget.check(found);
        }
        if let Some(url) = &self.url {
            found.require("judge.url", is_url(url), || {
                format!("`{url}` is not a URL; expected e.g. http://localhost:8000/v1")
            });
        }
        self.check_judging(found);
        self.check_panel(found);
    }

    fn check_judging(&self, found: &mut Findings) {
        match self.rubric.rubric() {
            Ok(rubric) => {
                for problem in rubric.problems() {
                    found.add("judge.rubric", problem);
                }
            }
            Err(unknown) => found.add("judge.rubric", unknown.to_string()),
        }
        found.require("judge.repeats", (1..=25).contains(&self.repeats), || {
            format!("is {}; expected 1 to 25", self.repeats)
        });
        found.require("judge.canaries", self.canaries <= 50, || {
            format!("is {}; expected 0 to 50", self.canaries)
        });
        found.require("judge.canary_limit", (0.0..=100.0).contains(&self.canary_limit), || {
            format!("is {}; expected 0 to 100", self.canary_limit)
        });
    }

    fn check_panel(&self, found: &mut Findings) {
        found.require("judge.panel", self.panel.len() <= 8, || {
            format!("has {} judges; expected at most 8 beside the first", self.panel.len())
        });
        for (number, judge) in self.panel.iter().enumerate() {
            found.require("judge.panel", is_url(&judge.url), || {
                format!("`{}` is not a URL; expected e.g. http://localhost:8000/v1", judge.url)
            });
            let is_first = self.url.as_ref() == Some(&judge.url) && self.model == judge.model;
            let before = self.panel.iter().take(number);
            let is_twice =
                before.into_iter().any(|other| (&other.url, &other.model) == (&judge.url, &judge.model));
            found.require("judge.panel", !is_first && !is_twice, || {
                let model = judge.model.as_deref().unwrap_or("its first model");
                format!("asks {model} at {} twice; name each judge once", judge.url)
            });
        }
    }
}

fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}
