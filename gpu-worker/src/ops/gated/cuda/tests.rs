//! Holds the kernels against the CPU.

use super::*;
use crate::{
    cuda::testing::devices,
    ops::{
        gated as cpu,
        testing::{
            device::{Matrix, assert_rounded, rounded},
            random,
        },
    },
};

const SHAPES: [[usize; 2]; 5] = [[1, 8], [3, 24], [70, 40], [2, 576], [5, 2056]];

/// Gates and ups, each row by row, with gates far out on both sides.
fn halves([rows, inner]: [usize; 2]) -> [Vec<f32>; 2] {
    let mut gate = rounded(random(1, rows * inner).iter().map(|value| value * 6.0));
    gate[..3].copy_from_slice(&[-100.0, 0.0, 100.0]);
    [gate, rounded(random(2, rows * inner))]
}

fn side_by_side([left, right]: &[Vec<f32>; 2], inner: usize) -> Vec<f32> {
    left.chunks(inner).zip(right.chunks(inner)).flat_map(|(left, right)| [left, right].concat()).collect()
}

#[test]
fn values_are_those_of_the_cpu() {
    for device in devices() {
        for (shape, activation) in
            SHAPES.into_iter().flat_map(|shape| [Activation::Silu, Activation::Gelu].map(|f| (shape, f)))
        {
            let [_, inner] = shape;
            let [gate, up] = halves(shape);
            let mut expected = vec![0.0; gate.len()];
            cpu::gated(activation, &gate, &up, &mut expected).unwrap();
            let gate_up = Matrix::new(&device, &side_by_side(&[gate, up], inner), 2 * inner);
            let out = Matrix::zeros(&device, shape);
            gated(&*device, activation, out.rows(), gate_up.rows(), shape).unwrap();
            assert_rounded(&out.values(), &expected);
        }
    }
}

#[test]
fn gradients_are_those_of_the_cpu_and_the_values_come_again() {
    for device in devices() {
        for (shape, activation) in
            SHAPES.into_iter().flat_map(|shape| [Activation::Silu, Activation::Gelu].map(|f| (shape, f)))
        {
            let [_, inner] = shape;
            let [mut gate, mut up] = halves(shape);
            let d = rounded(random(3, gate.len()));
            let gate_up = Matrix::new(&device, &side_by_side(&[gate.clone(), up.clone()], inner), 2 * inner);
            let d_matrix = Matrix::new(&device, &d, inner);
            let mut values = vec![0.0; gate.len()];
            cpu::gated(activation, &gate, &up, &mut values).unwrap();
            cpu::gated_backward(activation, &mut gate, &mut up, &d).unwrap();
            gated_backward(&*device, activation, gate_up.rows(), d_matrix.rows(), shape).unwrap();
            assert_rounded(&gate_up.values(), &side_by_side(&[gate, up], inner));
            assert_rounded(&d_matrix.values(), &values);
        }
    }
}
