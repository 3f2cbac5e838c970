//! Where the frozen weights come from.

use std::sync::Arc;

use crate::{
    engine::{
        AdapterWeights, EngineError, LoraConfig,
        reference::{begun_adapter, drawn_adapter},
    },
    model::{BaseModel, ModelConfig},
};

/// Where the values come from.
#[derive(Debug, Clone)]
pub(in crate::engine::cuda) enum Source {
    /// A base model in host memory.
    Base(Arc<BaseModel>),
    /// Uniform values made on the device, for benchmarks.
    Random(Box<ModelConfig>),
}

impl Source {
    pub(in crate::engine::cuda) fn config(&self) -> &ModelConfig {
        match self {
            Self::Base(base) => &base.config,
            Self::Random(config) => config,
        }
    }

    /// A new adapter but for its magnitudes, which are zero.
    pub(in crate::engine::cuda) fn begun_adapter(
        &self,
        config: &LoraConfig,
        seed: u64,
    ) -> Result<AdapterWeights, EngineError> {
        match self {
            Self::Base(base) => begun_adapter(config, base, seed),
            Self::Random(_) if config.frozen_rank > 0 => {
                let reason = "nothing is known of the singular values of random weights".to_owned();
                Err(EngineError::Unsupported { reason })
            }
            Self::Random(model) => drawn_adapter(config, model, seed),
        }
    }
}
