//! Holds the kernels against the CPU.

use std::sync::Arc;

use super::*;
use crate::{
    cuda::{Buffer, testing::devices},
    ops::{
        rms_norm::{rms_norm, rms_norm_backward},
        rope::{RopeTable, Rotation},
        testing::{
            device::{Matrix, assert_rounded, rounded, upload_floats, upload_numbers},
            random,
        },
    },
};

const EPS: f32 = 1e-6;
const POSITIONS: usize = 40;
/// Widths of heads whose halves are whole runs of eight, and others.
const DIMS: [usize; 9] = [8, 16, 24, 40, 64, 80, 96, 128, 256];
/// Rows, query heads and key heads.
const SHAPES: [[usize; 3]; 3] = [[1, 1, 1], [5, 3, 1], [3, 8, 4]];

/// A case on the CPU and what of it lies on the device.
struct Case {
    shape: [usize; 3],
    dim: usize,
    table: RopeTable,
    positions: Vec<usize>,
    weights: Option<[Vec<f32>; 2]>,
    buffers: Vec<Buffer>,
}

impl Case {
    fn new(device: &Arc<dyn Device>, shape: [usize; 3], dim: usize, normalised: bool) -> Self {
        let mut table = RopeTable::new(dim, 1e4, None);
        table.reserve(POSITIONS);
        let positions: Vec<usize> = (0..shape[0]).map(|row| row * 7 % POSITIONS).rev().collect();
        let weight = |seed| random(seed, dim).iter().map(|value| value + 1.5).collect();
        let weights: Option<[Vec<f32>; 2]> = normalised.then(|| [weight(8), weight(9)]);
        let numbers: Vec<u32> = positions.iter().map(|position| u32::try_from(*position).unwrap()).collect();
        let mut buffers = vec![
            upload_floats(device, &table.cosines),
            upload_floats(device, &table.sines),
            upload_numbers(device, &numbers),
        ];
        buffers.extend(weights.iter().flatten().map(|weight| upload_floats(device, weight)));
        Self { shape, dim, table, positions, weights, buffers }
    }

    fn rotation(&self) -> HeadRotation {
        let [_, query_heads, key_heads] = self.shape;
        HeadRotation {
            cosines: self.buffers[0].address(),
            sines: self.buffers[1].address(),
            positions: self.buffers[2].address(),
            norms: self.weights.as_ref().map(|_| [self.buffers[3].address(), self.buffers[4].address()]),
            query_heads,
            key_heads,
            dim: self.dim,
            eps: EPS,
        }
    }

    fn width(&self) -> usize {
        (self.shape[1] + 2 * self.shape[2]) * self.dim
    }

    /// The places of queries and of keys in each row.
    fn parts(&self) -> Vec<[std::ops::Range<usize>; 2]> {
        let (queries, keys) = (self.shape[1] * self.dim, self.shape[2] * self.dim);
        let begins = (0..self.shape[0]).map(|row| row * self.width());
        begins.map(|at| [at..at + queries, at + queries..at + queries + keys]).collect()
    }

    fn forward(&self, x: &[f32]) -> Vec<f32> {
        let mut out = x.to_vec();
        for (parts, position) in self.parts().into_iter().zip(&self.positions) {
            for (kind, part) in parts.into_iter().enumerate() {
                if let Some(weights) = &self.weights {
                    rms_norm(&x[part.clone()], &weights[kind], EPS, &mut out[part.clone()]).unwrap();
                }
                self.table.rotate(&mut out[part], &[*position], Rotation::Forward).unwrap();
            }
        }
        out
    }

    fn backward(&self, x: &[f32], d: &[f32]) -> Vec<f32> {
        let mut dx = d.to_vec();
        for (parts, position) in self.parts().into_iter().zip(&self.positions) {
            for (kind, part) in parts.into_iter().enumerate() {
                self.table.rotate(&mut dx[part.clone()], &[*position], Rotation::Backward).unwrap();
                if let Some(weights) = &self.weights {
                    let dy = dx[part.clone()].to_vec();
                    dx[part.clone()].fill(0.0);
                    rms_norm_backward(&x[part.clone()], &weights[kind], EPS, &dy, &mut dx[part]).unwrap();
                }
            }
        }
        dx
    }
}

fn each_case(check: impl Fn(&Arc<dyn Device>, &Case)) {
    for device in devices() {
        for (dim, shape) in DIMS.into_iter().flat_map(|dim| SHAPES.map(|shape| (dim, shape))) {
            for normalised in [false, true] {
                check(&device, &Case::new(&device, shape, dim, normalised));
            }
        }
    }
}

#[test]
fn heads_are_normalised_and_rotated_as_on_the_cpu() {
    each_case(|device, case| {
        let (rows, width) = (case.shape[0], case.width());
        let x = rounded(random(1, rows * width));
        let (x_matrix, out) = (Matrix::new(device, &x, width), Matrix::zeros(device, [rows, width]));
        case.rotation().forward(&**device, out.rows(), x_matrix.rows(), rows).unwrap();
        assert_rounded(&out.values(), &case.forward(&x));
        case.rotation().forward(&**device, x_matrix.rows(), x_matrix.rows(), rows).unwrap();
        assert_eq!(x_matrix.values(), out.values());
    });
}

#[test]
fn gradients_are_those_of_the_cpu() {
    each_case(|device, case| {
        let (rows, width) = (case.shape[0], case.width());
        let (x, d) = (rounded(random(1, rows * width)), rounded(random(2, rows * width)));
        let (x_matrix, d_matrix) = (Matrix::new(device, &x, width), Matrix::new(device, &d, width));
        let raw = case.weights.as_ref().map(|_| x_matrix.rows());
        case.rotation().backward(&**device, d_matrix.rows(), raw, rows).unwrap();
        assert_rounded(&d_matrix.values(), &case.backward(&x, &d));
    });
}
