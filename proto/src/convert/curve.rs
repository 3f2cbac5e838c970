//! Points of a training's curve.

use clara_lifecycle::curve::{CurvePoint, StepPoint, ValidationPoint};

use super::{ConvertError, required};
use crate::v1::{self, curve_point::Point};

impl From<CurvePoint> for v1::CurvePoint {
    fn from(point: CurvePoint) -> Self {
        let point = match point {
            CurvePoint::Step(StepPoint { step, loss, learning_rate, grad_norm }) => {
                Point::Step(v1::StepPoint { step, loss, learning_rate, grad_norm })
            }
            CurvePoint::Validation(ValidationPoint { step, validation_loss }) => {
                Point::Validation(v1::ValidationPoint { step, validation_loss })
            }
        };
        Self { point: Some(point) }
    }
}

impl TryFrom<v1::CurvePoint> for CurvePoint {
    type Error = ConvertError;

    fn try_from(point: v1::CurvePoint) -> Result<Self, ConvertError> {
        Ok(match required("progress.points.point", point.point)? {
            Point::Step(point) => Self::Step(StepPoint {
                step: point.step,
                loss: finite("progress.points.step.loss", point.loss)?,
                learning_rate: finite("progress.points.step.learning_rate", point.learning_rate)?,
                grad_norm: finite("progress.points.step.grad_norm", point.grad_norm)?,
            }),
            Point::Validation(point) => {
                let loss = finite("progress.points.validation.validation_loss", point.validation_loss)?;
                Self::Validation(ValidationPoint { step: point.step, validation_loss: loss })
            }
        })
    }
}

/// Documents cannot hold anything else.
fn finite(field: &'static str, value: f64) -> Result<f64, ConvertError> {
    if value.is_finite() {
        return Ok(value);
    }
    Err(ConvertError::invalid(field, format!("{value}; expected a finite number")))
}
