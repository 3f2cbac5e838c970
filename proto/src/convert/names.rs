//! Enumerations: an unspecified or unknown value is refused by name and number.

use clara_lifecycle::{
    calibration::CalibrationState,
    gate::{Decision, GateMode},
    log::LogLevel,
    spec::{AdapterInit, Method, Overlong, PersonalData, RecordOrder, RecordShape, Schedule},
    stage::Stage,
};

use super::ConvertError;
use crate::v1;

macro_rules! enumeration {
    ($domain:ty, $wire:ty, $field:literal, { $($variant:ident),+ }) => {
        impl From<$domain> for $wire {
            fn from(value: $domain) -> Self {
                match value { $(<$domain>::$variant => Self::$variant),+ }
            }
        }

        impl TryFrom<$wire> for $domain {
            type Error = ConvertError;

            fn try_from(value: $wire) -> Result<Self, ConvertError> {
                match value {
                    $(<$wire>::$variant => Ok(Self::$variant),)+
                    <$wire>::Unspecified => {
                        Err(ConvertError { field: $field, reason: "is unspecified; say which one".to_owned() })
                    }
                }
            }
        }
    };
}

enumeration!(Stage, v1::Stage, "stage", { Ingest, Train, Generate, Judge, Gate, Rollout });
enumeration!(Method, v1::Method, "method", { Lora, Qlora, Dora });
enumeration!(Schedule, v1::Schedule, "schedule", { Constant, Linear, Cosine, WarmupStableDecay });
enumeration!(AdapterInit, v1::AdapterInit, "adapter init", { Default, Pissa });
enumeration!(Overlong, v1::Overlong, "overlong", { Split, Drop });
enumeration!(PersonalData, v1::PersonalData, "personal data", { Mask, Keep, Drop });
enumeration!(RecordShape, v1::RecordShape, "record shape", { Text, Completion, Instruction });
enumeration!(RecordOrder, v1::RecordOrder, "record order", { Source, Shuffle, Curriculum });
enumeration!(GateMode, v1::GateMode, "gate.mode", { Point, Bounds });
enumeration!(LogLevel, v1::LogLevel, "level", { Info, Warn, Error });
enumeration!(CalibrationState, v1::CalibrationState, "calibration state", { Uncalibrated, Stale, Calibrated });
enumeration!(Decision, v1::Decision, "decision", { Approve, Review, Reject, Inconclusive, Error });

/// The domain value of an enumeration's number.
pub(crate) fn known<W, D>(field: &'static str, number: i32) -> Result<D, ConvertError>
where
    W: TryFrom<i32>,
    D: TryFrom<W, Error = ConvertError>,
{
    let wire = W::try_from(number).map_err(|_| ConvertError {
        field,
        reason: format!("has the unknown value {number}; the sender may be newer than this program"),
    })?;
    D::try_from(wire).map_err(|error| ConvertError { field, ..error })
}
