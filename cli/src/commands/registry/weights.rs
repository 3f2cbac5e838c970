//! How large the update of every layer is: the Frobenius norm of `s·B·A`, computed without making `B·A`.
//!
//! `‖B·A‖² = Σ (BᵀB) ∘ (A·Aᵀ)`, and `⟨B₁A₁, B₂A₂⟩ = Σ (B₁ᵀB₂) ∘ (A₁A₂ᵀ)`: matrices of the size of the rank, not of the
//! layer. DoRA's magnitudes are no part of the norm.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result, bail, ensure};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};

/// The factors of one module: `a [rank, in]`, `b [out, rank]`, row-major.
#[derive(Debug, Clone, PartialEq)]
struct Factors {
    a: Vec<f64>,
    b: Vec<f64>,
    rank: usize,
    inner: usize,
    outer: usize,
}

/// The factors of an adapter by module, and the scale of its update.
#[derive(Debug, Clone)]
pub(super) struct Update {
    modules: BTreeMap<String, Factors>,
    scale: f64,
}

/// The update of one module in two versions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct LayerNorms {
    /// The module, as PEFT names it.
    pub(super) module: String,
    /// `‖s·B·A‖` of the older version.
    pub(super) old: Option<f64>,
    /// The same of the newer version.
    pub(super) new: Option<f64>,
    /// Norm of the difference of both updates.
    pub(super) difference: Option<f64>,
    /// Cosine of the angle between both updates.
    pub(super) cosine: Option<f64>,
}

#[derive(Deserialize)]
struct AdapterConfig {
    r: f64,
    lora_alpha: f64,
    #[serde(default)]
    use_rslora: bool,
}

impl Update {
    /// Reads a PEFT folder.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let file = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        Self::of(&file("adapter_config.json")?, &file("adapter_model.safetensors")?)
            .with_context(|| format!("cannot read the adapter in {}", folder.display()))
    }

    fn of(config: &[u8], tensors: &[u8]) -> Result<Self> {
        let config: AdapterConfig = serde_json::from_slice(config).context("adapter_config.json")?;
        ensure!(config.r >= 1.0, "adapter_config.json has r = {}, expected at least 1", config.r);
        let root = if config.use_rslora { config.r.sqrt() } else { config.r };
        let tensors = SafeTensors::deserialize(tensors).context("adapter_model.safetensors")?;
        let mut modules = BTreeMap::new();
        for name in tensors.names() {
            let Some(module) = name.strip_suffix(".lora_A.weight") else { continue };
            let b_name = format!("{module}.lora_B.weight");
            let a = tensors.tensor(name)?;
            let b = tensors.tensor(&b_name).with_context(|| format!("{name} has no {b_name}"))?;
            let ([rank, inner], [outer, b_rank]) = (shape(name, &a)?, shape(&b_name, &b)?);
            ensure!(rank == b_rank, "{module} has rank {rank} in A and {b_rank} in B");
            let factors = Factors { a: values(name, &a)?, b: values(&b_name, &b)?, rank, inner, outer };
            modules.insert(module.to_owned(), factors);
        }
        ensure!(!modules.is_empty(), "adapter_model.safetensors has no tensor that ends in .lora_A.weight");
        Ok(Self { modules, scale: config.lora_alpha / root })
    }
}

/// Norms of all modules that either version has, in order of their names.
pub(super) fn compare(old: &Update, new: &Update) -> Vec<LayerNorms> {
    let names: std::collections::BTreeSet<&String> = old.modules.keys().chain(new.modules.keys()).collect();
    names.into_iter().map(|name| layer(name, old, new)).collect()
}

fn layer(name: &str, old: &Update, new: &Update) -> LayerNorms {
    let (before, after) = (old.modules.get(name), new.modules.get(name));
    let squared = |factors: Option<&Factors>, scale: f64| {
        factors.and_then(|factors| Some(product(factors, factors)? * scale * scale))
    };
    let (old_squared, new_squared) = (squared(before, old.scale), squared(after, new.scale));
    let inner = before.zip(after).and_then(|(before, after)| product(before, after));
    let inner = inner.map(|inner| inner * old.scale * new.scale);
    let root = |squared: f64| squared.max(0.0).sqrt();
    let both = old_squared.zip(new_squared).zip(inner);
    LayerNorms {
        module: name.to_owned(),
        old: old_squared.map(root),
        new: new_squared.map(root),
        difference: both.map(|((old, new), inner)| root(2.0f64.mul_add(-inner, old + new))),
        cosine: both
            .filter(|((old, new), _)| *old > 0.0 && *new > 0.0)
            .map(|((old, new), inner)| (inner / (root(old) * root(new))).clamp(-1.0, 1.0)),
    }
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

fn shape(name: &str, tensor: &TensorView<'_>) -> Result<[usize; 2]> {
    match tensor.shape() {
        &[rows, columns] if rows > 0 && columns > 0 => Ok([rows, columns]),
        other => bail!("{name} has shape {other:?}, expected two dimensions"),
    }
}

fn values(name: &str, tensor: &TensorView<'_>) -> Result<Vec<f64>> {
    let data = tensor.data();
    match tensor.dtype() {
        Dtype::F32 => {
            Ok(data.as_chunks::<4>().0.iter().map(|&bytes| f64::from(f32::from_le_bytes(bytes))).collect())
        }
        Dtype::BF16 => {
            let wide = |&bytes: &[u8; 2]| {
                let bits = u32::from(u16::from_le_bytes(bytes)) << 16;
                f64::from(f32::from_bits(bits))
            };
            Ok(data.as_chunks::<2>().0.iter().map(wide).collect())
        }
        Dtype::F16 => Ok(data
            .as_chunks::<2>()
            .0
            .iter()
            .map(|&bytes| half::f16::from_le_bytes(bytes).to_f64())
            .collect()),
        other => bail!("{name} has type {other:?}; expected F32, BF16 or F16"),
    }
}

#[cfg(test)]
mod tests;
