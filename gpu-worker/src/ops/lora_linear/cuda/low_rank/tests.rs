//! Checks the gradients against sums in f64, and that nothing is written beside them.

use super::*;
use crate::{
    cuda::testing::devices,
    ops::testing::{
        device::{Matrix, assert_rounded, download_floats, rounded, upload_floats},
        random,
    },
};

/// Columns before those of the low-rank updates in the rows of `S` and `B`.
const INPUTS: usize = 24;

/// For each layer of a group its width and whether it is updated.
struct Case<'a> {
    rows: usize,
    rank: usize,
    layers: &'a [(usize, bool)],
}

impl Case<'_> {
    fn check(&self) {
        let Self { rows, rank, .. } = *self;
        let outputs: usize = self.layers.iter().map(|(width, _)| width).sum();
        let low_rank = rank * self.layers.iter().filter(|(_, updated)| *updated).count();
        let scale = 1.75;
        let dy = rounded(random(1, rows * outputs));
        let s = rounded(random(2, rows * low_rank));
        let mut b = vec![0.0; outputs * low_rank];
        let mut layers = Vec::new();
        let mut output = 0;
        for (width, updated) in self.layers {
            if *updated {
                let column = layers.len() * rank;
                let values = rounded(random(3 + column as u64, width * rank));
                for (j, row) in values.chunks(rank).enumerate() {
                    b[(output + j) * low_rank + column..][..rank].copy_from_slice(row);
                }
                layers.push((output, *width, column));
            }
            output += width;
        }
        for device in devices() {
            let dy_rows = dy.chunks(outputs).flat_map(|row| [row, &vec![0.0; low_rank]].concat());
            let dy_rows = Matrix::new(&device, &dy_rows.collect::<Vec<_>>(), outputs + low_rank);
            let behind = |values: &[f32]| {
                let rows = values.chunks(low_rank).flat_map(|row| [&[9.0; INPUTS], row].concat());
                Matrix::new(&device, &rows.collect::<Vec<_>>(), INPUTS + low_rank)
            };
            let (s_rows, b_rows) = (behind(&s), behind(&b));
            let before = layers.iter().map(|(_, width, column)| random(50 + *column as u64, width * rank));
            let before: Vec<_> = before.collect();
            let d_b: Vec<_> = before.iter().map(|values| upload_floats(&device, values)).collect();
            let updated = layers.iter().zip(&d_b);
            let updated: Vec<_> = updated
                .map(|((output, width, column), d_b)| LowRankLayer {
                    output: *output,
                    width: *width,
                    column: *column,
                    d_b: d_b.address(),
                })
                .collect();
            let backward = LowRankBackward { rows, rank, scale, layers: &updated };
            let bytes = backward.scratch_bytes().unwrap();
            assert!(bytes <= backward.most_scratch_bytes().unwrap());
            let scratch = upload_floats(&device, &vec![f32::NAN; bytes / 4]);
            let gradients = LowRankGradients {
                dy: dy_rows.rows(),
                ds: dy_rows.rows().columns_from(outputs),
                s: s_rows.rows().columns_from(INPUTS),
                b: b_rows.rows().columns_from(INPUTS),
                scratch: scratch.address(),
            };
            backward.launch(&*device, gradients).unwrap();

            let got = dy_rows.values();
            let got = got.chunks(outputs + low_rank).map(|row| row.split_at(outputs));
            assert_eq!(got.clone().flat_map(|(dy, _)| dy).copied().collect::<Vec<_>>(), dy);
            let ds: Vec<_> = got.flat_map(|(_, ds)| ds).copied().collect();
            assert_rounded(
                &ds,
                &product(rows, low_rank, outputs, |i, j, k| dy[i * outputs + k] * b[k * low_rank + j]),
            );
            for (((output, width, column), before), d_b) in layers.iter().zip(&before).zip(&d_b) {
                let sums = product(*width, rank, rows, |i, j, k| {
                    dy[k * outputs + output + i] * s[k * low_rank + column + j]
                });
                let got = download_floats(&device, d_b);
                for ((got, before), sum) in got.iter().zip(before).zip(sums) {
                    let expected = before + scale * sum;
                    assert!(
                        (got - expected).abs() <= 1e-5 * (expected.abs() + 10.0),
                        "{got}, expected {expected}"
                    );
                }
            }
        }
    }
}

fn product(rows: usize, columns: usize, inner: usize, term: impl Fn(usize, usize, usize) -> f32) -> Vec<f32> {
    let value = |i, j| (0..inner).map(|k| f64::from(term(i, j, k))).sum::<f64>() as f32;
    (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j))).map(|(i, j)| value(i, j)).collect()
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
fn the_scratch_of_a_large_group_is_a_small_part_of_the_gradient() {
    let layer = |output, width, column| LowRankLayer { output, width, column, d_b: Address::NULL };
    let qkv = [layer(0, 4096, 0), layer(4096, 1024, 16), layer(5120, 1024, 32)];
    let gate_up = [layer(0, 14_336, 0), layer(14_336, 14_336, 16)];
    for (layers, outputs) in [(&qkv[..], 6144), (&qkv[..1], 4096), (&gate_up[..], 28_672)] {
        let backward = LowRankBackward { rows: 8192, rank: 16, scale: 1.0, layers };
        let bytes = backward.scratch_bytes().unwrap();
        assert!(bytes * 7 < 8192 * outputs * 2, "{bytes} bytes for {outputs} outputs");
    }
}

#[test]
fn other_ranks_and_larger_groups_have_no_kernels() {
    let layers = [LowRankLayer::NONE; 4];
    for (rank, count) in [(0, 1), (12, 1), (72, 1), (16, 0), (16, 4)] {
        assert!(!LowRankBackward::has_kernels(rank, count));
        let backward = LowRankBackward { rows: 1, rank, scale: 1.0, layers: &layers[..count] };
        backward.scratch_bytes().unwrap_err();
    }
}
