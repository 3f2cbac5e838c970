//! Drawings of a training's curve: for a terminal and as SVG.

pub(crate) mod svg;
pub(crate) mod terminal;

use clara_lifecycle::curve::TrainingCurve;

/// The values between which something lies.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Range {
    low: f64,
    high: f64,
}

impl Range {
    /// From the least to the largest value; `None` without values.
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        values.fold(None, |range: Option<Self>, value| {
            let Self { low, high } = range.unwrap_or(Self { low: value, high: value });
            Some(Self { low: low.min(value), high: high.max(value) })
        })
    }

    /// Never without an extent, so that a place in it can be told.
    fn widened(self) -> Self {
        let Self { low, high } = self;
        if high > low {
            return self;
        }
        let margin = if low == 0.0 { 0.5 } else { low.abs() * 0.05 };
        Self { low: low - margin, high: high + margin }
    }

    /// Where a value lies: 0 at the low end, 1 at the high end.
    fn share(self, value: f64) -> f64 {
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }
}

/// All losses of a curve, of steps and validations.
fn losses(curve: &TrainingCurve) -> impl Iterator<Item = f64> {
    let validations = curve.validations.iter().map(|point| point.validation_loss);
    curve.steps.iter().map(|point| point.loss).chain(validations)
}

#[expect(clippy::cast_precision_loss, reason = "counts of steps and places in drawings are far below 2^53")]
fn real(count: impl TryInto<u64>) -> f64 {
    count.try_into().unwrap_or(u64::MAX) as f64
}
