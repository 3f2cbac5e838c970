//! Checks sums of products against the definition.

#![expect(clippy::cast_possible_truncation, clippy::many_single_char_names, reason = "test values are small")]

use super::{Matrix, MatrixMut, OpError, Product, Term, multiply};
use crate::ops::testing::{assert_close, random};

fn naive(a: &[f32], b: &[f32], (m, n, k): (usize, usize, usize)) -> Vec<f32> {
    let mut c = vec![0.0; m * n];
    for i in 0..m {
        for j in 0..n {
            let sum: f64 = (0..k).map(|l| f64::from(a[i * k + l]) * f64::from(b[l * n + j])).sum();
            c[i * n + j] = sum as f32;
        }
    }
    c
}

#[test]
fn a_sum_of_products_agrees_with_the_definition_on_awkward_shapes() {
    for shape in [
        (1, 1, 1),
        (1, 70, 33),
        (3, 129, 16),
        (513, 65, 7),
        (17, 1, 64),
        (2, 4000, 5),
        (1, 64, 70),
        (3, 128, 5),
        (6, 192, 33),
        (8, 64, 9),
    ] {
        let (m, n, k) = shape;
        let (a, b, before) = (random(1, m * k), random(2, k * n), random(3, m * n));
        let mut into = before.clone();
        let term = Term { a: Matrix::new(&a, m, k).unwrap(), b: Matrix::new(&b, k, n).unwrap(), scale: 0.5 };
        let product = Product {
            into: MatrixMut::new(&mut into, m, n).unwrap(),
            accumulate: true,
            terms: vec![term, Term { scale: 1.0, ..term }],
        };
        multiply(vec![product]).unwrap();
        let expected: Vec<f32> = naive(&a, &b, shape)
            .iter()
            .zip(&before)
            .map(|(product, before)| before + 1.5 * product)
            .collect();
        assert_close(&into, &expected, 1e-5);
    }
}

#[test]
fn a_transposed_factor_reads_rows_as_columns() {
    let (x, w) = (random(1, 5 * 6), random(2, 7 * 6));
    let mut transposed = vec![0.0; 6 * 7];
    for i in 0..7 {
        for j in 0..6 {
            transposed[j * 7 + i] = w[i * 6 + j];
        }
    }
    let mut y = vec![0.0; 5 * 7];
    let term = Term {
        a: Matrix::new(&x, 5, 6).unwrap(),
        b: Matrix::new(&w, 7, 6).unwrap().transposed(),
        scale: 1.0,
    };
    let into = MatrixMut::new(&mut y, 5, 7).unwrap();
    multiply(vec![Product { into, accumulate: false, terms: vec![term] }]).unwrap();
    assert_close(&y, &naive(&x, &transposed, (5, 7, 6)), 1e-5);
}

#[test]
fn few_rows_agree_with_the_definition_at_every_remainder() {
    for (m, n, k) in [
        (1, 7, 64),
        (1, 39, 64),
        (3, 9, 70),
        (7, 5, 64),
        (2, 4, 100),
        (4, 200, 67),
        (6, 9, 129),
        (8, 5, 96),
        (9, 5, 96),
    ] {
        let (x, w, before) = (random(1, m * k), random(2, n * k), random(3, m * n));
        let mut transposed = vec![0.0; k * n];
        for (j, row) in w.chunks(k).enumerate() {
            for (l, value) in row.iter().enumerate() {
                transposed[l * n + j] = *value;
            }
        }
        let mut y = before.clone();
        let term = Term {
            a: Matrix::new(&x, m, k).unwrap(),
            b: Matrix::new(&w, n, k).unwrap().transposed(),
            scale: 2.0,
        };
        let into = MatrixMut::new(&mut y, m, n).unwrap();
        multiply(vec![Product { into, accumulate: true, terms: vec![term] }]).unwrap();
        let product = naive(&x, &transposed, (m, n, k));
        let expected: Vec<f32> =
            product.iter().zip(&before).map(|(product, before)| before + 2.0 * product).collect();
        assert_close(&y, &expected, 1e-5);
    }
}

#[test]
fn factors_that_do_not_fit_are_refused() {
    let (a, b) = (random(1, 6), random(2, 6));
    let mut y = vec![0.0; 4];
    let term = Term { a: Matrix::new(&a, 2, 3).unwrap(), b: Matrix::new(&b, 2, 3).unwrap(), scale: 1.0 };
    let into = MatrixMut::new(&mut y, 2, 2).unwrap();
    let refused = multiply(vec![Product { into, accumulate: false, terms: vec![term] }]).unwrap_err();
    assert!(matches!(refused, OpError::Shape { operand: "right factor", got: (2, 3), .. }));
}
