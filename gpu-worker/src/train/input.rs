//! Everything that a training reads, checked and tokenised.

use clara_lifecycle::{
    dataset::TrainingRecord,
    digest::Digest,
    spec::{AdapterInit, Method, TrainingOptions},
};

use super::TrainError;
use crate::{
    collate::{Rows, TextTools, collate},
    engine::{AdapterWeights, LoraConfig, TargetModule},
    model::BaseModel,
    peft,
};

/// Where the input of a training comes from.
#[derive(Debug, Clone, Copy)]
pub struct TrainingSources<'a> {
    /// The base model.
    pub base: &'a BaseModel,
    /// Its tokenizer and chat template.
    pub tools: TextTools<'a>,
    /// Records to train on.
    pub train: &'a [TrainingRecord],
    /// Records held out; may be empty.
    pub validation: &'a [TrainingRecord],
}

/// Everything that shapes a training.
#[derive(Debug, Clone)]
pub struct TrainingInput {
    /// How the adapter is trained.
    pub method: Method,
    /// Options as given.
    pub options: TrainingOptions,
    /// Shape of the adapter.
    pub lora: LoraConfig,
    /// Rows to train on.
    pub train: Rows,
    /// Rows held out; `None` without validation records.
    pub validation: Option<Rows>,
    /// The adapter to start from; without one a new adapter is drawn.
    pub initial_adapter: Option<AdapterWeights>,
    /// Digest over everything that shapes the adapter.
    pub digest: Digest,
}

impl TrainingInput {
    /// Checks the options against the base model, then tokenises the records.
    ///
    /// # Errors
    /// [`TrainError::Options`] before any record is looked at; [`TrainError::Collate`].
    pub fn new(
        method: Method,
        options: TrainingOptions,
        sources: TrainingSources<'_>,
        initial_adapter: Option<AdapterWeights>,
    ) -> Result<Self, TrainError> {
        let lora = match &initial_adapter {
            Some(adapter) => LoraConfig { dropout: options.dropout, ..adapter.config.clone() },
            None => lora_config(method, &options)?,
        };
        if lora.dora != (method == Method::Dora) {
            return Err(TrainError::Options(format!(
                "the adapter to start from was {}trained with DoRA, but the method is {method}; choose the same method",
                if lora.dora { "" } else { "not " }
            )));
        }
        if initial_adapter.is_some() && options.init != AdapterInit::Default {
            return Err(TrainError::Options(
                "init says how a new adapter begins, but there is an adapter to start from; leave one of them out".to_owned(),
            ));
        }
        check(&options, &lora, sources.base).map_err(TrainError::Options)?;
        if options.early_stopping_patience > 0 && sources.validation.is_empty() {
            return Err(TrainError::Options(
                "early_stopping_patience needs validation records; hold some out, or set it to 0".to_owned(),
            ));
        }
        let train = collate(sources.train, sources.tools, &options)?;
        let validation = match sources.validation {
            [] => None,
            records => Some(collate(records, sources.tools, &options)?),
        };
        let digest =
            digest(method, &options, sources.base, &train, validation.as_ref(), initial_adapter.as_ref())?;
        Ok(Self { method, options, lora, train, validation, initial_adapter, digest })
    }

    /// Tokens of the longest row, held out or not.
    pub fn longest_row(&self) -> usize {
        self.train.longest().max(self.validation.as_ref().map_or(0, Rows::longest))
    }
}

fn lora_config(method: Method, options: &TrainingOptions) -> Result<LoraConfig, TrainError> {
    let mut targets = Vec::with_capacity(options.target_modules.len());
    for name in &options.target_modules {
        let module = TargetModule::from_name(name).ok_or_else(|| {
            let known: Vec<&str> = TargetModule::ALL.iter().map(|module| module.name()).collect();
            TrainError::Options(format!(
                "target module `{name}` is unknown; expected some of {}",
                known.join(", ")
            ))
        })?;
        targets.push(module);
    }
    targets.sort_unstable();
    targets.dedup();
    let rank = options.rank as usize;
    let alpha = if options.use_rslora { peft::stabilised_alpha(options.alpha, rank) } else { options.alpha };
    let (dora, dropout) = (method == Method::Dora, options.dropout);
    Ok(match options.init {
        AdapterInit::Default => LoraConfig { rank, frozen_rank: 0, alpha, targets, dora, dropout },
        // Twice the rank at twice the alpha has the same scale.
        AdapterInit::Pissa => {
            LoraConfig { rank: 2 * rank, frozen_rank: rank, alpha: 2.0 * alpha, targets, dora, dropout }
        }
    })
}

fn check(options: &TrainingOptions, lora: &LoraConfig, base: &BaseModel) -> Result<(), String> {
    let problems = options.problems();
    if !problems.is_empty() {
        let lines = problems.iter().map(|problem| format!("{} {}", problem.field, problem.message));
        return Err(lines.collect::<Vec<_>>().join("; "));
    }
    peft::check_rank(lora, &base.config).map_err(|reason| match lora.frozen_rank {
        0 => reason,
        _ => format!("{reason}; PiSSA takes twice the rank"),
    })?;
    let (length, limit) = (options.sequence_length as usize, base.config.max_positions);
    if length > limit {
        return Err(format!(
            "training.sequence_length is {length}, but base model {} was made for {limit} tokens; set it to at most {limit}",
            base.name
        ));
    }
    Ok(())
}

fn digest(
    method: Method,
    options: &TrainingOptions,
    base: &BaseModel,
    train: &Rows,
    validation: Option<&Rows>,
    initial_adapter: Option<&AdapterWeights>,
) -> Result<Digest, TrainError> {
    let options = serde_json::to_vec(options)?;
    let train = train.digest();
    let validation = validation.map(Rows::digest);
    let adapter = initial_adapter
        .map(|adapter| peft::encode_tensors(&adapter.tensors).map(|bytes| Digest::of(&bytes)))
        .transpose()
        .map_err(TrainError::Options)?;
    let text =
        |digest: &Option<Digest>| digest.as_ref().map_or(String::new(), |digest| digest.as_str().to_owned());
    let (validation, adapter) = (text(&validation), text(&adapter));
    Ok(Digest::of_parts([
        ("method", method.as_str().as_bytes()),
        ("options", options.as_slice()),
        ("base_model", base.digest.as_bytes()),
        ("train", train.as_str().as_bytes()),
        ("validation", validation.as_bytes()),
        ("initial_adapter", adapter.as_bytes()),
    ]))
}
