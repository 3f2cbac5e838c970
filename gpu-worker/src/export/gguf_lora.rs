//! Adapters as GGUF files, as llama.cpp's `convert_lora_to_gguf.py` writes them.
//!
//! `general.type` is `adapter`, `adapter.type` is `lora`, and `adapter.lora.alpha` divided by the rank is the scale. Tensors
//! are `blk.0.attn_q.weight.lora_a` `[rank, in]` and `….lora_b` `[out, rank]`. Where the architecture interleaves the rows of
//! query and key weights, those of `B` are interleaved alike.

use std::{collections::BTreeMap, fs::File, io::BufReader, path::Path};

use candle_core::{
    Device,
    quantized::gguf_file::{Content, Value},
};

use super::{ExportError, WeightType};
use crate::{
    engine::{AdapterWeights, EngineError, LoraConfig, TargetModule},
    gguf::{interleave, uninterleave},
    model::{HostTensor, ModelConfig},
};

const MAGIC: &[u8; 4] = b"GGUF";
const VERSION: u32 = 3;
/// Values begin at multiples of this many bytes.
const ALIGNMENT: usize = 32;
const ALPHA: &str = "adapter.lora.alpha";

/// What decides names and order in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout<'a> {
    /// `general.architecture` of the base model.
    pub(super) architecture: &'static str,
    pub(super) base: &'a ModelConfig,
}

/// A tensor of the file: its name, shape with the outermost dimension first, and bytes.
struct Entry {
    name: String,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// A tensor in both worlds.
struct Named {
    peft: String,
    gguf: String,
    /// Heads whose rows are interleaved in the file.
    heads: Option<usize>,
}

impl Layout<'_> {
    /// The file's bytes.
    pub(super) fn encode(
        &self,
        adapter: &AdapterWeights,
        weights: WeightType,
        base_model: &str,
    ) -> Result<Vec<u8>, ExportError> {
        let mut entries = Vec::new();
        for Named { peft, gguf, heads } in self.names(&adapter.config.targets) {
            let tensor = adapter.tensors.get(&peft).ok_or_else(|| EngineError::MissingTensor {
                tensor: peft.clone(),
                source_name: "the adapter".to_owned(),
            })?;
            let interleaved = heads.map(|heads| interleave(&tensor.values, heads, adapter.config.rank));
            let (bytes, _) = weights.round(&peft, interleaved.as_ref().unwrap_or(&tensor.values))?;
            entries.push(Entry { name: gguf, shape: tensor.shape.clone(), bytes });
        }
        let file_type = match weights {
            WeightType::F32 => 0,
            WeightType::F16 => 1,
            WeightType::Bf16 => 32,
        };
        let mut header = Header::default();
        header.text("general.architecture", self.architecture);
        header.text("general.type", "adapter");
        header.text("general.base_model.0.name", base_model);
        header.number("general.base_model.count", 1);
        header.number("general.file_type", file_type);
        header.text("adapter.type", "lora");
        header.float(ALPHA, adapter.config.alpha);
        Ok(header.followed_by(&entries, weights))
    }

    /// Reads a file back.
    pub(super) fn read(&self, path: &Path, targets: &[TargetModule]) -> Result<AdapterWeights, ExportError> {
        let broken = |reason: String| ExportError::ReadBack { path: path.into(), reason };
        let candle = |error: candle_core::Error| broken(error.to_string());
        let mut file = BufReader::new(File::open(path).map_err(|error| broken(error.to_string()))?);
        let content = Content::read(&mut file).map_err(candle)?;
        let Some(Value::F32(alpha)) = content.metadata.get(ALPHA) else {
            return Err(broken(format!("{ALPHA} is missing")));
        };
        let (mut tensors, mut rank) = (BTreeMap::new(), 0);
        for Named { peft, gguf, heads } in self.names(targets) {
            let tensor = content.tensor(&mut file, &gguf, &Device::Cpu).map_err(candle)?;
            let shape = tensor.shape().dims().to_vec();
            let dense = tensor.dequantize(&Device::Cpu).and_then(|tensor| tensor.flatten_all());
            let mut values: Vec<f32> = dense.and_then(|tensor| tensor.to_vec1()).map_err(candle)?;
            // `A` [rank, in] comes before `B` [out, rank].
            rank =
                if gguf.ends_with('a') { shape.first() } else { shape.last() }.copied().unwrap_or_default();
            if let Some(heads) = heads {
                values = uninterleave(&values, heads, rank);
            }
            tensors.insert(peft, HostTensor { shape, values });
        }
        let config = LoraConfig {
            rank,
            frozen_rank: 0,
            alpha: *alpha,
            targets: targets.to_vec(),
            dora: false,
            dropout: 0.0,
        };
        Ok(AdapterWeights { config, tensors })
    }

    /// All tensors, in the order of the file.
    fn names(&self, targets: &[TargetModule]) -> Vec<Named> {
        let mut names = Vec::new();
        for layer in 0..self.base.layers {
            for module in TargetModule::ALL.into_iter().filter(|module| targets.contains(module)) {
                let weight = format!("blk.{layer}.{}.weight", gguf_name(module));
                let (a, b) = (format!("{weight}.lora_a"), format!("{weight}.lora_b"));
                names.push(Named { peft: module.lora_a_name(layer), gguf: a, heads: None });
                names.push(Named { peft: module.lora_b_name(layer), gguf: b, heads: self.heads(module) });
            }
        }
        names
    }

    /// Heads of a module whose rows are interleaved.
    fn heads(&self, module: TargetModule) -> Option<usize> {
        match module {
            _ if self.architecture != "llama" => None,
            TargetModule::Query => Some(self.base.attention_heads),
            TargetModule::Key => Some(self.base.key_value_heads),
            TargetModule::Value
            | TargetModule::Output
            | TargetModule::Gate
            | TargetModule::Up
            | TargetModule::Down => None,
        }
    }
}

fn gguf_name(module: TargetModule) -> &'static str {
    match module {
        TargetModule::Query => "attn_q",
        TargetModule::Key => "attn_k",
        TargetModule::Value => "attn_v",
        TargetModule::Output => "attn_output",
        TargetModule::Gate => "ffn_gate",
        TargetModule::Up => "ffn_up",
        TargetModule::Down => "ffn_down",
    }
}

/// The metadata of a file in the making.
#[derive(Debug, Default)]
struct Header {
    entries: u64,
    bytes: Vec<u8>,
}

impl Header {
    fn text(&mut self, key: &str, value: &str) {
        self.key(key, 8);
        write_text(&mut self.bytes, value);
    }

    fn number(&mut self, key: &str, value: u32) {
        self.key(key, 4);
        self.bytes.extend(value.to_le_bytes());
    }

    fn float(&mut self, key: &str, value: f32) {
        self.key(key, 6);
        self.bytes.extend(value.to_le_bytes());
    }

    fn key(&mut self, key: &str, value_type: u32) {
        self.entries += 1;
        write_text(&mut self.bytes, key);
        self.bytes.extend(value_type.to_le_bytes());
    }

    /// The whole file.
    fn followed_by(self, entries: &[Entry], weights: WeightType) -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        file.extend(VERSION.to_le_bytes());
        file.extend((entries.len() as u64).to_le_bytes());
        file.extend(self.entries.to_le_bytes());
        file.extend(self.bytes);
        let value_type: u32 = match weights {
            WeightType::F32 => 0,
            WeightType::F16 => 1,
            WeightType::Bf16 => 30,
        };
        let mut offset = 0_usize;
        for Entry { name, shape, bytes } in entries {
            write_text(&mut file, name);
            #[expect(clippy::cast_possible_truncation, reason = "two dimensions")]
            file.extend((shape.len() as u32).to_le_bytes());
            file.extend(shape.iter().rev().flat_map(|size| (*size as u64).to_le_bytes()));
            file.extend(value_type.to_le_bytes());
            file.extend((offset as u64).to_le_bytes());
            offset += bytes.len().next_multiple_of(ALIGNMENT);
        }
        for Entry { bytes, .. } in entries {
            file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
            file.extend(bytes);
        }
        file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
        file
    }
}

fn write_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}
