//! How large the update of every layer is: the Frobenius norm of `s·B·A`, computed without making `B·A`.
//!
//! `‖B·A‖² = Σ (BᵀB) ∘ (A·Aᵀ)`, and `⟨B₁A₁, B₂A₂⟩ = Σ (B₁ᵀB₂) ∘ (A₁A₂ᵀ)`: matrices of the size of the rank, not of the
//! layer. DoRA's magnitudes are no part of the norm. One module at a time is widened, so that two large adapters fit.

use std::collections::BTreeSet;

use safetensors::{Dtype, SafeTensorError, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};

/// The update of one module in two versions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerNorms {
    /// The module, as PEFT names it.
    pub module: String,
    /// `‖s·B·A‖` of the older version.
    pub old: Option<f64>,
    /// The same of the newer version.
    pub new: Option<f64>,
    /// Norm of the difference of both updates.
    pub difference: Option<f64>,
    /// Cosine of the angle between both updates.
    pub cosine: Option<f64>,
}

/// The two files of a PEFT folder.
#[derive(Debug, Clone)]
pub struct AdapterFiles {
    /// `adapter_config.json`.
    pub config: Vec<u8>,
    /// `adapter_model.safetensors`.
    pub tensors: Vec<u8>,
}

/// Adapters whose updates cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// The configuration is no JSON with rank and alpha.
    #[error("adapter_config.json cannot be read: {0}")]
    Config(#[from] serde_json::Error),
    /// The rank is not positive.
    #[error("adapter_config.json has r = {0}, expected at least 1")]
    Rank(f64),
    /// The tensors cannot be read.
    #[error("adapter_model.safetensors cannot be read: {0}")]
    Tensors(#[from] SafeTensorError),
    /// No module is changed.
    #[error("adapter_model.safetensors has no tensor that ends in .lora_A.weight")]
    Empty,
    /// A factor is no matrix.
    #[error("{name} has shape {found:?}, expected two dimensions")]
    Shape {
        /// The tensor.
        name: String,
        /// Its shape.
        found: Vec<usize>,
    },
    /// The factors of a module do not fit each other.
    #[error("{module} has rank {a} in A and {b} in B")]
    Ranks {
        /// The module.
        module: String,
        /// Rank of `A`.
        a: usize,
        /// Rank of `B`.
        b: usize,
    },
    /// A factor has a type that is not read.
    #[error("{name} has type {found:?}, expected F32, BF16 or F16")]
    Type {
        /// The tensor.
        name: String,
        /// Its type.
        found: Dtype,
    },
}

/// Norms of all modules that either version has, in order of their names.
///
/// # Errors
/// [`UpdateError`] when the files of one of them are not those of an adapter.
pub fn norms(old: &AdapterFiles, new: &AdapterFiles) -> Result<Vec<LayerNorms>, UpdateError> {
    let (old, new) = (Update::of(old)?, Update::of(new)?);
    let modules: BTreeSet<&str> = old.modules().chain(new.modules()).collect();
    modules.into_iter().map(|module| layer(module, &old, &new)).collect()
}

const A: &str = ".lora_A.weight";
const B: &str = ".lora_B.weight";

#[derive(Deserialize)]
struct AdapterConfig {
    r: f64,
    lora_alpha: f64,
    #[serde(default)]
    use_rslora: bool,
}

/// An adapter's tensors and the scale of its update.
struct Update<'a> {
    tensors: SafeTensors<'a>,
    scale: f64,
}

/// The factors of one module: `a [rank, inner]`, `b [outer, rank]`, row-major.
struct Factors {
    a: Vec<f64>,
    b: Vec<f64>,
    rank: usize,
    inner: usize,
    outer: usize,
}

impl<'a> Update<'a> {
    fn of(files: &'a AdapterFiles) -> Result<Self, UpdateError> {
        let config: AdapterConfig = serde_json::from_slice(&files.config)?;
        if config.r < 1.0 {
            return Err(UpdateError::Rank(config.r));
        }
        let root = if config.use_rslora { config.r.sqrt() } else { config.r };
        let tensors = SafeTensors::deserialize(&files.tensors)?;
        let update = Self { tensors, scale: config.lora_alpha / root };
        if update.modules().next().is_none() {
            return Err(UpdateError::Empty);
        }
        Ok(update)
    }

    fn modules(&self) -> impl Iterator<Item = &str> {
        self.tensors.names().into_iter().filter_map(|name| name.strip_suffix(A))
    }

    /// `None` for a module that the adapter does not change.
    fn factors(&self, module: &str) -> Result<Option<Factors>, UpdateError> {
        if !self.modules().any(|known| known == module) {
            return Ok(None);
        }
        let (a_name, b_name) = (format!("{module}{A}"), format!("{module}{B}"));
        let (a, b) = (self.tensors.tensor(&a_name)?, self.tensors.tensor(&b_name)?);
        let ([rank, inner], [outer, b_rank]) = (shape(&a_name, &a)?, shape(&b_name, &b)?);
        if rank != b_rank {
            return Err(UpdateError::Ranks { module: module.to_owned(), a: rank, b: b_rank });
        }
        Ok(Some(Factors { a: values(&a_name, &a)?, b: values(&b_name, &b)?, rank, inner, outer }))
    }
}

fn layer(module: &str, old: &Update<'_>, new: &Update<'_>) -> Result<LayerNorms, UpdateError> {
    let (before, after) = (old.factors(module)?, new.factors(module)?);
    let squared = |factors: Option<&Factors>, scale: f64| {
        factors.and_then(|factors| Some(product(factors, factors)? * scale * scale))
    };
    let old_squared = squared(before.as_ref(), old.scale);
    let new_squared = squared(after.as_ref(), new.scale);
    let inner = before.as_ref().zip(after.as_ref()).and_then(|(before, after)| product(before, after));
    let inner = inner.map(|inner| inner * old.scale * new.scale);
    let root = |squared: f64| squared.max(0.0).sqrt();
    let both = old_squared.zip(new_squared).zip(inner);
    Ok(LayerNorms {
        module: module.to_owned(),
        old: old_squared.map(root),
        new: new_squared.map(root),
        difference: both.map(|((old, new), inner)| root(2.0f64.mul_add(-inner, old + new))),
        cosine: both
            .filter(|((old, new), _)| *old > 0.0 && *new > 0.0)
            .map(|((old, new), inner)| (inner / (root(old) * root(new))).clamp(-1.0, 1.0)),
    })
}

/// `⟨B₁A₁, B₂A₂⟩`; `None` when the layers have other sizes.
fn product(one: &Factors, other: &Factors) -> Option<f64> {
    if (one.inner, one.outer) != (other.inner, other.outer) {
        return None;
    }
    let mut sum = 0.0;
    for i in 0..one.rank {
        for j in 0..other.rank {
            let rows = one.a.chunks_exact(one.inner).nth(i).zip(other.a.chunks_exact(other.inner).nth(j));
            let (row, other_row) = rows?;
            let of_a: f64 = row.iter().zip(other_row).map(|(x, y)| x * y).sum();
            let column = one.b.iter().skip(i).step_by(one.rank);
            let other_column = other.b.iter().skip(j).step_by(other.rank);
            let of_b: f64 = column.zip(other_column).map(|(x, y)| x * y).sum();
            sum += of_a * of_b;
        }
    }
    Some(sum)
}

fn shape(name: &str, tensor: &TensorView<'_>) -> Result<[usize; 2], UpdateError> {
    match tensor.shape() {
        &[rows, columns] if rows > 0 && columns > 0 => Ok([rows, columns]),
        other => Err(UpdateError::Shape { name: name.to_owned(), found: other.to_vec() }),
    }
}

fn values(name: &str, tensor: &TensorView<'_>) -> Result<Vec<f64>, UpdateError> {
    let data = tensor.data();
    match tensor.dtype() {
        Dtype::F32 => {
            Ok(data.as_chunks::<4>().0.iter().map(|&bytes| f64::from(f32::from_le_bytes(bytes))).collect())
        }
        Dtype::BF16 => Ok(data
            .as_chunks::<2>()
            .0
            .iter()
            .map(|&bytes| half::bf16::from_le_bytes(bytes).to_f64())
            .collect()),
        Dtype::F16 => Ok(data
            .as_chunks::<2>()
            .0
            .iter()
            .map(|&bytes| half::f16::from_le_bytes(bytes).to_f64())
            .collect()),
        found => Err(UpdateError::Type { name: name.to_owned(), found }),
    }
}

#[cfg(test)]
mod tests;
