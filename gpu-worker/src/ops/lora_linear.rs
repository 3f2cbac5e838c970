//! Frozen linear layers that read the same input, with the low-rank updates that adapters add to them.
//!
//! `y = x·Wᵀ + scale·(x·Aᵀ)·Bᵀ`. Source: Hu et al., arXiv 2106.09685, section 4.1. Layers that share `x` (query, key and
//! value; gate and up) also share one product with their stacked `A`.
//!
//! A layer may also have a learned magnitude (`DoRA`; Liu et al., arXiv 2402.09353, section 4): each output `j` is then multiplied by
//! `m_j / n_j`, where `n_j = ‖W_j + scale·(B·A)_j‖` counts as a constant in the backward pass (section 4.3).
//!
//! With dropout the updates, and nothing else, read `x` with some values zeroed.

pub mod cuda;
mod dropout;
mod magnitude;

use super::{
    OpError,
    ggml::{self, BlockMatrix, BlockProduct},
    matmul::{Matrix, MatrixMut, Product, Term, multiply},
};
pub use dropout::Dropout;
use magnitude::{add_scaled, into_plain};

/// The low-rank updates of the layers of one group.
#[derive(Debug, Clone)]
pub struct LoraGroup<'a> {
    /// Width of one update.
    pub rank: usize,
    /// alpha / rank, without unit.
    pub scale: f32,
    /// Factors `A` of the updated layers, one below the other: `[updates · rank, in]`.
    pub a: Matrix<'a>,
    /// For each layer of the group its factor `B`, transposed `[rank, out]`; `None` for a layer without update.
    pub b: Vec<Option<Matrix<'a>>>,
    /// For each layer of the group its magnitude, where the method has one; else empty.
    pub magnitudes: Vec<Option<Magnitude<'a>>>,
}

/// The magnitude of a layer's outputs.
#[derive(Debug, Clone, Copy)]
pub struct Magnitude<'a> {
    /// `m / n` `[out]`
    pub gain: &'a [f32],
    /// `n` `[out]`
    pub norm: &'a [f32],
}

impl LoraGroup<'_> {
    fn is_scaled(&self) -> bool {
        self.magnitudes.iter().any(Option::is_some)
    }
}

/// A frozen weight `[out, in]` of the forward pass.
#[derive(Debug, Clone, Copy)]
pub enum Weight<'a> {
    /// In f32.
    Full(Matrix<'a>),
    /// In blocks, multiplied with inputs rounded to eight bits.
    Blocks(&'a BlockMatrix),
}

impl Weight<'_> {
    fn rows(self) -> usize {
        match self {
            Self::Full(matrix) => matrix.rows(),
            Self::Blocks(blocks) => blocks.shape()[0],
        }
    }
}

/// Rows of the input that one adapter, or none, is applied to.
#[derive(Debug, Clone)]
pub struct Segment<'a> {
    /// How many rows.
    pub rows: usize,
    /// The adapter's part in this group.
    pub lora: Option<LoraGroup<'a>>,
}

/// Gradients of a [`LoraGroup`], in its layout.
#[derive(Debug)]
pub struct LoraGradients<'a> {
    /// For the stacked `A`.
    pub a: MatrixMut<'a>,
    /// For each updated layer its transposed `B`; `None` for a layer without update.
    pub b: Vec<Option<MatrixMut<'a>>>,
    /// For each layer with a magnitude that magnitude `[out]`; empty where the method has none.
    pub magnitudes: Vec<Option<&'a mut [f32]>>,
}

/// What a group of layers reads.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// `[rows, in]`
    pub x: Matrix<'a>,
    /// What the updates read in its place, where there is dropout.
    pub dropped: Option<Matrix<'a>>,
}

impl<'a> Inputs<'a> {
    fn of_updates(self) -> Matrix<'a> {
        self.dropped.unwrap_or(self.x)
    }
}

/// What the forward pass of a group leaves to the backward pass.
#[derive(Debug)]
pub struct ForwardBuffers<'a> {
    /// Receives `x·Aᵀ` of the segments, one after another.
    pub low_rank: &'a mut [f32],
    /// Receives the outputs before their magnitudes, one layer after another; as long as [`plain_length`] says.
    pub plain: &'a mut [f32],
}

/// What the backward pass of a group reads and writes.
#[derive(Debug)]
pub struct BackwardOperands<'a> {
    /// Inputs of the forward pass.
    pub inputs: Inputs<'a>,
    /// `x·Aᵀ` of the forward pass `[rows, updates · rank]`.
    pub low_rank: &'a [f32],
    /// Gradients of the outputs, each `[rows, out]`.
    pub d_outputs: &'a [Matrix<'a>],
    /// Scratch, as large as `low_rank`.
    pub d_low_rank: &'a mut [f32],
    /// Outputs of the forward pass before their magnitudes, one layer after another; empty without magnitudes.
    pub plain: &'a [f32],
    /// Scratch, as large as `plain`.
    pub d_plain: &'a mut [f32],
    /// Destination for the gradient of `x` `[rows, in]`, overwritten; `None` where nobody needs it.
    pub dx: Option<&'a mut [f32]>,
    /// The dropout of the forward pass, and scratch as large as `x`.
    pub dropout: Option<(Dropout, &'a mut [f32])>,
}

/// Computes every layer of a group on `x [rows, in]`, or with `accumulate` adds it to the outputs.
///
/// `weights[i]` is `[out_i, in]`, `outputs[i]` `[rows, out_i]`.
///
/// # Errors
/// [`OpError`] when shapes differ. Outputs are then unspecified.
pub fn forward(
    inputs: Inputs<'_>,
    weights: &[Weight<'_>],
    segments: &[Segment<'_>],
    ForwardBuffers { low_rank, plain }: ForwardBuffers<'_>,
    outputs: &mut [&mut [f32]],
    accumulate: bool,
) -> Result<(), OpError> {
    let x = inputs.x;
    project_down(inputs.of_updates(), segments, low_rank)?;
    let outputs_width = weights.iter().map(|weight| weight.rows()).sum();
    if plain_length(outputs_width, segments) == 0 {
        return add_products(x, weights, segments, low_rank, outputs, accumulate);
    }
    let mut layers = into_plain(plain, x.rows(), weights)?;
    add_products(x, weights, segments, low_rank, &mut layers, false)?;
    add_scaled(&layers, segments, outputs, accumulate)
}

/// Values of the outputs, so wide together, before their magnitudes: 0 when no segment has any.
pub fn plain_length(outputs_width: usize, segments: &[Segment<'_>]) -> usize {
    if !segments.iter().any(|segment| segment.lora.as_ref().is_some_and(LoraGroup::is_scaled)) {
        return 0;
    }
    let rows: usize = segments.iter().map(|segment| segment.rows).sum();
    rows * outputs_width
}

fn add_products(
    x: Matrix<'_>,
    weights: &[Weight<'_>],
    segments: &[Segment<'_>],
    low_rank: &[f32],
    outputs: &mut [&mut [f32]],
    accumulate: bool,
) -> Result<(), OpError> {
    let all_full = weights.iter().all(|weight| matches!(weight, Weight::Full(_)));
    let whole = if let ([segment], true) = (segments, all_full) { segment.lora.as_ref() } else { None };
    let (mut products, mut of_blocks) = (Vec::with_capacity(weights.len()), Vec::new());
    for (index, (weight, output)) in weights.iter().zip(outputs.iter_mut()).enumerate() {
        let into = MatrixMut::new(output, x.rows(), weight.rows())?;
        match weight {
            Weight::Full(matrix) => {
                let mut terms = vec![Term { a: x, b: matrix.transposed(), scale: 1.0 }];
                if let Some(lora) = whole {
                    terms.extend(update_term(lora, index, low_rank, x.rows())?);
                }
                products.push(Product { into, accumulate, terms });
            }
            Weight::Blocks(weights) => of_blocks.push(BlockProduct { weights, into }),
        }
    }
    multiply(products)?;
    ggml::multiply(x, of_blocks, accumulate)?;
    if whole.is_some() { Ok(()) } else { add_updates(x.rows(), weights, segments, low_rank, outputs) }
}

/// Adds the gradients of the low-rank factors to `gradients` and computes the gradient of the input.
///
/// # Errors
/// [`OpError`] when shapes differ. Gradients are then unspecified.
pub fn backward(
    weights: &[Matrix<'_>],
    lora: Option<&LoraGroup<'_>>,
    gradients: Option<LoraGradients<'_>>,
    operands: BackwardOperands<'_>,
) -> Result<(), OpError> {
    let BackwardOperands { inputs, low_rank, d_outputs, d_low_rank, plain, d_plain, dx, dropout } = operands;
    let x = inputs.x;
    let rows = x.rows();
    let mut last = Vec::with_capacity(2);
    if let (Some(lora), Some(mut gradients)) = (lora, gradients) {
        let scaled = magnitude::backward(lora, &mut gradients, d_outputs, plain, d_plain)?;
        let d_outputs = scaled.as_deref().unwrap_or(d_outputs);
        let width = lora.a.rows();
        let low_rank = Matrix::new(low_rank, rows, width)?;
        let mut products = Vec::with_capacity(2 * weights.len());
        let (mut rest, mut column) = (MatrixMut::new(d_low_rank, rows, width)?, 0);
        for ((d_output, b), d_b) in d_outputs.iter().zip(&lora.b).zip(gradients.b) {
            let (Some(b), Some(d_b)) = (b, d_b) else { continue };
            let (into, right) = rest.split_columns(lora.rank)?;
            let down = Term { a: *d_output, b: b.transposed(), scale: lora.scale };
            products.push(Product { into, accumulate: false, terms: vec![down] });
            let inner = low_rank.column_range(column, lora.rank)?.transposed();
            let up = Term { a: inner, b: *d_output, scale: lora.scale };
            products.push(Product { into: d_b, accumulate: true, terms: vec![up] });
            rest = right;
            column += lora.rank;
        }
        multiply(products)?;
        let d_low_rank = Matrix::new(d_low_rank, rows, width)?;
        let to_a = Term { a: d_low_rank.transposed(), b: inputs.of_updates(), scale: 1.0 };
        last.push(Product { into: gradients.a, accumulate: true, terms: vec![to_a] });
        let through = Term { a: d_low_rank, b: lora.a, scale: 1.0 };
        match (dx, dropout) {
            (Some(dx), Some((dropout, d_dropped))) => {
                let into = MatrixMut::new(d_dropped, rows, x.columns())?;
                last.push(Product { into, accumulate: false, terms: vec![through] });
                last.push(input_gradient(dx, x, weights, d_outputs, None)?);
                multiply(last)?;
                dropout.add_backward(d_dropped, dx);
                return Ok(());
            }
            (Some(dx), None) => last.push(input_gradient(dx, x, weights, d_outputs, Some(through))?),
            (None, _) => {}
        }
    } else if let Some(dx) = dx {
        last.push(input_gradient(dx, x, weights, d_outputs, None)?);
    }
    multiply(last)
}

fn input_gradient<'a>(
    dx: &'a mut [f32],
    x: Matrix<'_>,
    weights: &[Matrix<'a>],
    d_outputs: &[Matrix<'a>],
    through: Option<Term<'a>>,
) -> Result<Product<'a>, OpError> {
    let frozen = weights.iter().zip(d_outputs).map(|(weight, d)| Term { a: *d, b: *weight, scale: 1.0 });
    let terms = frozen.chain(through).collect();
    Ok(Product { into: MatrixMut::new(dx, x.rows(), x.columns())?, accumulate: false, terms })
}

/// `low_rank = x·Aᵀ` for each segment's rows.
fn project_down(x: Matrix<'_>, segments: &[Segment<'_>], low_rank: &mut [f32]) -> Result<(), OpError> {
    let mut products = Vec::with_capacity(segments.len());
    let (mut rest, mut row) = (low_rank, 0);
    for Segment { rows, lora } in segments {
        if let Some(lora) = lora {
            let (into, after) = rest
                .split_at_mut_checked(rows * lora.a.rows())
                .ok_or_else(|| missing("low rank", rows * lora.a.rows()))?;
            let terms = vec![Term { a: x.row_range(row, *rows)?, b: lora.a.transposed(), scale: 1.0 }];
            products.push(Product {
                into: MatrixMut::new(into, *rows, lora.a.rows())?,
                accumulate: false,
                terms,
            });
            rest = after;
        }
        row += rows;
    }
    multiply(products)
}

/// The summand of one layer's update on all rows, if the layer has one.
fn update_term<'a>(
    lora: &LoraGroup<'a>,
    index: usize,
    low_rank: &'a [f32],
    rows: usize,
) -> Result<Option<Term<'a>>, OpError> {
    let Some(Some(b)) = lora.b.get(index) else { return Ok(None) };
    let before = lora.b.iter().take(index).flatten().count();
    let width = lora.a.rows();
    let used = low_rank.get(..rows * width).ok_or_else(|| missing("low rank", rows * width))?;
    let a = Matrix::new(used, rows, width)?.column_range(before * lora.rank, lora.rank)?;
    Ok(Some(Term { a, b: *b, scale: lora.scale }))
}

/// Adds each segment's updates to its rows of the outputs.
fn add_updates(
    rows: usize,
    weights: &[Weight<'_>],
    segments: &[Segment<'_>],
    low_rank: &[f32],
    outputs: &mut [&mut [f32]],
) -> Result<(), OpError> {
    if segments.iter().all(|segment| segment.lora.is_none()) {
        return Ok(());
    }
    let mut products = Vec::new();
    for (index, (weight, output)) in weights.iter().zip(outputs).enumerate() {
        let (mut below, mut inner) = (MatrixMut::new(output, rows, weight.rows())?, low_rank);
        for Segment { rows, lora } in segments {
            let (into, rest) = below.split_rows(*rows)?;
            below = rest;
            let Some(lora) = lora else { continue };
            if let Some(term) = update_term(lora, index, inner, *rows)? {
                products.push(Product { into, accumulate: true, terms: vec![term] });
            }
            inner = inner.get(rows * lora.a.rows()..).unwrap_or_default();
        }
    }
    multiply(products)
}

fn missing(operand: &'static str, expected: usize) -> OpError {
    OpError::Length { operation: "LoRA linear", operand, got: 0, expected }
}

#[cfg(test)]
mod tests;
