//! Lines of logs.

use clara_lifecycle::{
    id::{Attempt, Fence},
    log::{LogLevel, LogLine, LogPart, LogPosition},
    stage::Stage,
    time::Timestamp,
};

use super::{ConvertError, names::known, required};
use crate::v1;

/// The wire form of a point in time.
pub fn time_to_wire(at: Timestamp) -> prost_types::Timestamp {
    let nanos = i32::try_from(at.0.rem_euclid(1000) * 1_000_000).unwrap_or_default();
    prost_types::Timestamp { seconds: at.0.div_euclid(1000), nanos }
}

fn time_of_wire(at: prost_types::Timestamp) -> Timestamp {
    Timestamp(at.seconds.saturating_mul(1000).saturating_add(i64::from(at.nanos) / 1_000_000))
}

impl From<LogLine> for v1::LogLine {
    fn from(line: LogLine) -> Self {
        let LogLine { number, at, level, target, message } = line;
        let level = v1::LogLevel::from(level).into();
        Self { number, at: Some(time_to_wire(at)), level, target, message }
    }
}

impl TryFrom<v1::LogLine> for LogLine {
    type Error = ConvertError;

    fn try_from(line: v1::LogLine) -> Result<Self, ConvertError> {
        if line.number == 0 {
            return Err(ConvertError::invalid("lines.number", "0; lines are numbered from 1"));
        }
        Ok(Self {
            number: line.number,
            at: time_of_wire(required("lines.at", line.at)?),
            level: known::<v1::LogLevel, LogLevel>("lines.level", line.level)?,
            target: line.target,
            message: line.message,
        })
    }
}

impl From<LogPart> for v1::ReadLogResponse {
    fn from(part: LogPart) -> Self {
        let LogPart { stage, attempt, fence, lines } = part;
        let stage = v1::Stage::from(stage).into();
        Self { stage, attempt: attempt.0, fence: fence.0, lines: lines.into_iter().map(Into::into).collect() }
    }
}

impl TryFrom<v1::ReadLogResponse> for LogPart {
    type Error = ConvertError;

    fn try_from(part: v1::ReadLogResponse) -> Result<Self, ConvertError> {
        Ok(Self {
            stage: known::<v1::Stage, Stage>("stage", part.stage)?,
            attempt: Attempt(part.attempt),
            fence: Fence(part.fence),
            lines: part.lines.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
        })
    }
}

impl From<LogPosition> for v1::LogPosition {
    fn from(position: LogPosition) -> Self {
        Self { fence: position.fence.0, line: position.line }
    }
}

impl From<v1::LogPosition> for LogPosition {
    fn from(position: v1::LogPosition) -> Self {
        Self { fence: Fence(position.fence), line: position.line }
    }
}
