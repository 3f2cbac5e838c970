//! Launches the kernels of `adamw.cu`, and that of `hold.cu`.

mod hold;

use crate::{
    cuda::{Address, Argument, Device, DeviceError, Launch, blocks},
    engine::StepOptions,
};
pub use hold::{HeldPart, hold_parts};

/// Values that give one partial sum.
const PARTIAL: usize = 65_536;
/// Values that share a class; where one tensor ends and another begins is a multiple of it.
pub const CLASS: usize = 256;

/// Partial sums of `count` values.
pub fn partials(count: usize) -> usize {
    count.div_ceil(PARTIAL)
}

fn long(count: usize) -> Argument {
    Argument::Long(i64::try_from(count).unwrap_or(i64::MAX))
}

/// Writes the sum of squares of `values` to `sum` in f64, through `partial_sums`; both in f64.
///
/// # Errors
/// [`DeviceError`] of the device.
pub fn sum_of_squares(
    device: &dyn Device,
    values: Address,
    count: usize,
    partial_sums: Address,
    sum: Address,
) -> Result<(), DeviceError> {
    device.launch(Launch {
        kernel: "square_sums",
        grid: [blocks(count, PARTIAL), 1, 1],
        threads: 256,
        shared_bytes: 0,
        arguments: &[values.into(), long(count), partial_sums.into()],
    })?;
    device.launch(Launch {
        kernel: "sum_partials",
        grid: [1, 1, 1],
        threads: 256,
        shared_bytes: 0,
        arguments: &[partial_sums.into(), partials(count).into(), sum.into()],
    })
}

/// Parameters with their gradients and moments in f32, all of equal length.
#[derive(Debug, Clone, Copy)]
pub struct DeviceParameters {
    /// What is optimised.
    pub values: Address,
    /// Gradients; zeroed.
    pub gradients: Address,
    /// Running mean of gradients.
    pub first_moments: Address,
    /// Running mean of squared gradients.
    pub second_moments: Address,
    /// For each [`CLASS`] values whether they are of a `B` (1) or not (0), in bytes.
    pub classes: Address,
    /// How many.
    pub count: usize,
}

/// Takes the `step`-th AdamW step, counted from 1, on gradients multiplied by `clip`, as [`super::adamw`] does.
///
/// # Errors
/// [`DeviceError`] of the device.
#[expect(clippy::cast_possible_truncation, reason = "factors are computed in f64 and applied in f32")]
pub fn adamw(
    device: &dyn Device,
    parameters: DeviceParameters,
    clip: f32,
    step: u64,
    options: &StepOptions,
) -> Result<(), DeviceError> {
    let (beta_1, beta_2) = options.betas;
    let exponent = i32::try_from(step).unwrap_or(i32::MAX);
    let correction_1 = 1.0 - beta_1.powi(exponent);
    let keep = |rate: f64| (1.0 - rate * options.weight_decay) as f32;
    let step_size = |rate: f64| (rate / correction_1) as f32;
    let b_rate = options.learning_rate * options.b_rate_ratio;
    device.launch(Launch {
        kernel: "adamw",
        grid: [blocks(parameters.count, CLASS * 4).min(4096), 1, 1],
        threads: CLASS as u32,
        shared_bytes: 0,
        arguments: &[
            parameters.values.into(),
            parameters.gradients.into(),
            parameters.first_moments.into(),
            parameters.second_moments.into(),
            parameters.classes.into(),
            long(parameters.count),
            clip.into(),
            keep(options.learning_rate).into(),
            step_size(options.learning_rate).into(),
            keep(b_rate).into(),
            step_size(b_rate).into(),
            ((1.0 - beta_1) as f32).into(),
            (beta_2 as f32).into(),
            ((1.0 - beta_2) as f32).into(),
            ((1.0 - beta_2.powi(exponent)).sqrt() as f32).into(),
            (options.eps as f32).into(),
        ],
    })
}

#[cfg(test)]
mod tests;
