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
    sum: f32,
    sums: [i32; 2],
}

/// Rows one after another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows<'a> {
    runs: usize,
    values: &'a [Values],
}

/// One of them.
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

    /// `count` rows from that index on.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of a kernel")]
    pub(super) fn rows(&self, start: usize, count: usize) -> Rows<'_> {
        let values = self.values.get(start * self.runs..(start + count) * self.runs).unwrap_or_default();
        Rows { runs: self.runs.max(1), values }
    }
}

impl<'a> Rows<'a> {
    /// One after another.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of a kernel")]
    pub(super) fn iter(self) -> impl Iterator<Item = Row<'a>> {
        self.values.chunks_exact(self.runs).map(Row)
    }
}

impl<'a> Row<'a> {
    #[inline(always)]
    pub(super) fn run(self, index: usize) -> Run<'a> {
        const NONE: &Values = &Values { words: [0; 8], scale: 0.0, sum: 0.0, sums: [0; 2] };
        let Values { words, scale, sum, sums } = self.0.get(index).unwrap_or(NONE);
        Run { words, scale: *scale, sum: *sum, sums: *sums }
    }
}

/// `x` as `scale · code` with codes from -127 to 127; the scale is NaN where a value is not finite, and codes say nothing then.
///
/// Loops instead of `map`, whose closures would be compiled without the caller's instruction set, over whole numbers that may
/// wrap: checks would keep them from being vectorised.
#[inline(always)]
#[expect(clippy::cast_precision_loss, reason = "sums of 32 bytes")]
fn round(x: &[f32; RUN]) -> Values {
    /// Adding 1.5 · 2²³ rounds to the nearest whole number, which the lowest byte is then.
    const ROUND: f32 = 12_582_912.0;
    // Without their signs, bits are ordered as numbers are, with infinity and what is no number above all.
    let mut largest = 0;
    for value in x {
        largest = largest.max(value.to_bits() & !(1 << 31));
    }
    let largest = f32::from_bits(largest);
    let scale = if largest.is_finite() { largest / LARGEST } else { f32::NAN };
    // Not finite for zeros and for what is nearly zero, of which nothing is left.
    let inverse = LARGEST / largest;
    let inverse = if inverse.is_finite() { inverse } else { 0.0 };
    let mut codes = [0; RUN];
    for (code, value) in codes.iter_mut().zip(x) {
        *code = (value * inverse + ROUND).to_bits().cast_signed() << 24 >> 24;
    }
    let mut sums = [0_i32; 2];
    for (sum, half) in sums.iter_mut().zip(codes.as_chunks::<{ RUN / 2 }>().0) {
        for code in half {
            *sum = sum.wrapping_add(*code);
        }
    }
    let mut bytes = [0; RUN];
    for (byte, code) in bytes.iter_mut().zip(codes) {
        [*byte, ..] = code.to_le_bytes();
    }
    let mut words = [0; 8];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *word = i32::from_le_bytes(*bytes);
    }
    Values { words, scale, sum: scale * sums[0].wrapping_add(sums[1]) as f32, sums }
}
