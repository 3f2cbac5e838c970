//! How the tensors of a file are held in memory: in f32, in the file's own blocks, or in four bits of ours.

use std::{collections::BTreeMap, fmt, str::FromStr};

use clara_lifecycle::{digest::Digest, spec::Method};
use rayon::prelude::*;

use super::HostTensor;
use crate::{engine::TargetModule, nf4::Nf4Tensor, ops::ggml::BlockMatrix};

/// How the weights of a base model are held in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Precision {
    /// In f32.
    #[default]
    Full,
    /// What the file holds quantised stays so, with the same values; the rest is in f32.
    Stored,
    /// As [`Self::Stored`], and linear layers of the blocks that the file does not quantise are held in four bits, see
    /// [`crate::nf4`].
    Nf4,
}

impl Precision {
    /// How a base model is held where an adapter of this method answers. The weights are those it was trained on.
    pub fn to_answer(method: Method) -> Self {
        match method {
            Method::Lora | Method::Dora => Self::Stored,
            Method::Qlora => Self::Nf4,
        }
    }

    /// Whether both hold the same weights, however they take them apart.
    pub fn has_weights_of(self, other: Self) -> bool {
        (self == Self::Nf4) == (other == Self::Nf4)
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Full => "full",
            Self::Stored => "stored",
            Self::Nf4 => "nf4",
        })
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "full" => Ok(Self::Full),
            "stored" => Ok(Self::Stored),
            "nf4" => Ok(Self::Nf4),
            _ => Err(format!("`{text}` is no precision; expected full, stored or nf4")),
        }
    }
}

impl From<Method> for Precision {
    fn from(method: Method) -> Self {
        match method {
            Method::Lora | Method::Dora => Self::Full,
            Method::Qlora => Self::Nf4,
        }
    }
}

/// A matrix in fewer bits.
#[derive(Debug, Clone, PartialEq)]
pub enum Quantised {
    /// In four bits.
    Nf4(Nf4Tensor),
    /// In the blocks of a GGUF file.
    Blocks(BlockMatrix),
}

impl Quantised {
    /// Rows and columns.
    pub fn shape(&self) -> [usize; 2] {
        match self {
            Self::Nf4(tensor) => tensor.shape(),
            Self::Blocks(matrix) => matrix.shape(),
        }
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Nf4(tensor) => tensor.bytes(),
            Self::Blocks(matrix) => matrix.bytes(),
        }
    }

    /// The values in f32.
    pub(crate) fn widen(&self) -> HostTensor {
        let shape = self.shape().to_vec();
        let mut values = vec![0.0; shape.iter().product()];
        match self {
            Self::Nf4(tensor) => tensor.dequantise(&mut values),
            Self::Blocks(matrix) => matrix.read_rows(0, &mut values),
        }
        HostTensor { shape, values }
    }
}

/// A tensor as a file holds it.
#[derive(Debug)]
pub(crate) enum Stored {
    Full(HostTensor),
    Quantised(Quantised),
}

/// Weights on their way into a [`super::BaseModel`].
#[derive(Debug, Default)]
pub(crate) struct Tensors {
    pub(crate) full: BTreeMap<String, HostTensor>,
    pub(crate) quantised: BTreeMap<String, Quantised>,
    /// Whether weights were quantised here, and so differ from those of the file.
    pub(crate) requantised: bool,
}

impl Tensors {
    /// Reads all of `names`, several at a time, and holds each as `precision` says before the next one is read.
    pub(crate) fn gather<N: Sync, E: Send>(
        names: &[N],
        precision: Precision,
        read: impl Fn(&N) -> Result<(String, Stored), E> + Sync,
    ) -> Result<Self, E> {
        let held = |name: &N| read(name).map(|(name, tensor)| hold(name, tensor, precision));
        let all: Vec<(String, Stored, bool)> = names.par_iter().map(held).collect::<Result<_, E>>()?;
        let mut tensors = Self::default();
        for (name, tensor, requantised) in all {
            tensors.requantised |= requantised;
            match tensor {
                Stored::Full(tensor) => drop(tensors.full.insert(name, tensor)),
                Stored::Quantised(quantised) => drop(tensors.quantised.insert(name, quantised)),
            }
        }
        Ok(tensors)
    }
}

/// The tensor as `precision` says, and whether its values have changed.
fn hold(name: String, tensor: Stored, precision: Precision) -> (String, Stored, bool) {
    match (tensor, precision) {
        (Stored::Quantised(quantised), Precision::Full) => (name, Stored::Full(quantised.widen()), false),
        // Embeddings and heads are read by rows, which four bits are not.
        (Stored::Quantised(quantised @ Quantised::Nf4(_)), _) if !is_linear(&name) => {
            (name, Stored::Full(quantised.widen()), false)
        }
        (Stored::Full(tensor), Precision::Nf4) => match tensor.shape.as_slice() {
            [rows, columns] if is_linear(&name) && tensor.values.iter().all(|value| value.is_finite()) => {
                let quantised = Nf4Tensor::quantise(&tensor.values, *rows, *columns);
                (name, Stored::Quantised(Quantised::Nf4(quantised)), true)
            }
            _ => (name, Stored::Full(tensor), false),
        },
        (tensor, Precision::Full | Precision::Stored | Precision::Nf4) => (name, tensor, false),
    }
}

/// Whether a tensor is the weight of a linear layer in a block.
pub(crate) fn is_linear(name: &str) -> bool {
    let path = name.strip_suffix(".weight").unwrap_or_default();
    TargetModule::ALL.iter().any(|module| path.ends_with(module.path()))
}

/// Whether a tensor may stay in the file's blocks: a linear layer's weight, the embedding or the head.
pub(crate) fn may_stay_quantised(name: &str) -> bool {
    is_linear(name) || matches!(name, "model.embed_tokens.weight" | "lm_head.weight")
}

/// The digest of a model whose files have the digest `files`; the same for all ways to hold the same values.
pub(crate) fn held_digest(files: String, requantised: bool) -> String {
    if !requantised {
        return files;
    }
    let parts = [("files", files.as_bytes()), ("linear layers", b"nf4, blocks of 64 and 256".as_slice())];
    Digest::of_parts(parts).as_str().to_owned()
}
