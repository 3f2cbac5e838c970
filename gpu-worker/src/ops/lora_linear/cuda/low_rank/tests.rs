//! Checks the products against sums in f64, and that nothing is written beside their results.

#![expect(clippy::cast_possible_truncation, reason = "sums in f64 are compared in f32")]

use std::sync::Arc;

use super::*;
use crate::{
    cuda::{Buffer, testing::devices},
    ops::testing::{
        device::{Matrix, assert_rounded, download_floats, rounded, upload_floats},
        random,
    },
};

/// Columns before those of the low-rank updates in the rows of `S` and `B`.
const INPUTS: usize = 24;
const SCALE: f32 = 1.75;

/// For each layer of a group its width and whether it is updated.
struct Case<'a> {
    rows: usize,
    rank: usize,
    layers: &'a [(usize, bool)],
}

fn product(rows: usize, columns: usize, inner: usize, term: impl Fn(usize, usize, usize) -> f32) -> Vec<f32> {
    let value = |i, j| (0..inner).map(|k| f64::from(term(i, j, k))).sum::<f64>() as f32;
    (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j))).map(|(i, j)| value(i, j)).collect()
}

/// Two matrices side by side.
fn beside(device: &Arc<dyn Device>, left: (&[f32], usize), right: (&[f32], usize)) -> Matrix {
    let rows = left.0.chunks(left.1).zip(right.0.chunks(right.1));
    Matrix::new(
        device,
        &rows.flat_map(|(left, right)| [left, right].concat()).collect::<Vec<_>>(),
        left.1 + right.1,
    )
}

fn halves(values: &[f32], width: usize, left: usize) -> [Vec<f32>; 2] {
    let rows = values.chunks(width).map(|row| row.split_at(left));
    [
        rows.clone().flat_map(|(left, _)| left).copied().collect(),
        rows.flat_map(|(_, right)| right).copied().collect(),
    ]
}

#[track_caller]
fn assert_added(got: &Buffer, device: &Arc<dyn Device>, before: &[f32], sums: &[f32]) {
    for ((got, before), sum) in download_floats(device, got).iter().zip(before).zip(sums) {
        let expected = before + sum;
        assert!((got - expected).abs() <= 1e-5 * (expected.abs() + 10.0), "{got}, expected {expected}");
    }
}

impl Case<'_> {
    /// The updated layers, and the `B` of the group.
    fn layers(&self) -> (Vec<LowRankLayer>, Vec<f32>) {
        let count = self.layers.iter().filter(|(_, updated)| *updated).count();
        let (mut layers, mut b, mut output) = (Vec::new(), Vec::new(), 0);
        for (width, updated) in self.layers {
            let column = layers.len() * self.rank;
            for j in 0..*width {
                let mut row = vec![0.0; count * self.rank];
                if *updated {
                    let values = rounded(random((100 + output + j) as u64, self.rank));
                    row[column..column + self.rank].copy_from_slice(&values);
                }
                b.extend(row);
            }
            if *updated {
                layers.push(LowRankLayer { output, width: *width, column, d_b: Address::NULL });
            }
            output += width;
        }
        (layers, b)
    }

    fn check(&self) {
        let Self { rows, rank, .. } = *self;
        let (mut layers, b) = self.layers();
        let outputs: usize = self.layers.iter().map(|(width, _)| width).sum();
        let low_rank = rank * layers.len();
        let (dy, s) = (rounded(random(1, rows * outputs)), rounded(random(2, rows * low_rank)));
        for device in devices() {
            let dy_rows = beside(&device, (&dy, outputs), (&vec![0.0; rows * low_rank], low_rank));
            let s_rows = beside(&device, (&vec![9.0; rows * INPUTS], INPUTS), (&s, low_rank));
            let b_rows = beside(&device, (&vec![9.0; outputs * INPUTS], INPUTS), (&b, low_rank));
            let before: Vec<_> = layers.iter().map(|layer| random(3, layer.width * rank)).collect();
            let d_b: Vec<_> = before.iter().map(|values| upload_floats(&device, values)).collect();
            layers.iter_mut().zip(&d_b).for_each(|(layer, d_b)| layer.d_b = d_b.address());
            let backward = LowRankBackward { rows, rank, scale: SCALE, layers: &layers };
            let bytes = backward.scratch_bytes().unwrap();
            assert!(bytes <= backward.most_scratch_bytes().unwrap());
            let scratch = upload_floats(&device, &vec![f32::NAN; bytes / 4]);
            let operands = LowRankGradients {
                dy: dy_rows.rows(),
                ds: dy_rows.rows().columns_from(outputs),
                s: s_rows.rows().columns_from(INPUTS),
                b: b_rows.rows().columns_from(INPUTS),
                scratch: scratch.address(),
            };
            backward.launch(&*device, operands).unwrap();

            let [dy_after, ds] = halves(&dy_rows.values(), outputs + low_rank, outputs);
            assert_eq!(dy_after, dy);
            let term = |i: usize, j: usize, k: usize| dy[i * outputs + k] * b[k * low_rank + j];
            assert_rounded(&ds, &product(rows, low_rank, outputs, term));
            for ((layer, before), d_b) in layers.iter().zip(&before).zip(&d_b) {
                let term = |i: usize, j: usize, k: usize| {
                    SCALE * dy[k * outputs + layer.output + i] * s[k * low_rank + layer.column + j]
                };
                assert_added(d_b, &device, before, &product(layer.width, rank, rows, term));
            }
        }
    }
}

#[test]
fn gradients_are_those_of_the_products() {
    for (rows, rank, layers) in [
        (1, 8, &[(8, true)][..]),
        (130, 16, &[(576, true), (192, true), (192, true)]),
        (300, 8, &[(200, true), (72, false), (136, true)]),
        (257, 24, &[(136, false), (264, true)]),
        (129, 64, &[(320, true), (72, true)]),
    ] {
        Case { rows, rank, layers }.check();
    }
}

#[test]
fn sums_of_many_terms_are_complete() {
    Case { rows: 1300, rank: 8, layers: &[(1160, true)] }.check();
}

#[test]
fn the_first_product_goes_behind_the_input() {
    for (rows, inputs, low_rank) in [(1, 8, 8), (130, 576, 16), (70, 136, 32), (65, 264, 48), (64, 128, 56)] {
        let (x, a) = (rounded(random(1, rows * inputs)), rounded(random(2, low_rank * inputs)));
        for device in devices() {
            let x_rows = beside(&device, (&x, inputs), (&vec![0.0; rows * low_rank], low_rank));
            let a_rows = Matrix::new(&device, &a, inputs);
            let s = x_rows.rows().columns_from(inputs);
            let operands = [x_rows.rows(), a_rows.rows()];
            low_rank_forward(&*device, s, operands, [rows, inputs, low_rank]).unwrap();
            let [x_after, s] = halves(&x_rows.values(), inputs + low_rank, inputs);
            assert_eq!(x_after, x);
            let term = |i: usize, j: usize, k: usize| x[i * inputs + k] * a[j * inputs + k];
            assert_rounded(&s, &product(rows, low_rank, inputs, term));
        }
    }
}

#[test]
fn gradients_of_a_are_added() {
    for (rows, inputs, low_rank) in [(1, 8, 8), (1300, 576, 16), (300, 136, 32), (140, 264, 48)] {
        let (x, ds) = (rounded(random(1, rows * inputs)), rounded(random(2, rows * low_rank)));
        let before = random(3, low_rank * inputs);
        for device in devices() {
            let (x_rows, ds_rows) = (Matrix::new(&device, &x, inputs), Matrix::new(&device, &ds, low_rank));
            let d_a = upload_floats(&device, &before);
            let backward = LowRankABackward { rows, inputs, low_rank };
            let scratch = vec![f32::NAN; backward.most_scratch_bytes().unwrap() / 4];
            let scratch = upload_floats(&device, &scratch);
            let operands = [x_rows.rows(), ds_rows.rows()];
            backward.launch(&*device, d_a.address(), operands, scratch.address()).unwrap();
            let term = |i: usize, j: usize, k: usize| ds[k * low_rank + i] * x[k * inputs + j];
            assert_added(&d_a, &device, &before, &product(low_rank, inputs, rows, term));
        }
    }
}

#[test]
fn the_scratch_of_a_large_group_is_a_small_part_of_the_gradient() {
    let layer = |output, width, column| LowRankLayer { output, width, column, d_b: Address::NULL };
    let qkv = [layer(0, 4096, 0), layer(4096, 1024, 16), layer(5120, 1024, 32)];
    let gate_up = [layer(0, 14_336, 0), layer(14_336, 14_336, 16)];
    for (layers, outputs) in [(&qkv[..], 6144), (&qkv[..1], 4096), (&gate_up[..], 28_672)] {
        let backward = LowRankBackward { rows: 8192, rank: 16, scale: SCALE, layers };
        let bytes = backward.scratch_bytes().unwrap();
        assert!(bytes * 7 < 8192 * outputs * 2, "{bytes} bytes for {outputs} outputs");
    }
}

#[test]
fn other_ranks_and_larger_groups_have_no_kernels() {
    let layers = [LowRankLayer::NONE; 4];
    for (rank, count) in [(0, 1), (12, 1), (72, 1), (16, 0), (16, 4)] {
        assert!(!LowRankBackward::has_kernels(rank, count));
        let backward = LowRankBackward { rows: 1, rank, scale: SCALE, layers: &layers[..count] };
        backward.scratch_bytes().unwrap_err();
    }
    assert!(!has_low_rank_forward(72) && !LowRankABackward::has_kernels(12));
}
