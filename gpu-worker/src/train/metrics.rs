//! `metrics.jsonl`: one line for each step and each validation, in the order in which they happened.

#[cfg(test)]
mod tests;

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
};

use clara_lifecycle::curve::{CurvePoint, StepPoint, ValidationPoint};
use serde::Serialize;

use super::{StepRecord, ValidationRecord};

/// Name of the file.
pub const METRICS_FILE: &str = "metrics.jsonl";

impl From<&StepRecord> for CurvePoint {
    fn from(record: &StepRecord) -> Self {
        let StepRecord { step, loss, learning_rate, grad_norm, .. } = *record;
        Self::Step(StepPoint { step, loss, learning_rate, grad_norm })
    }
}

impl From<&ValidationRecord> for CurvePoint {
    fn from(record: &ValidationRecord) -> Self {
        Self::Validation(ValidationPoint { step: record.step, validation_loss: record.loss })
    }
}

/// The whole file.
///
/// # Errors
/// When a record cannot be written as JSON.
pub fn metrics_lines(
    steps: &[StepRecord],
    validations: &[ValidationRecord],
) -> Result<Vec<u8>, serde_json::Error> {
    let mut lines = Vec::new();
    let mut validations = validations.iter().peekable();
    let mut validations_before = |step: u64, lines: &mut Vec<u8>| {
        while let Some(record) = validations.next_if(|record| record.step < step) {
            lines.extend(line(&CurvePoint::from(record))?);
        }
        Ok::<(), serde_json::Error>(())
    };
    for record in steps {
        validations_before(record.step, &mut lines)?;
        lines.extend(line(record)?);
    }
    validations_before(u64::MAX, &mut lines)?;
    Ok(lines)
}

/// The file of a training that goes on; whoever reads along sees every line as soon as it is measured.
#[derive(Debug)]
pub struct MetricsFile(File);

impl MetricsFile {
    /// Opens the file for a training that took `steps` and `validations` before. Lines that an interrupted attempt
    /// wrote after its newest checkpoint are dropped: they come again.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn open(path: &Path, steps: &[StepRecord], validations: &[ValidationRecord]) -> io::Result<Self> {
        let before = metrics_lines(steps, validations)?;
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut found = Vec::new();
        file.read_to_end(&mut found)?;
        if found.starts_with(&before) {
            // What others have read already stays in its place.
            file.set_len(before.len() as u64)?;
        } else {
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(&before)?;
        }
        file.seek(SeekFrom::End(0))?;
        Ok(Self(file))
    }

    /// Adds the line of a step.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn step(&mut self, record: &StepRecord) -> io::Result<()> {
        self.0.write_all(&line(record)?)
    }

    /// Adds the line of a validation.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn validation(&mut self, record: &ValidationRecord) -> io::Result<()> {
        self.0.write_all(&line(&CurvePoint::from(record))?)
    }
}

fn line(record: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    Ok(line)
}
