//! Everything that a training reads, checked and tokenised.

use clara_lifecycle::{
    dataset::TrainingRecord,
    digest::Digest,
    spec::{Method, TrainingOptions},
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
            Some(adapter) => adapter.config.clone(),
            None => lora_config(method, &options)?,
        };
        if lora.dora != (method == Method::Dora) {
            return Err(TrainError::Options(format!(
                "the adapter to start from was {}trained with DoRA, but the method is {method}; choose the same method",
                if lora.dora { "" } else { "not " }
            )));
        }
        check(&options, &lora, sources.base).map_err(TrainError::Options)?;
        let train = collate(sources.train, sources.tools, &options)?;
        let validation = match sources.validation {
            [] => None,
            records => Some(collate(records, sources.tools, &options)?),
        };
        if options.early_stopping_patience > 0 && validation.is_none() {
            return Err(TrainError::Options(
                "early_stopping_patience needs validation records; hold some out, or set it to 0".to_owned(),
            ));
        }
        let digest =
            digest(method, &options, sources.base, &train, validation.as_ref(), initial_adapter.as_ref())?;
        Ok(Self { method, options, lora, train, validation, initial_adapter, digest })
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
    // Servers know the scale alpha / rank alone, so a rank-stabilised adapter has the alpha that gives its scale.
    #[expect(clippy::cast_precision_loss, reason = "ranks are far below 2^24")]
    let alpha = if options.use_rslora { options.alpha * (options.rank as f32).sqrt() } else { options.alpha };
    Ok(LoraConfig { rank: options.rank as usize, alpha, targets, dora: method == Method::Dora })
}

fn check(options: &TrainingOptions, lora: &LoraConfig, base: &BaseModel) -> Result<(), String> {
    peft::check_rank(lora, &base.config)?;
    let (alpha, rate) = (lora.alpha, options.learning_rate);
    if !(alpha > 0.0 && alpha.is_finite()) {
        return Err(format!("alpha is {alpha}; expected a positive number"));
    }
    if !(rate > 0.0 && rate < 1.0) {
        return Err(format!("learning_rate is {rate}; expected a number between 0 and 1, e.g. 2e-4"));
    }
    if !(0.0..=1.0).contains(&options.warmup_ratio) {
        return Err(format!("warmup_ratio is {}; expected 0 to 1", options.warmup_ratio));
    }
    if options.early_stopping_patience > 0 && options.validate_every == 0 {
        return Err("early_stopping_patience needs validations; set validate_every above 0".to_owned());
    }
    for (name, value) in [
        ("rank", lora.rank),
        ("epochs", options.epochs as usize),
        ("accumulation", options.accumulation as usize),
    ] {
        if value == 0 {
            return Err(format!("{name} is 0; expected at least 1"));
        }
    }
    if options.dropout != 0.0 {
        return Err(format!("dropout is {}; only 0 is available in this version", options.dropout));
    }
    let (length, limit) = (options.sequence_length as usize, base.config.max_positions);
    if length > limit {
        return Err(format!(
            "sequence_length is {length}, but base model {} was made for {limit} tokens",
            base.name
        ));
    }
    if length < 2 {
        return Err(format!("sequence_length is {length}; expected at least 2"));
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
