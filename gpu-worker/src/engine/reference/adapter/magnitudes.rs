//! Gains and norms of a `DoRA` adapter, computed anew once its parameters have changed.

use super::{AdapterLayout, Group, Magnitude};
use crate::{
    engine::{
        EngineError,
        reference::{
            buffers::Buffer,
            weights::{Weights, full},
        },
    },
    ops::matmul::{Matrix, MatrixMut, Product, Term, multiply},
};

/// `‖W_j‖²` of every updated output, in the order of the layout; the base model is frozen, so it is computed once.
#[derive(Debug)]
struct RowSquares(Vec<f64>);

/// What outputs are multiplied by, in the order of the layout.
#[derive(Debug)]
pub(in crate::engine::reference) struct Magnitudes {
    /// `m / n`
    gains: Vec<f32>,
    /// `n = ‖W_j + scale·(B·A)_j‖`
    norms: Vec<f32>,
}

/// Magnitudes, and what they are computed anew from.
#[derive(Debug)]
pub(in crate::engine::reference) struct Scaling {
    squares: RowSquares,
    pub(in crate::engine::reference) magnitudes: Magnitudes,
}

impl Scaling {
    /// Brings the magnitudes to changed parameters.
    pub(in crate::engine::reference) fn refresh(
        &mut self,
        layout: &AdapterLayout,
        weights: &Weights<'_>,
        values: &[f32],
    ) -> Result<(), EngineError> {
        self.magnitudes = layout.magnitudes(&self.squares, weights, values)?;
        Ok(())
    }
}

impl Magnitudes {
    /// Those of one group: for each of its layers, if it is updated.
    pub(super) fn of_group(&self, group: &Group) -> Vec<Option<Magnitude<'_>>> {
        let mut first = group.first_output;
        let outputs = group.outputs.iter().map(|out| {
            let range = first..first + (*out)?;
            first = range.end;
            Some(Magnitude { gain: self.gains.get(range.clone())?, norm: self.norms.get(range)? })
        });
        outputs.collect()
    }
}

impl AdapterLayout {
    /// What the outputs are multiplied by under the given parameters, where the method has magnitudes.
    pub(in crate::engine::reference) fn scaling(
        &self,
        weights: &Weights<'_>,
        values: &[f32],
    ) -> Result<Option<Scaling>, EngineError> {
        if !self.config.dora {
            return Ok(None);
        }
        let (mut squares, mut buffer) = (Vec::with_capacity(self.outputs), Buffer::default());
        for update in &self.updates {
            let weight = weights.module(update.layer, update.module)?;
            for weight in full(&[weight], &mut buffer)? {
                let square = |row| weight.row(row).iter().map(|w| f64::from(*w) * f64::from(*w)).sum::<f64>();
                squares.extend((0..weight.rows()).map(square));
            }
        }
        let squares = RowSquares(squares);
        let magnitudes = self.magnitudes(&squares, weights, values)?;
        Ok(Some(Scaling { squares, magnitudes }))
    }

    /// Sets each magnitude to the length of its row, so that nothing is scaled yet.
    pub(in crate::engine::reference) fn begin_magnitudes(&self, scaling: &mut Scaling, values: &mut [f32]) {
        let Magnitudes { gains, norms } = &mut scaling.magnitudes;
        for update in &self.updates {
            let magnitude = values.get_mut(update.magnitude.clone()).unwrap_or_default();
            magnitude.copy_from_slice(norms.get(update.outputs.clone()).unwrap_or_default());
        }
        gains.fill(1.0);
    }

    /// Gains and norms under the given parameters.
    ///
    /// The norm comes from its factors, so that `W + scale·B·A` is never formed:
    /// `‖W_j‖² + 2·scale·(W·Aᵀ)_j·B_j + scale²·B_j·(A·Aᵀ)·B_jᵀ`.
    #[expect(clippy::cast_possible_truncation, reason = "norms in f32")]
    fn magnitudes(
        &self,
        squares: &RowSquares,
        weights: &Weights<'_>,
        values: &[f32],
    ) -> Result<Magnitudes, EngineError> {
        let (rank, scale) = (self.config.rank, f64::from(self.config.scale()));
        let (mut gains, mut norms) = (Vec::with_capacity(self.outputs), Vec::with_capacity(self.outputs));
        let (mut projected, mut inner) = (Vec::new(), vec![0.0; rank * rank]);
        let mut buffer = Buffer::default();
        for update in &self.updates {
            let weight = weights.module(update.layer, update.module)?;
            let weight = full(&[weight], &mut buffer)?;
            let Some(weight) = weight.first() else { continue };
            let out = update.out_features;
            let a = values.get(update.a.clone()).unwrap_or_default();
            let a = Matrix::new(a, rank, update.in_features)?;
            projected.resize(rank * out, 0.0);
            let by_weight = Term { a, b: weight.transposed(), scale: 1.0 };
            let by_itself = Term { a, b: a.transposed(), scale: 1.0 };
            multiply(vec![
                Product {
                    into: MatrixMut::new(&mut projected, rank, out)?,
                    accumulate: false,
                    terms: vec![by_weight],
                },
                Product {
                    into: MatrixMut::new(&mut inner, rank, rank)?,
                    accumulate: false,
                    terms: vec![by_itself],
                },
            ])?;
            let b = Matrix::new(values.get(update.b.clone()).unwrap_or_default(), rank, out)?;
            let projected = Matrix::new(&projected, rank, out)?;
            let mut found: Vec<f64> = squares.0.get(update.outputs.clone()).unwrap_or_default().to_vec();
            for r in 0..rank {
                let cross = b.row(r).iter().zip(projected.row(r));
                found
                    .iter_mut()
                    .zip(cross)
                    .for_each(|(sum, (b, p))| *sum += 2.0 * scale * f64::from(*b) * f64::from(*p));
                for (q, inner) in inner.iter().skip(r * rank).take(rank).enumerate() {
                    let factor = scale * scale * f64::from(*inner);
                    let pair = b.row(r).iter().zip(b.row(q));
                    found
                        .iter_mut()
                        .zip(pair)
                        .for_each(|(sum, (b, c))| *sum += factor * f64::from(*b) * f64::from(*c));
                }
            }
            let magnitude = values.get(update.magnitude.clone()).unwrap_or_default();
            for (square, m) in found.iter().zip(magnitude) {
                let norm = square.max(0.0).sqrt() as f32;
                if norm == 0.0 {
                    let tensor = update.module.weight_name(update.layer);
                    return Err(EngineError::NoLength { tensor });
                }
                norms.push(norm);
                gains.push(m / norm);
            }
        }
        Ok(Magnitudes { gains, norms })
    }
}
