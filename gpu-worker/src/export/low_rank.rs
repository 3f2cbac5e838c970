//! The closest `LoRA` adapter of a rank: a truncated singular value decomposition of what an adapter changes.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::{ExportError, report::LayerError, update::Update};
use crate::{
    engine::{AdapterWeights, LoraConfig, TargetModule},
    model::{BaseModel, HostTensor},
    ops::{
        OpError,
        low_rank::{factorise, product},
        matmul::Matrix,
    },
};

/// Passes over the matrix that turn the directions towards the strongest.
const PASSES: usize = 4;

/// A plain adapter and how close it is.
#[derive(Debug)]
pub(super) struct Plain {
    pub(super) adapter: AdapterWeights,
    pub(super) layers: Vec<LayerError>,
    /// ‖plain − given‖ / ‖given‖ over all layers.
    pub(super) error: f64,
}

/// One layer's factors.
struct Factors {
    layer: usize,
    module: TargetModule,
    /// `[rank, in]`
    a: Vec<f32>,
    /// `[out, rank]`
    b: Vec<f32>,
    /// ‖given‖² and ‖plain − given‖²
    squares: (f64, f64),
}

/// The plain adapter of a rank; a `LoRA` of that rank stays as it is.
pub(super) fn plain(base: &BaseModel, adapter: &AdapterWeights, rank: usize) -> Result<Plain, ExportError> {
    let mut places = Vec::new();
    for layer in 0..base.config.layers {
        places.extend(adapter.config.targets.iter().map(|module| (layer, *module)));
    }
    if !adapter.config.dora && adapter.config.rank == rank {
        let layers = places.iter().map(|(layer, module)| layer_error(*layer, *module, (0.0, 0.0))).collect();
        return Ok(Plain { adapter: adapter.clone(), layers, error: 0.0 });
    }
    let factors = places.par_iter().map(|(layer, module)| {
        let update = Update::new(base, adapter, *layer, *module)?;
        let (rows, columns) = (update.rows, update.columns);
        let difference = update.difference();
        drop(update);
        let (a, b) = factorise(Matrix::new(&difference, rows, columns)?, rank, PASSES)?;
        let squares = squares(&difference, (&b, rows), (&a, columns), rank)?;
        Ok(Factors { layer: *layer, module: *module, a, b, squares })
    });
    let factors: Vec<Factors> = factors.collect::<Result<_, ExportError>>()?;
    let (mut tensors, mut layers, mut sums) = (BTreeMap::new(), Vec::new(), (0.0, 0.0));
    for Factors { layer, module, a, b, squares } in factors {
        layers.push(layer_error(layer, module, squares));
        sums = (sums.0 + squares.0, sums.1 + squares.1);
        let (columns, rows) = (a.len() / rank, b.len() / rank);
        tensors.insert(module.lora_a_name(layer), HostTensor { shape: vec![rank, columns], values: a });
        tensors.insert(module.lora_b_name(layer), HostTensor { shape: vec![rows, rank], values: b });
    }
    // The scale alpha / rank is 1.
    #[expect(clippy::cast_precision_loss, reason = "ranks are far below 2^24")]
    let alpha = rank as f32;
    let config = LoraConfig {
        rank,
        frozen_rank: 0,
        alpha,
        dora: false,
        dropout: 0.0,
        targets: adapter.config.targets.clone(),
    };
    Ok(Plain { adapter: AdapterWeights { config, tensors }, layers, error: relative(sums) })
}

fn layer_error(layer: usize, module: TargetModule, squares: (f64, f64)) -> LayerError {
    LayerError { layer: format!("model.layers.{layer}.{}", module.path()), error: relative(squares) }
}

fn relative((given, off): (f64, f64)) -> f64 {
    if given > 0.0 { (off / given).sqrt() } else { 0.0 }
}

/// ‖matrix‖² and ‖B·A − matrix‖².
fn squares(
    matrix: &[f32],
    (b, rows): (&[f32], usize),
    (a, columns): (&[f32], usize),
    rank: usize,
) -> Result<(f64, f64), OpError> {
    let mut met = vec![0.0; matrix.len()];
    product(b, (rows, rank), Matrix::new(a, rank, columns)?, &mut met)?;
    let given = matrix.iter().map(|value| f64::from(*value).powi(2)).sum();
    let off = matrix.iter().zip(&met).map(|(value, met)| (f64::from(*value) - f64::from(*met)).powi(2)).sum();
    Ok((given, off))
}

#[cfg(test)]
mod tests;
