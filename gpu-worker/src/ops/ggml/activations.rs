//! Activations rounded to eight bits, with one scale for each 32 of a row.

use rayon::prelude::*;

use super::{kernel::Run, layout::RUN};
use crate::ops::{matmul::Matrix, simd::vectorised};

/// Largest code.
const LARGEST: f32 = 127.0;

/// Rounded rows.
#[derive(Debug)]
pub(super) struct Activations {
    /// Runs of a row.
    runs: usize,
    values: Vec<Values>,
}

/// One run.
#[derive(Debug, Clone, Copy, Default)]
struct Values {
    words: [i32; 8],
    scale: f32,
    sums: [i32; 2],
}

/// A row of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a>(&'a [Values]);

impl Activations {
    /// Rounds `x [rows, columns]`; columns beyond the last whole 32 are left out.
    pub(super) fn new(x: Matrix<'_>) -> Self {
        let runs = x.columns() / RUN;
        let mut values = vec![Values::default(); x.rows() * runs];
        let round_row = |(row, values): (usize, &mut [Values])| {
            vectorised(
                #[inline(always)]
                || {
                    let (chunks, _) = x.row(row).as_chunks::<RUN>();
                    for (value, x) in values.iter_mut().zip(chunks) {
                        *value = round(x);
                    }
                },
            );
        };
        if x.rows() < 16 {
            values.chunks_exact_mut(runs.max(1)).enumerate().for_each(round_row);
        } else {
            values.par_chunks_exact_mut(runs.max(1)).enumerate().for_each(round_row);
        }
        Self { runs, values }
    }

    /// Rows from that index on, empty beyond the last one.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of a kernel")]
    pub(super) fn rows<const N: usize>(&self, start: usize) -> [Row<'_>; N] {
        let mut rows = [Row(&[]); N];
        for (row, index) in rows.iter_mut().zip(start..) {
            *row = Row(self.values.get(index * self.runs..(index + 1) * self.runs).unwrap_or_default());
        }
        rows
    }
}

impl<'a> Row<'a> {
    #[inline(always)]
    pub(super) fn run(self, index: usize) -> Run<'a> {
        const NONE: &Values = &Values { words: [0; 8], scale: 0.0, sums: [0; 2] };
        let values = self.0.get(index).unwrap_or(NONE);
        Run { words: &values.words, scale: values.scale, sums: values.sums }
    }
}

/// `x` as `scale · code` with codes from -127 to 127.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "codes are within ±127")]
fn round(x: &[f32; RUN]) -> Values {
    /// Adding and subtracting 1.5 · 2²³ rounds to the nearest whole number.
    const ROUND: f32 = 12_582_912.0;
    let mut lanes = [0.0_f32; 16];
    for chunk in x.as_chunks::<16>().0 {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = if value.abs() > *lane { value.abs() } else { *lane };
        }
    }
    let mut largest = 0.0_f32;
    for lane in lanes {
        largest = if lane > largest { lane } else { largest };
    }
    // What is no number must not become zero.
    let mut is_finite = true;
    for value in x {
        is_finite &= value.is_finite();
    }
    let scale = if is_finite { largest / LARGEST } else { f32::NAN };
    let inverse = if largest > 0.0 { LARGEST / largest } else { 0.0 };
    // Loops instead of `map`, whose closures would be compiled without the caller's instruction set.
    let mut codes = [0_i8; RUN];
    for (code, value) in codes.iter_mut().zip(x) {
        *code = ((value * inverse + ROUND) - ROUND) as i8;
    }
    let mut sums = [0; 2];
    for (sum, half) in sums.iter_mut().zip(codes.as_chunks::<{ RUN / 2 }>().0) {
        for code in half {
            *sum += i32::from(*code);
        }
    }
    let mut words = [0; 8];
    for (word, [a, b, c, d]) in words.iter_mut().zip(codes.as_chunks::<4>().0) {
        let bytes = [a.cast_unsigned(), b.cast_unsigned(), c.cast_unsigned(), d.cast_unsigned()];
        *word = i32::from_le_bytes(bytes);
    }
    Values { words, scale, sums }
}
