//! Reads a base model from a Hugging Face folder: `config.json`, safetensors files, tokenizer and chat template.

mod architecture;
mod bitsandbytes;
mod config;
mod files;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use crate::{
    model::{self, BaseModel, LoadedModel, ModelConfig, ModelError, Precision, Stored, Tensors},
    template::ChatTemplate,
    tokenizer::{SpecialTokens, Tokenizer},
};

use architecture::Architecture;
use bitsandbytes::FourBits;
use config::Read;
use files::StoredTensor;

/// A folder whose headers were read and found sound.
#[derive(Debug)]
pub(crate) struct HfModel {
    folder: PathBuf,
    /// Shape and constants.
    pub(crate) config: ModelConfig,
    weights: BTreeMap<String, Weight>,
    chat_template: Option<String>,
    special: SpecialTokens,
    architecture: Architecture,
}

/// A tensor of the folder.
#[derive(Debug)]
enum Weight {
    Plain(StoredTensor),
    FourBits(Box<FourBits>),
}

impl Weight {
    fn file(&self) -> &Path {
        match self {
            Self::Plain(tensor) => &tensor.file,
            Self::FourBits(tensor) => tensor.file(),
        }
    }

    fn shape(&self) -> Vec<usize> {
        match self {
            Self::Plain(tensor) => tensor.shape.clone(),
            Self::FourBits(tensor) => tensor.shape.to_vec(),
        }
    }
}

/// Side files that shape the result; those that exist are part of the model's digest.
const SIDE_FILES: [&str; 5] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
];

/// Loads the folder.
pub(crate) fn load(folder: &Path, precision: Precision) -> Result<LoadedModel, ModelError> {
    let model = HfModel::open(folder)?;
    let (digest, tensors) = rayon::join(|| model.digest(), || model.tensors(precision));
    let tokenizer_error = |source| ModelError::Tokenizer { path: folder.into(), source };
    let tokenizer = Tokenizer::from_file(&folder.join("tokenizer.json"), model.special.clone())
        .map_err(tokenizer_error)?;
    tokenizer.check_vocabulary(model.config.vocab_size).map_err(tokenizer_error)?;
    let chat_template = ChatTemplate::new(model.chat_template.as_deref(), &tokenizer)
        .map_err(|source| ModelError::Template { path: folder.into(), source })?;
    let tensors = tensors?;
    let base = BaseModel {
        config: model.config.clone(),
        tensors: tensors.full,
        quantised: tensors.quantised,
        digest: model::held_digest(digest?, tensors.requantised),
        name: model::name_of(folder),
    };
    Ok(LoadedModel { base, tokenizer, chat_template })
}

impl HfModel {
    /// Reads the configuration and the headers of the weight files.
    pub(crate) fn open(folder: &Path) -> Result<Self, ModelError> {
        let Read { config, special, chat_template, architecture } = config::read(folder)?;
        let mut tensors = files::read_headers(folder)?;
        let four_bits = bitsandbytes::take(folder, &mut tensors)?;
        if let Some((name, _)) = tensors.iter().find(|(_, tensor)| !tensor.is_real()) {
            return Err(ModelError::unsupported(folder, format!("tensor {name} of type U8")));
        }
        let four_bits =
            four_bits.into_iter().map(|(name, tensor)| (name, Weight::FourBits(Box::new(tensor))));
        let plain = tensors.into_iter().map(|(name, tensor)| (name, Weight::Plain(tensor)));
        let mut weights: BTreeMap<String, Weight> = plain.chain(four_bits).collect();
        weights.retain(|name, _| {
            let repeats_embedding = config.tie_word_embeddings && name == "lm_head.weight";
            !repeats_embedding && !name.ends_with("rotary_emb.inv_freq")
        });
        let shapes = weights.iter().map(|(name, tensor)| (name.clone(), tensor.shape())).collect();
        model::check_tensors(folder, &config, &shapes)?;
        Ok(Self { folder: folder.into(), config, weights, chat_template, special, architecture })
    }

    /// `general.architecture` of GGUF files of such models.
    pub(crate) fn gguf_architecture(&self) -> &'static str {
        self.architecture.gguf_name()
    }

    fn tensors(&self, precision: Precision) -> Result<Tensors, ModelError> {
        let stored: Vec<_> = self.weights.iter().collect();
        Tensors::gather(&stored, precision, |(name, tensor)| {
            let mut tensor = match tensor {
                Weight::Plain(tensor) => tensor.read()?,
                Weight::FourBits(tensor) => return Ok(((*name).clone(), Stored::Quantised(tensor.read()?))),
            };
            if self.architecture.stores_norms_less_one() && name.ends_with("norm.weight") {
                tensor.values.iter_mut().for_each(|weight| *weight += 1.0);
            }
            Ok(((*name).clone(), Stored::Full(tensor)))
        })
    }

    fn digest(&self) -> Result<String, ModelError> {
        let mut paths: Vec<PathBuf> =
            SIDE_FILES.iter().map(|name| self.folder.join(name)).filter(|path| path.exists()).collect();
        for file in self.weights.values().map(Weight::file) {
            if !paths.iter().any(|path| path == file) {
                paths.push(file.to_owned());
            }
        }
        Ok(model::digest_files(&paths)?.as_str().to_owned())
    }
}

#[cfg(test)]
mod tests;
