//! Element-wise building blocks that vectorise for the widest registers the running machine has, and scratch memory per thread.

use std::cell::RefCell;

/// Lanes of the widest f32 register (AVX-512); sums and maxima run in as many independent chains.
const LANES: usize = 16;

thread_local! {
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Runs `work` compiled for the best instruction set that the machine has; everything it calls must be `#[inline(always)]`.
#[inline]
pub(super) fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

/// Lends `length` values of this thread's scratch memory, with unspecified content. Must not be nested.
pub(super) fn with_scratch<R>(length: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    SCRATCH.with_borrow_mut(|scratch| {
        if scratch.len() < length {
            scratch.resize(length, 0.0);
        }
        let (lent, _) = scratch.split_at_mut(length);
        work(lent)
    })
}

/// `eˣ` for x in [-87, 88] (clamped), relative error below 3e-7: range reduction by ln 2 and a polynomial of degree 6.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    /// Adding and subtracting 1.5 · 2²³ rounds to the nearest whole number.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 in two parts, so that `n · ln 2` is exact enough.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 88.0);
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = x - n * LN_2_HIGH - n * LN_2_LOW;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_2e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 5e-1;
    // The lowest bits of `rounded` are n; a conversion to a whole number, with its checks, would not vectorise.
    let power = f32::from_bits(rounded.to_bits().wrapping_add(127) << 23);
    (p * r * r + r + 1.0) * power
}

/// Sum of `f(x)` over a slice, in [`LANES`] independent chains.
#[inline(always)]
#[expect(clippy::inline_always, reason = "must be compiled inside `vectorised`")]
pub(super) fn sum_of(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut lanes = [0.0_f32; LANES];
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += f(*value);
        }
    }
    lanes.iter().sum::<f32>() + rest.iter().map(|value| f(*value)).sum::<f32>()
}

/// Dot product of two slices of equal length, in [`LANES`] independent chains.
#[inline(always)]
#[expect(clippy::inline_always, reason = "must be compiled inside `vectorised`")]
pub(super) fn dot(x: &[f32], y: &[f32]) -> f32 {
    let (x_chunks, x_rest) = x.as_chunks::<LANES>();
    let (y_chunks, y_rest) = y.as_chunks::<LANES>();
    let mut lanes = [0.0_f32; LANES];
    for (x, y) in x_chunks.iter().zip(y_chunks) {
        for ((lane, x), y) in lanes.iter_mut().zip(x).zip(y) {
            *lane += x * y;
        }
    }
    lanes.iter().sum::<f32>() + x_rest.iter().zip(y_rest).map(|(x, y)| x * y).sum::<f32>()
}

/// Largest value of a slice, negative infinity for an empty one; NaN is passed over.
#[inline(always)]
#[expect(clippy::inline_always, reason = "must be compiled inside `vectorised`")]
pub(super) fn max(x: &[f32]) -> f32 {
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = if *value > *lane { *value } else { *lane };
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |largest, value| largest.max(*value))
}

/// Replaces each `x` by `e^(x - shift)` and returns their sum.
#[inline(always)]
#[expect(clippy::inline_always, reason = "must be compiled inside `vectorised`")]
pub(super) fn exp_in_place(x: &mut [f32], shift: f32) -> f32 {
    let (chunks, rest) = x.as_chunks_mut::<LANES>();
    let mut lanes = [0.0_f32; LANES];
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *value = exp(*value - shift);
            *lane += *value;
        }
    }
    let mut sum = lanes.iter().sum::<f32>();
    for value in rest {
        *value = exp(*value - shift);
        sum += *value;
    }
    sum
}

#[cfg(test)]
mod tests;
