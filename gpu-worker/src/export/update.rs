//! What an adapter makes of one weight of its base model.

use std::borrow::Cow;

use crate::{
    engine::{AdapterWeights, EngineError, TargetModule},
    model::BaseModel,
    ops::matmul::{Matrix, MatrixMut, Product, Term, multiply},
};

/// One layer's weight `[out, in]`, what `LoRA` adds to it, and what `DoRA` multiplies the sum's rows by.
#[derive(Debug)]
pub(super) struct Update<'a> {
    weight: Cow<'a, [f32]>,
    /// `s·B·A`
    product: Vec<f32>,
    /// `m / ‖W + s·B·A‖` of each row; empty without magnitudes.
    gains: Vec<f32>,
    pub(super) rows: usize,
    pub(super) columns: usize,
}

/// The values of a weight in f32, however the base model holds it.
pub(super) fn full<'a>(base: &'a BaseModel, name: &str) -> Result<Cow<'a, [f32]>, EngineError> {
    if let Some(tensor) = base.tensors.get(name) {
        return Ok(Cow::Borrowed(&tensor.values));
    }
    let quantised = base.quantised.get(name).ok_or_else(|| EngineError::MissingTensor {
        tensor: name.to_owned(),
        source_name: base.name.clone(),
    })?;
    Ok(Cow::Owned(quantised.widen().values))
}

impl<'a> Update<'a> {
    /// The update of one layer.
    pub(super) fn new(
        base: &'a BaseModel,
        adapter: &AdapterWeights,
        layer: usize,
        module: TargetModule,
    ) -> Result<Self, EngineError> {
        let factor = |name: String| {
            adapter
                .tensors
                .get(&name)
                .ok_or(EngineError::MissingTensor { tensor: name, source_name: "the adapter".to_owned() })
        };
        let name = module.weight_name(layer);
        let weight = full(base, &name)?;
        let (a, b) = (factor(module.lora_a_name(layer))?, factor(module.lora_b_name(layer))?);
        let rank = adapter.config.rank;
        let (rows, columns) = (b.values.len() / rank.max(1), a.values.len() / rank.max(1));
        let mut product = vec![0.0; rows * columns];
        let term = Term {
            a: Matrix::new(&b.values, rows, rank)?,
            b: Matrix::new(&a.values, rank, columns)?,
            scale: adapter.config.scale(),
        };
        let into = MatrixMut::new(&mut product, rows, columns)?;
        multiply(vec![Product { into, accumulate: false, terms: vec![term] }])?;
        let mut update = Self { weight, product, gains: Vec::new(), rows, columns };
        if adapter.config.dora {
            let magnitudes = factor(module.magnitude_name(layer))?;
            update.gains =
                update.gains_of(&magnitudes.values).ok_or(EngineError::NoLength { tensor: name })?;
        }
        Ok(update)
    }

    /// `m / n` for each row; none when a row has no length.
    #[expect(clippy::cast_possible_truncation, reason = "norms in f32, as the engine has them")]
    fn gains_of(&self, magnitudes: &[f32]) -> Option<Vec<f32>> {
        let rows = self.weight.chunks(self.columns).zip(self.product.chunks(self.columns));
        let gains = rows.zip(magnitudes).map(|((weight, product), magnitude)| {
            let square: f64 =
                weight.iter().zip(product).map(|(w, p)| (f64::from(*w) + f64::from(*p)).powi(2)).sum();
            let norm = square.sqrt() as f32;
            (norm > 0.0).then(|| magnitude / norm)
        });
        gains.collect()
    }

    /// `g⊙(W + s·B·A)` `[out, in]`.
    pub(super) fn merged(&self) -> Vec<f32> {
        self.rows_by(|weight, product, gain| gain * (weight + product))
    }

    /// `g⊙(W + s·B·A) − W` `[out, in]`.
    pub(super) fn difference(&self) -> Vec<f32> {
        self.rows_by(|weight, product, gain| (gain - 1.0).mul_add(weight, gain * product))
    }

    fn rows_by(&self, value: impl Fn(f32, f32, f32) -> f32) -> Vec<f32> {
        let gains = self.gains.iter().copied().chain(std::iter::repeat(1.0));
        let rows = self.weight.chunks(self.columns).zip(self.product.chunks(self.columns)).zip(gains);
        rows.flat_map(|((weight, product), gain)| {
            weight.iter().zip(product).map(|(w, p)| value(*w, *p, gain)).collect::<Vec<f32>>()
        })
        .collect()
    }
}
