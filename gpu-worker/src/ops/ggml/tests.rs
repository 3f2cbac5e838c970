//! Blocks against candle's readings, and their products against f64.

use candle_core::{
    Device, Tensor,
    quantized::{GgmlDType, QTensor},
};

use super::*;
use crate::ops::testing::random;

const FORMATS: [(BlockFormat, GgmlDType); 8] = [
    (BlockFormat::Q4_0, GgmlDType::Q4_0),
    (BlockFormat::Q4_1, GgmlDType::Q4_1),
    (BlockFormat::Q5_0, GgmlDType::Q5_0),
    (BlockFormat::Q5_1, GgmlDType::Q5_1),
    (BlockFormat::Q8_0, GgmlDType::Q8_0),
    (BlockFormat::Q4K, GgmlDType::Q4K),
    (BlockFormat::Q5K, GgmlDType::Q5K),
    (BlockFormat::Q6K, GgmlDType::Q6K),
];

/// Quantised random weights and the values that candle reads from them.
fn weights(
    (format, dtype): (BlockFormat, GgmlDType),
    [rows, columns]: [usize; 2],
) -> (BlockMatrix, Vec<f32>) {
    let values = Tensor::from_vec(random(7, rows * columns), (rows, columns), &Device::Cpu).unwrap();
    let stored = QTensor::quantize(&values, dtype).unwrap();
    let matrix = BlockMatrix::new(format, [rows, columns], &stored.data().unwrap(), |row| row).unwrap();
    let read = stored.dequantize(&Device::Cpu).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    (matrix, read)
}

#[test]
fn every_format_reads_the_values_that_candle_reads() {
    for (format, dtype) in FORMATS {
        for rows in [1, 16, 37] {
            let (matrix, expected) = weights((format, dtype), [rows, 768]);
            let mut values = vec![0.0; rows * 768];
            matrix.read_rows(0, &mut values);
            assert_eq!(values, expected, "{format:?}, {rows} rows");
            let last = expected.len() - 768;
            matrix.read_rows(rows - 1, &mut values[..768]);
            assert_eq!(values[..768], expected[last..], "the last row of {format:?}");
        }
    }
}

#[test]
fn blocks_take_about_as_much_memory_as_in_the_file() {
    for (format, dtype) in FORMATS {
        let (matrix, _) = weights((format, dtype), [64, 512]);
        let in_file = 64 * 512 / format.columns() * format.file_bytes();
        assert!(matrix.bytes() >= in_file, "{format:?}");
        assert!(matrix.bytes() <= in_file + in_file / 32, "{format:?}: {}", matrix.bytes());
    }
}

#[test]
fn rows_may_be_taken_over_in_another_order() {
    let (format, dtype) = FORMATS[1];
    let (matrix, expected) = weights((format, dtype), [20, 64]);
    let values = Tensor::from_vec(random(7, 20 * 64), (20, 64), &Device::Cpu).unwrap();
    let stored = QTensor::quantize(&values, dtype).unwrap();
    let turned = BlockMatrix::new(format, [20, 64], &stored.data().unwrap(), |row| 19 - row).unwrap();
    let mut row = vec![0.0; 64];
    turned.read_rows(3, &mut row);
    assert_eq!(row, expected[16 * 64..17 * 64]);
    assert_eq!(matrix.shape(), turned.shape());
}

#[test]
fn blocks_that_are_cut_off_are_refused() {
    let (format, dtype) = FORMATS[4];
    let values = Tensor::from_vec(random(7, 64), (2, 32), &Device::Cpu).unwrap();
    let stored = QTensor::quantize(&values, dtype).unwrap();
    let data = stored.data().unwrap();
    assert!(BlockMatrix::new(format, [2, 32], &data[1..], |row| row).is_err());
    assert!(BlockMatrix::new(format, [4, 16], &data, |row| row).is_err(), "a row of half a block");
}

/// `x · wᵀ` in f64, and how far rounding `x` to eight bits may take it.
fn reference(x: &[f32], w: &[f32]) -> (f64, f64) {
    let (mut sum, mut bound) = (0.0, 0.0);
    for (x, w) in x.chunks(32).zip(w.chunks(32)) {
        let largest = x.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        for (x, w) in x.iter().zip(w) {
            sum += f64::from(*x) * f64::from(*w);
            bound += f64::from(w.abs()) * f64::from(largest) * (0.5 / 127.0 + 1e-4);
        }
    }
    (sum, bound)
}

/// Runs the product on every instruction set that the machine has.
fn on_each_instruction_set(matrix: &BlockMatrix, x: Matrix<'_>, check: impl Fn(&str, &[f32])) {
    let [out, _] = matrix.shape();
    let activations = Activations::new(x);
    let run = |name: &str, work: &dyn Fn(Task<'_>)| {
        let mut values = vec![f32::NAN; x.rows() * out];
        let into = MatrixMut::new(&mut values, x.rows(), out).unwrap();
        work(Task { weights: matrix, panel: 0, into, accumulate: false });
        check(name, &values);
    };
    run("plain arrays", &|task| task.run_on(Portable, &activations));
    #[cfg(target_arch = "x86_64")]
    {
        if let Some(isa) = pulp::x86::V3::try_new() {
            run("AVX2", &|task| isa.vectorize(Vectorised { isa, task, x: &activations }));
        }
        if let Some(isa) = Vnni::try_new() {
            run("AVX-512 with VNNI", &|task| isa.vectorize(Vectorised { isa, task, x: &activations }));
        }
    }
}

#[test]
fn products_stay_within_the_rounding_of_activations() {
    for format in FORMATS {
        for (rows, out) in [(1, 16), (1, 3), (3, 40), (16, 33), (17, 33), (29, 33)] {
            let (matrix, w) = weights(format, [out, 512]);
            let x: Vec<f32> = random(11, rows * 512).iter().map(|value| 3.0 * value).collect();
            on_each_instruction_set(&matrix, Matrix::new(&x, rows, 512).unwrap(), |name, values| {
                for (row, x) in x.chunks(512).enumerate() {
                    for (column, w) in w.chunks(512).enumerate() {
                        let (expected, bound) = reference(x, w);
                        let got = f64::from(values[row * out + column]);
                        let error = (got - expected).abs();
                        assert!(error <= bound, "{format:?} on {name}, {rows} rows: {got}, not {expected}");
                    }
                }
            });
        }
    }
}

#[test]
fn the_largest_codes_do_not_overflow() {
    for format in FORMATS {
        let (rows, columns) = (16, 256);
        let values = Tensor::from_vec(vec![1.0_f32; rows * columns], (rows, columns), &Device::Cpu).unwrap();
        let stored = QTensor::quantize(&values, format.1).unwrap();
        let matrix = BlockMatrix::new(format.0, [rows, columns], &stored.data().unwrap(), |row| row).unwrap();
        let w: Vec<f32> = stored.dequantize(&Device::Cpu).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        for sign in [1.0, -1.0] {
            let x = vec![sign; columns];
            let (expected, bound) = reference(&x, &w[..columns]);
            on_each_instruction_set(&matrix, Matrix::new(&x, 1, columns).unwrap(), |name, values| {
                for got in values {
                    let error = (f64::from(*got) - expected).abs();
                    assert!(error <= bound, "{format:?} on {name}: {got}, not {expected}");
                }
            });
        }
    }
}

#[test]
fn products_of_one_input_may_be_added_to_what_is_there() {
    let (first, w) = weights(FORMATS[1], [48, 576]);
    let (second, _) = weights(FORMATS[4], [16, 576]);
    let x = random(3, 2 * 576);
    let x = Matrix::new(&x, 2, 576).unwrap();
    let (mut sums, mut others) = (vec![100.0; 2 * 48], vec![0.0; 2 * 16]);
    let products = vec![
        BlockProduct { weights: &first, into: MatrixMut::new(&mut sums, 2, 48).unwrap() },
        BlockProduct { weights: &second, into: MatrixMut::new(&mut others, 2, 16).unwrap() },
    ];
    multiply(x, products, true).unwrap();
    let (expected, bound) = reference(x.row(1), &w[47 * 576..]);
    assert!((f64::from(sums[2 * 48 - 1]) - 100.0 - expected).abs() <= bound + 1e-4);
    assert!(others.iter().all(|value| *value != 0.0));
}

#[test]
fn a_row_gives_the_same_bytes_alone_and_among_others() {
    for format in FORMATS {
        let (matrix, _) = weights(format, [48, 512]);
        let x = random(5, 19 * 512);
        let run = |x: &[f32]| {
            let results = std::cell::RefCell::new(Vec::new());
            on_each_instruction_set(&matrix, Matrix::new(x, x.len() / 512, 512).unwrap(), |_, values| {
                results.borrow_mut().push(values.to_vec());
            });
            results.into_inner()
        };
        let together = run(&x);
        for (row, x) in x.chunks(512).enumerate() {
            for (together, alone) in together.iter().zip(run(x)) {
                assert_eq!(together[row * 48..(row + 1) * 48], alone, "{format:?}, row {row}");
            }
        }
    }
}

#[test]
fn inputs_that_do_not_fit_are_refused() {
    let (matrix, _) = weights(FORMATS[0], [16, 64]);
    let x = [0.0; 32];
    let mut values = [0.0; 16];
    let into = MatrixMut::new(&mut values, 1, 16).unwrap();
    let products = vec![BlockProduct { weights: &matrix, into }];
    assert!(multiply(Matrix::new(&x, 1, 32).unwrap(), products, false).is_err());
}

#[test]
fn what_is_not_finite_gives_no_number_and_what_is_nearly_zero_gives_zero() {
    for format in FORMATS {
        let (matrix, _) = weights(format, [16, 256]);
        for rows in [1, 2] {
            for (bad, is_lost) in [(f32::NAN, true), (f32::NEG_INFINITY, true), (1e-38, false)] {
                let mut x = vec![0.0; rows * 256];
                x[rows * 256 - 3] = bad;
                on_each_instruction_set(&matrix, Matrix::new(&x, rows, 256).unwrap(), |name, values| {
                    let of_last = &values[(rows - 1) * 16..];
                    let is_right = |value: &f32| if is_lost { value.is_nan() } else { value.abs() < 1e-30 };
                    assert!(of_last.iter().all(is_right), "{bad} in {format:?} on {name}: {of_last:?}");
                });
            }
        }
    }
}

#[test]
fn a_product_over_no_columns_is_zero() {
    let matrix = BlockMatrix::new(BlockFormat::Q4_0, [16, 0], &[], |row| row).unwrap();
    for rows in [1, 3] {
        on_each_instruction_set(&matrix, Matrix::new(&[], rows, 0).unwrap(), |name, values| {
            assert_eq!(values, vec![0.0; rows * 16], "{name}");
        });
    }
}
