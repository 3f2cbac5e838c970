//! What every drawing of a training's curve needs, and the drawing as SVG.

pub mod svg;

use clara_lifecycle::curve::TrainingCurve;

/// The values between which something lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// The least one.
    pub low: f64,
    /// The largest one.
    pub high: f64,
}

impl Range {
    /// From the least to the largest value; `None` without values.
    pub fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        values.fold(None, |range: Option<Self>, value| {
            let Self { low, high } = range.unwrap_or(Self { low: value, high: value });
            Some(Self { low: low.min(value), high: high.max(value) })
        })
    }

    /// Never without an extent, so that a place in it can be told.
    #[must_use]
    pub fn widened(self) -> Self {
        let Self { low, high } = self;
        if high > low {
            return self;
        }
        let margin = if low == 0.0 { 0.5 } else { low.abs() * 0.05 };
        Self { low: low - margin, high: high + margin }
    }

    /// Where a value lies: 0 at the low end, 1 at the high end.
    pub fn share(self, value: f64) -> f64 {
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }
}

/// All losses of a curve, of steps and validations.
pub fn losses(curve: &TrainingCurve) -> impl Iterator<Item = f64> {
    let validations = curve.validations.iter().map(|point| point.validation_loss);
    curve.steps.iter().map(|point| point.loss).chain(validations)
}

/// A count as a number to draw with.
#[expect(clippy::cast_precision_loss, reason = "counts of steps and places in drawings are far below 2^53")]
pub fn real(count: impl TryInto<u64>) -> f64 {
    count.try_into().unwrap_or(u64::MAX) as f64
}
