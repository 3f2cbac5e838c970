//! Rotary position embedding in the half-split layout of Llama, with linear and Llama 3 frequency scaling.

pub mod cuda;

use std::f32::consts::TAU;

use rayon::prelude::*;

use super::{OpError, ROWS_PER_TASK, check_length, simd::vectorised};
use crate::model::{Llama3Scaling, ModelConfig, RopeScaling};

const OPERATION: &str = "rotary embedding";

/// Which way to rotate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// As the forward pass does.
    Forward,
    /// Back by the same angle, which turns gradients of rotated values into gradients of the originals.
    Backward,
}

/// The tables of a model: layers that see a window may rotate by angles of their own.
#[derive(Debug, Clone)]
pub struct Ropes {
    all: RopeTable,
    windowed: Option<RopeTable>,
}

impl Ropes {
    /// The tables of a model, with no position yet.
    pub fn new(config: &ModelConfig) -> Self {
        let windowed = config.variant.windowed_rope_theta;
        Self {
            all: RopeTable::new(config.head_dim, config.rope_theta, config.rope_scaling),
            windowed: windowed.map(|theta| RopeTable::new(config.head_dim, theta, None)),
        }
    }

    /// Makes positions `0..count` available.
    pub fn reserve(&mut self, count: usize) {
        self.all.reserve(count);
        if let Some(windowed) = &mut self.windowed {
            windowed.reserve(count);
        }
    }

    /// The table of most layers, and that of windowed ones where it differs.
    pub(crate) fn all(&mut self) -> (&mut RopeTable, Option<&mut RopeTable>) {
        (&mut self.all, self.windowed.as_mut())
    }

    /// The table of a layer.
    pub fn of(&self, is_windowed: bool) -> &RopeTable {
        self.windowed.as_ref().filter(|_| is_windowed).unwrap_or(&self.all)
    }
}

/// Cosines and sines of every position so far asked for.
#[derive(Debug, Clone)]
pub struct RopeTable {
    frequencies: Vec<f32>,
    /// `[positions, head_dim / 2]`
    cosines: Vec<f32>,
    sines: Vec<f32>,
}

impl RopeTable {
    /// A table for heads of width `head_dim`, with no position yet.
    fn new(head_dim: usize, theta: f32, scaling: Option<RopeScaling>) -> Self {
        let frequencies = frequencies(head_dim, theta, scaling);
        Self { frequencies, cosines: Vec::new(), sines: Vec::new() }
    }

    /// Makes positions `0..count` available.
    #[expect(clippy::cast_precision_loss, reason = "positions are far below 2²⁴")]
    fn reserve(&mut self, count: usize) {
        let known = self.cosines.len() / self.frequencies.len().max(1);
        for position in known..count {
            for frequency in &self.frequencies {
                let (sine, cosine) = (position as f32 * frequency).sin_cos();
                self.cosines.push(cosine);
                self.sines.push(sine);
            }
        }
    }

    /// Cosines and sines of the positions `0..count`, each `[count, head_dim / 2]`.
    pub(crate) fn tables(&mut self, count: usize) -> (&[f32], &[f32]) {
        self.reserve(count);
        let values = count * self.frequencies.len();
        (self.cosines.get(..values).unwrap_or_default(), self.sines.get(..values).unwrap_or_default())
    }

    /// Rotates every head of row `i` of `x [rows, heads · head_dim]` by the angle of `positions[i]`, in place.
    ///
    /// # Errors
    /// [`OpError::Length`] when `x` is no whole number of heads per position, [`OpError::Index`] for a position not reserved.
    pub fn rotate(&self, x: &mut [f32], positions: &[usize], rotation: Rotation) -> Result<(), OpError> {
        let half = self.frequencies.len();
        let row = x.len() / positions.len().max(1);
        check_length(OPERATION, "x", x.len(), row / (2 * half) * (2 * half) * positions.len())?;
        let limit = self.cosines.len() / half;
        if let Some(got) = positions.iter().copied().find(|position| *position >= limit) {
            return Err(OpError::Index { operation: OPERATION, operand: "position", got, limit });
        }
        let sign = if rotation == Rotation::Forward { 1.0 } else { -1.0 };
        x.par_chunks_mut(row * ROWS_PER_TASK).zip(positions.par_chunks(ROWS_PER_TASK)).for_each(
            |(x, positions)| {
                vectorised(
                    #[inline(always)]
                    || {
                        for (row, position) in x.chunks_exact_mut(row).zip(positions) {
                            let angles = position * half..(position + 1) * half;
                            if let (Some(cosines), Some(sines)) =
                                (self.cosines.get(angles.clone()), self.sines.get(angles))
                            {
                                rotate_row(row, cosines, sines, sign);
                            }
                        }
                    },
                );
            },
        );
        Ok(())
    }
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "must be compiled inside `vectorised`")]
fn rotate_row(row: &mut [f32], cosines: &[f32], sines: &[f32], sign: f32) {
    for head in row.chunks_exact_mut(2 * cosines.len()) {
        let (left, right) = head.split_at_mut(cosines.len());
        for (((left, right), cosine), sine) in left.iter_mut().zip(right).zip(cosines).zip(sines) {
            let (x, y, sine) = (*left, *right, sine * sign);
            *left = x * cosine - y * sine;
            *right = y * cosine + x * sine;
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a head is far narrower than 2²⁴")]
fn frequencies(head_dim: usize, theta: f32, scaling: Option<RopeScaling>) -> Vec<f32> {
    let dim = head_dim as f32;
    (0..head_dim / 2)
        .map(|i| 1.0 / theta.powf((2 * i) as f32 / dim))
        .map(|frequency| match scaling {
            None => frequency,
            Some(RopeScaling::Linear { factor }) => frequency / factor,
            Some(RopeScaling::Llama3(scaling)) => scaled(frequency, scaling),
        })
        .collect()
}

/// Divides low frequencies by the factor, keeps high ones, and blends linearly between.
#[expect(clippy::cast_precision_loss, reason = "a context length is far below 2²⁴")]
fn scaled(frequency: f32, scaling: Llama3Scaling) -> f32 {
    let original = scaling.original_max_positions as f32;
    let wavelength = TAU / frequency;
    if wavelength < original / scaling.high_freq_factor {
        return frequency;
    }
    if wavelength > original / scaling.low_freq_factor {
        return frequency / scaling.factor;
    }
    let share = (original / wavelength - scaling.low_freq_factor)
        / (scaling.high_freq_factor - scaling.low_freq_factor);
    (1.0 - share) * frequency / scaling.factor + share * frequency
}

#[cfg(test)]
mod tests;
