//! The frozen weights of a Llama model, found by name and checked against the configuration.

use super::buffers::Buffer;
use crate::{
    engine::{EngineError, TargetModule},
    model::{BaseModel, ModelConfig, Quantised},
    nf4::Nf4Tensor,
    ops::{OpError, attention::Heads, embedding::embed, ggml::BlockMatrix, matmul::Matrix},
};

/// Layers of a block that read the same input, in the order of a forward pass.
pub(in crate::engine) const GROUPS: [&[TargetModule]; 4] = [
    &[TargetModule::Query, TargetModule::Key, TargetModule::Value],
    &[TargetModule::Output],
    &[TargetModule::Gate, TargetModule::Up],
    &[TargetModule::Down],
];

/// The weight `[out, in]` of a linear layer, as it is held.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) enum Frozen<'a> {
    Full(Matrix<'a>),
    Nf4(&'a Nf4Tensor),
    Blocks(&'a BlockMatrix),
}

impl<'a> Frozen<'a> {
    /// Rows and columns.
    pub(in crate::engine) fn shape(self) -> [usize; 2] {
        match self {
            Self::Full(matrix) => [matrix.rows(), matrix.columns()],
            Self::Nf4(tensor) => tensor.shape(),
            Self::Blocks(blocks) => blocks.shape(),
        }
    }

    /// Values that [`full`] writes.
    fn written(self) -> usize {
        match self {
            Self::Full(_) => 0,
            Self::Nf4(tensor) => tensor.len(),
            Self::Blocks(blocks) => blocks.len(),
        }
    }

    fn find(base: &'a BaseModel, name: &str, [rows, columns]: [usize; 2]) -> Result<Self, EngineError> {
        let quantised = base.quantised.get(name).filter(|tensor| tensor.shape() == [rows, columns]);
        Ok(match quantised {
            Some(Quantised::Nf4(tensor)) => Self::Nf4(tensor),
            Some(Quantised::Blocks(blocks)) => Self::Blocks(blocks),
            None => Self::Full(Matrix::new(values(base, name, &[rows, columns])?, rows, columns)?),
        })
    }
}

/// A row for each token, `[vocab, hidden]`.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) enum Table<'a> {
    Full(&'a [f32]),
    Blocks(&'a BlockMatrix),
}

impl<'a> Table<'a> {
    fn find(base: &'a BaseModel, name: &str) -> Result<Self, EngineError> {
        let shape = [base.config.vocab_size, base.config.hidden_size];
        match base.quantised.get(name) {
            Some(Quantised::Blocks(blocks)) if blocks.shape() == shape => Ok(Self::Blocks(blocks)),
            Some(Quantised::Blocks(_) | Quantised::Nf4(_)) | None => {
                Ok(Self::Full(values(base, name, &shape)?))
            }
        }
    }

    /// As the weight of a linear layer.
    pub(in crate::engine) fn weight(self, config: &ModelConfig) -> Result<Frozen<'a>, OpError> {
        Ok(match self {
            Self::Full(values) => Frozen::Full(Matrix::new(values, config.vocab_size, config.hidden_size)?),
            Self::Blocks(blocks) => Frozen::Blocks(blocks),
        })
    }

    /// Writes the rows of `tokens` to `out [tokens, width]`.
    pub(in crate::engine) fn embed(
        self,
        width: usize,
        tokens: &[u32],
        out: &mut [f32],
    ) -> Result<(), OpError> {
        let blocks = match self {
            Self::Full(values) => return embed(values, width, tokens, out),
            Self::Blocks(blocks) => blocks,
        };
        let [limit, _] = blocks.shape();
        for (token, row) in tokens.iter().zip(out.chunks_exact_mut(width.max(1))) {
            let got = *token as usize;
            if got >= limit {
                return Err(OpError::Index { operation: "embedding", operand: "token", got, limit });
            }
            blocks.read_rows(got, row);
        }
        Ok(())
    }
}

/// The weights of some layers in f32; those that are held otherwise are written into `buffer`.
pub(in crate::engine) fn full<'a>(
    layers: &[Frozen<'a>],
    buffer: &'a mut Buffer,
) -> Result<Vec<Matrix<'a>>, OpError> {
    let mut rest = buffer.write(layers.iter().map(|layer| layer.written()).sum());
    let mut weights = Vec::with_capacity(layers.len());
    for layer in layers {
        let (values, after) = rest.split_at_mut(layer.written());
        rest = after;
        let [rows, columns] = layer.shape();
        weights.push(match layer {
            Frozen::Full(matrix) => *matrix,
            Frozen::Nf4(tensor) => {
                tensor.dequantise(values);
                Matrix::new(values, rows, columns)?
            }
            Frozen::Blocks(blocks) => {
                blocks.read_rows(0, values);
                Matrix::new(values, rows, columns)?
            }
        });
    }
    Ok(weights)
}

/// The weights of some layers for products with rounded inputs, if all of them allow it.
pub(in crate::engine) fn blocks<'a>(layers: &[Frozen<'a>]) -> Option<Vec<&'a BlockMatrix>> {
    let blocks = |layer: &Frozen<'a>| match layer {
        Frozen::Blocks(blocks) => Some(*blocks),
        Frozen::Full(_) | Frozen::Nf4(_) => None,
    };
    layers.iter().map(blocks).collect()
}

/// Views of one decoder block.
#[derive(Debug)]
pub(in crate::engine) struct BlockWeights<'a> {
    /// Weight of the normalisation before attention.
    pub(in crate::engine) attention_norm: &'a [f32],
    /// Weight of the normalisation before the gated layers.
    pub(in crate::engine) gated_norm: &'a [f32],
    /// Biases of query, key and value.
    pub(in crate::engine) biases: Option<[&'a [f32]; 3]>,
    /// Weights of the normalisation of each head of queries and of keys.
    pub(in crate::engine) head_norms: Option<[&'a [f32]; 2]>,
    /// Weights of the normalisation of what attention and the gated layers give.
    pub(in crate::engine) output_norms: Option<[&'a [f32]; 2]>,
    /// `[out, in]` of each module, in the order of [`GROUPS`].
    pub(in crate::engine) groups: [Vec<Frozen<'a>>; 4],
}

/// Views of a whole model. Borrowed anew for each pass: finding the names costs a tenth of a millisecond.
#[derive(Debug)]
pub(in crate::engine) struct Weights<'a> {
    /// `[vocab, hidden]`
    pub(in crate::engine) embedding: Table<'a>,
    /// One entry per layer.
    pub(in crate::engine) blocks: Vec<BlockWeights<'a>>,
    /// Weight of the last normalisation.
    pub(in crate::engine) norm: &'a [f32],
    /// Output head `[vocab, hidden]`.
    pub(in crate::engine) head: Frozen<'a>,
}

impl<'a> Weights<'a> {
    /// Finds every weight.
    pub(in crate::engine) fn resolve(base: &'a BaseModel) -> Result<Self, EngineError> {
        let config = &base.config;
        check_config(base)?;
        let embedding = Table::find(base, "model.embed_tokens.weight")?;
        let mut blocks = Vec::with_capacity(config.layers);
        for layer in 0..config.layers {
            let norm =
                |name| values(base, &format!("model.layers.{layer}.{name}.weight"), &[config.hidden_size]);
            let part =
                |name: &str, width| values(base, &format!("model.layers.{layer}.self_attn.{name}"), &[width]);
            let (heads, variant) = (heads(config, layer), &config.variant);
            let (queries, keys) = (heads.query_width(), heads.key_value_width());
            let (gated_norm, output_norms) = if variant.output_norms {
                let outputs = [norm("post_attention_layernorm")?, norm("post_feedforward_layernorm")?];
                (norm("pre_feedforward_layernorm")?, Some(outputs))
            } else {
                (norm("post_attention_layernorm")?, None)
            };
            let biases = if variant.query_key_value_bias {
                Some([part("q_proj.bias", queries)?, part("k_proj.bias", keys)?, part("v_proj.bias", keys)?])
            } else {
                None
            };
            let head_norms = if variant.query_key_norm {
                Some([part("q_norm.weight", heads.dim)?, part("k_norm.weight", heads.dim)?])
            } else {
                None
            };
            blocks.push(BlockWeights {
                attention_norm: norm("input_layernorm")?,
                gated_norm,
                biases,
                head_norms,
                output_norms,
                groups: groups(base, layer)?,
            });
        }
        let head = if config.tie_word_embeddings { embedding } else { Table::find(base, "lm_head.weight")? };
        let norm = values(base, "model.norm.weight", &[config.hidden_size])?;
        Ok(Self { embedding, blocks, norm, head: head.weight(config)? })
    }

    /// The frozen weight `[out, in]` of a module.
    pub(in crate::engine) fn module(
        &self,
        layer: usize,
        module: TargetModule,
    ) -> Result<Frozen<'a>, EngineError> {
        let block = self.blocks.get(layer);
        let groups = block.into_iter().flat_map(|block| GROUPS.iter().zip(&block.groups));
        let mut modules = groups.flat_map(|(names, weights)| names.iter().zip(weights));
        let found = modules.find(|(name, _)| **name == module).map(|(_, weight)| *weight);
        found.ok_or_else(|| EngineError::MissingTensor {
            tensor: module.weight_name(layer),
            source_name: "the base model".to_owned(),
        })
    }
}

/// Layout of the heads of a layer, and what they see.
pub(in crate::engine) fn heads(config: &ModelConfig, layer: usize) -> Heads {
    Heads {
        query: config.attention_heads,
        key_value: config.key_value_heads,
        dim: config.head_dim,
        scale: config.variant.score_scale,
        window: config.variant.window.filter(|_| config.is_windowed(layer)),
    }
}

/// Input and output width of a module.
pub fn features(config: &ModelConfig, module: TargetModule) -> (usize, usize) {
    let heads = heads(config, 0);
    match module {
        TargetModule::Query => (config.hidden_size, heads.query_width()),
        TargetModule::Key | TargetModule::Value => (config.hidden_size, heads.key_value_width()),
        TargetModule::Output => (heads.query_width(), config.hidden_size),
        TargetModule::Gate | TargetModule::Up => (config.hidden_size, config.intermediate_size),
        TargetModule::Down => (config.intermediate_size, config.hidden_size),
    }
}

fn groups(base: &BaseModel, layer: usize) -> Result<[Vec<Frozen<'_>>; 4], EngineError> {
    let mut groups = [const { Vec::new() }; 4];
    for (group, modules) in groups.iter_mut().zip(GROUPS) {
        for module in modules {
            let (columns, rows) = features(&base.config, *module);
            let name = module.weight_name(layer);
            group.push(Frozen::find(base, &name, [rows, columns])?);
        }
    }
    Ok(groups)
}

fn values<'a>(base: &'a BaseModel, name: &str, shape: &[usize]) -> Result<&'a [f32], EngineError> {
    let tensor = base.tensors.get(name).ok_or_else(|| EngineError::MissingTensor {
        tensor: name.to_owned(),
        source_name: base.name.clone(),
    })?;
    if tensor.shape != shape || tensor.values.len() != shape.iter().product::<usize>() {
        return Err(EngineError::TensorShape {
            tensor: name.to_owned(),
            got: tensor.shape.clone(),
            values: tensor.values.len(),
            expected: shape.to_vec(),
        });
    }
    Ok(&tensor.values)
}

fn check_config(base: &BaseModel) -> Result<(), EngineError> {
    let config = &base.config;
    let refuse = |reason: String| Err(EngineError::Config { model: base.name.clone(), reason });
    for (name, value) in [
        ("hidden_size", config.hidden_size),
        ("intermediate_size", config.intermediate_size),
        ("num_hidden_layers", config.layers),
        ("num_attention_heads", config.attention_heads),
        ("num_key_value_heads", config.key_value_heads),
        ("head_dim", config.head_dim),
        ("vocab_size", config.vocab_size),
        ("max_position_embeddings", config.max_positions),
    ] {
        if value == 0 {
            return refuse(format!("{name} is 0"));
        }
    }
    if !config.attention_heads.is_multiple_of(config.key_value_heads) {
        let (query, key_value) = (config.attention_heads, config.key_value_heads);
        return refuse(format!("{query} attention heads cannot share {key_value} key-value heads evenly"));
    }
    if !config.head_dim.is_multiple_of(2) {
        return refuse(format!("head_dim {} is odd, rotary embedding needs pairs", config.head_dim));
    }
    Ok(())
}
