//! Checks a job specification and reports every problem at once.

use std::collections::BTreeSet;

use super::{
    ALL_LINEAR, CleanOptions, IngestOptions, JobSpec, RecordOrder, RecordShape, RerankOptions, ShapeOptions,
    TrainingOptions,
};
use crate::{query::Query, shown::shown};

/// One thing that is wrong with a job specification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecProblem {
    /// The field, e.g. `training.rank`.
    pub field: &'static str,
    /// What was found, what was expected and what to do.
    pub message: String,
}

impl JobSpec {
    /// Everything that is wrong with the specification itself; empty when it is sound.
    ///
    /// What needs a look outside (does the base model exist, is the golden dataset frozen) is checked at
    /// submission, and reported together with these.
    pub fn problems(&self) -> Vec<SpecProblem> {
        let mut found = Findings::default();
        self.training.check(&mut found);
        self.ingest.check(&mut found);
        self.judge.check(&mut found);
        self.check_scope(&mut found);
        for message in self.gate.problems() {
            found.add("gate", message);
        }
        let tokens = self.generation.max_new_tokens;
        found.require("generation.max_new_tokens", tokens > 0, || "is 0; expected at least 1".into());
        let temperature = self.generation.temperature;
        found.require("generation.temperature", (0.0..=2.0).contains(&temperature), || {
            format!("is {temperature}; expected 0 to 2")
        });
        found.require("retry.max_attempts", self.retry.max_attempts > 0, || {
            "is 0; expected at least 1".into()
        });
        found.require("priority", self.priority <= 9, || format!("is {}; expected 0 to 9", self.priority));
        found.require("base_model", !self.base_model.is_empty(), || {
            "is empty; give a Hugging Face folder or a GGUF file".into()
        });
        found.0
    }

    fn check_scope(&self, found: &mut Findings) {
        let is_curriculum = self.ingest.shape.order == RecordOrder::Curriculum;
        found.require("ingest.shape.order", !(is_curriculum && self.training.shuffle), || {
            "is curriculum, which training.shuffle would undo; set training.shuffle to false".into()
        });
        let mut seen = BTreeSet::new();
        for target in &self.rollout_targets {
            found.require("rollout_targets", seen.insert(target), || {
                format!("names `{target}` twice; name each target once")
            });
        }
    }
}

impl TrainingOptions {
    /// Everything that is wrong with the options by themselves.
    pub fn problems(&self) -> Vec<SpecProblem> {
        let mut found = Findings::default();
        self.check(&mut found);
        found.0
    }

    fn check(&self, found: &mut Findings) {
        found.require("training.rank", (1..=1024).contains(&self.rank), || {
            format!("is {}; expected 1 to 1024", self.rank)
        });
        found.require("training.alpha", self.alpha > 0.0 && self.alpha.is_finite(), || {
            format!("is {}; expected a positive number", self.alpha)
        });
        found.require("training.dropout", (0.0..1.0).contains(&self.dropout), || {
            format!("is {}; expected 0 to below 1, e.g. 0.05", self.dropout)
        });
        found.require("training.target_modules", !self.target_modules.is_empty(), || {
            format!("is empty; expected some of {}", ALL_LINEAR.join(", "))
        });
        for module in &self.target_modules {
            found.require("training.target_modules", ALL_LINEAR.contains(&module.as_str()), || {
                format!("`{module}` is unknown; expected some of {}", ALL_LINEAR.join(", "))
            });
        }
        found.require("training.learning_rate", self.learning_rate > 0.0 && self.learning_rate < 1.0, || {
            format!("is {}; expected a number between 0 and 1, e.g. 2e-4", self.learning_rate)
        });
        found.require("training.loraplus_lr_ratio", (1.0..=1024.0).contains(&self.loraplus_lr_ratio), || {
            format!("is {}; expected 1 (plain LoRA) to 1024, e.g. 16", self.loraplus_lr_ratio)
        });
        found.share("training.warmup_ratio", f64::from(self.warmup_ratio));
        found.share("training.min_lr_ratio", f64::from(self.min_lr_ratio));
        found.share("training.decay_ratio", f64::from(self.decay_ratio));
        let stops_early = self.early_stopping_patience > 0;
        found.require("training.early_stopping_patience", !stops_early || self.validate_every > 0, || {
            "needs validations during training; set validate_every above 0".into()
        });
        let rates =
            [("training.weight_decay", self.weight_decay), ("training.max_grad_norm", self.max_grad_norm)];
        for (field, value) in rates {
            found.require(field, value >= 0.0 && value.is_finite(), || {
                format!("is {value}; expected 0 or a positive number")
            });
        }
        found.require("training.epochs", self.epochs > 0, || "is 0; expected at least 1".into());
        found.require("training.accumulation", self.accumulation > 0, || "is 0; expected at least 1".into());
        found.require("training.sequence_length", self.sequence_length >= 16, || {
            format!("is {}; expected at least 16 tokens", self.sequence_length)
        });
    }
}

impl IngestOptions {
    /// Everything that is wrong with the options by themselves.
    pub fn problems(&self) -> Vec<SpecProblem> {
        let mut found = Findings::default();
        self.check(&mut found);
        found.0
    }

    fn check(&self, found: &mut Findings) {
        found.require("ingest.sources", !self.sources.is_empty(), || {
            "is empty; give at least one file, folder, URL or @NAME of a server".into()
        });
        found.share("ingest.min_relevance", self.min_relevance);
        found.share("ingest.overlap_limit", self.overlap_limit);
        found.share("ingest.max_broken_share", self.max_broken_share);
        found.require("ingest.validation_share", (0.0..0.9).contains(&self.validation_share), || {
            format!("is {}; expected 0 to 0.9", self.validation_share)
        });
        found.require("ingest.top_k", self.top_k != Some(0), || "is 0; expected at least 1".into());
        found.require("ingest.top_k", self.top_k.is_none() || self.query.is_some(), || {
            "needs ingest.query: without one, documents have no order of relevance".into()
        });
        found.require("ingest.min_relevance", self.min_relevance == 0.0 || self.query.is_some(), || {
            "needs ingest.query: without one, documents have no relevance".into()
        });
        if let Some(Err(error)) = self.query.as_deref().map(Query::parse) {
            let message = error.to_string();
            // The field's name says so already.
            found.add("ingest.query", message.strip_prefix("the query ").unwrap_or(&message).to_owned());
        }
        found.require("ingest.max_chars", self.max_chars > self.min_chars, || {
            format!("is {}; expected more than ingest.min_chars ({})", self.max_chars, self.min_chars)
        });
        found.require("ingest.chunk_chars", self.chunk_chars >= 100, || {
            format!("is {}; expected at least 100", self.chunk_chars)
        });
        self.clean.check(found);
        self.shape.check(found);
        if let Some(rerank) = &self.rerank {
            found.require("ingest.rerank", self.query.is_some(), || {
                "needs ingest.query: without one, there is nothing to rank by".into()
            });
            rerank.check(found);
        }
        found.require("ingest.overlap_ngram_words", (2..=50).contains(&self.overlap_ngram_words), || {
            format!("is {}; expected 2 to 50", self.overlap_ngram_words)
        });
    }
}

impl CleanOptions {
    fn check(&self, found: &mut Findings) {
        found.share("ingest.clean.near_duplicate_limit", self.near_duplicate_limit);
        found.share("ingest.clean.golden_similarity_limit", self.golden_similarity_limit);
        found.share("ingest.clean.min_quality", self.min_quality);
        found.share("ingest.clean.repetition_limit", self.repetition_limit);
    }
}

impl ShapeOptions {
    fn check(&self, found: &mut Findings) {
        let asks = self.records == RecordShape::Instruction;
        found.require("ingest.shape.questions", self.questions.is_empty() || asks, || {
            "needs ingest.shape.records = \"instruction\": no other records hold questions".into()
        });
        found.require("ingest.shape.cite", !self.cite || self.records != RecordShape::Text, || {
            "needs ingest.shape.records = \"instruction\" or \"completion\": running text is learned as it is".into()
        });
        for (source, weight) in &self.weights {
            found.require("ingest.shape.weights", weight.is_finite() && *weight > 0.0, || {
                format!(
                    "gives `{}` {weight}; expected more than 0, or leave the source out of ingest.sources",
                    shown(source)
                )
            });
        }
        let cluster = self.cluster.as_deref();
        found.require("ingest.shape.cluster", cluster.is_none_or(|field| !field.trim().is_empty()), || {
            "is empty; name a field of the documents, such as `law`, or leave it out".into()
        });
    }
}

impl RerankOptions {
    fn check(&self, found: &mut Findings) {
        found.share("ingest.rerank.weight", self.weight);
        found.require("ingest.rerank.candidates", self.candidates > 0, || "is 0; expected at least 1".into());
        let endpoint = &self.endpoint;
        let host = endpoint.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', '#']).next());
        let is_http = endpoint.starts_with("http://") || endpoint.starts_with("https://");
        if host.is_some_and(|host| host.contains('@')) {
            let message = "holds a user or a password, which the manifest would show; leave them out, and name the variable with \
                           the key in ingest.rerank.api_key_env";
            found.add("ingest.rerank.endpoint", message.into());
        } else {
            found.require("ingest.rerank.endpoint", is_http, || {
                format!("is `{}`; expected a base URL such as http://embedder:8080/v1", shown(endpoint))
            });
        }
        found.require("ingest.rerank.model", !self.model.trim().is_empty(), || {
            "is empty; name the model that embeds".into()
        });
    }
}

/// The problems that were found so far.
#[derive(Default)]
pub(super) struct Findings(pub(super) Vec<SpecProblem>);

impl Findings {
    pub(super) fn add(&mut self, field: &'static str, message: String) {
        self.0.push(SpecProblem { field, message });
    }

    pub(super) fn require(&mut self, field: &'static str, holds: bool, message: impl FnOnce() -> String) {
        if !holds {
            self.add(field, message());
        }
    }

    pub(super) fn share(&mut self, field: &'static str, value: f64) {
        self.require(field, (0.0..=1.0).contains(&value), || format!("is {value}; expected 0 to 1"));
    }
}
