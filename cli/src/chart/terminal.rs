//! Draws a training's losses with dots of Braille: two in the width and four in the height of a character.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use clara_coordinator::chart::{Range, losses, real};
use clara_lifecycle::curve::TrainingCurve;

/// Characters that a drawing may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) width: usize,
    pub(crate) height: usize,
}

/// Lines below the curve: the axis, its ends and the legend.
const BELOW: usize = 3;
const NARROWEST: usize = 10;
const LOWEST: usize = 3;
/// Stands for a validation; as wide as any letter in every terminal.
const VALIDATION: char = 'o';
/// The dots of a Braille character, from its top: bits of the left and the right one.
const DOTS: [[u32; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];
const NO_DOT: u32 = 0x2800;

/// The curve in lines of text, without colours; `None` before the second step and where there is no room.
pub(crate) fn draw(curve: &TrainingCurve, room: Room) -> Option<Vec<String>> {
    let (first, last) = (curve.steps.first()?.step, curve.steps.last()?.step);
    if first == last {
        return None;
    }
    let loss = Range::of(losses(curve))?;
    let labels = [number(loss.high), number(loss.low)];
    let margin = labels.iter().map(String::len).max()?;
    let columns = room.width.checked_sub(margin + 2).filter(|columns| *columns >= NARROWEST)?;
    let rows = room.height.checked_sub(BELOW).filter(|rows| *rows >= LOWEST)?;
    let start = curve.validations.first().map_or(first, |point| point.step.min(first));
    let steps = Range { low: real(start), high: real(last) };
    let mut canvas = Canvas::new(columns, rows, steps, loss.widened());
    canvas.line(curve.steps.iter().map(|point| (real(point.step), point.loss)));
    for point in &curve.validations {
        canvas.mark(real(point.step), point.validation_loss);
    }
    let [high, low] = labels;
    let mut lines = Vec::new();
    for (index, row) in canvas.rows().into_iter().enumerate() {
        let (label, axis) = match index {
            0 => (high.as_str(), '┤'),
            index if index + 1 == rows => (low.as_str(), '┤'),
            _ => ("", '│'),
        };
        lines.push(format!("{label:>margin$} {axis}{row}").trim_end().to_owned());
    }
    let blank = " ".repeat(margin + 1);
    lines.push(format!("{blank}└{}", "─".repeat(columns)));
    let (start, end) = (format!("step {start}"), last.to_string());
    let gap = columns.saturating_sub(start.len());
    lines.push(format!("{blank} {start}{end:>gap$}"));
    lines.push(format!("{blank} {}", legend(curve)));
    Some(lines)
}

fn legend(curve: &TrainingCurve) -> String {
    let training = curve.steps.last().map(|point| format!("⠒ loss {}", number(point.loss)));
    let validation = curve
        .validations
        .last()
        .map(|point| format!("{VALIDATION} validation {}", number(point.validation_loss)));
    training.into_iter().chain(validation).collect::<Vec<_>>().join("   ")
}

/// A loss in as few digits as tell it from its neighbours.
fn number(loss: f64) -> String {
    if loss.abs() < 100.0 { format!("{loss:.3}") } else { format!("{loss:.0}") }
}

struct Canvas {
    columns: usize,
    rows: usize,
    steps: Range,
    loss: Range,
    /// Dots of the characters by row and column.
    dots: BTreeMap<(usize, usize), u32>,
    marks: BTreeMap<(usize, usize), char>,
}

impl Canvas {
    fn new(columns: usize, rows: usize, steps: Range, loss: Range) -> Self {
        Self { columns, rows, steps, loss, dots: BTreeMap::new(), marks: BTreeMap::new() }
    }

    /// Joins points, which come in order of their steps; those in one column of dots become one with their mean.
    fn line(&mut self, points: impl Iterator<Item = (f64, f64)>) {
        let mut columns: BTreeMap<usize, (f64, usize)> = BTreeMap::new();
        for (step, loss) in points {
            let (sum, count) = columns.entry(self.column(step)).or_default();
            (*sum, *count) = (*sum + loss, *count + 1);
        }
        let mut before: Option<(usize, usize)> = None;
        for (column, (sum, count)) in columns {
            let to = (column, self.row(sum / real(count)));
            self.join(before.unwrap_or(to), to);
            before = Some(to);
        }
    }

    fn join(&mut self, from: (usize, usize), to: (usize, usize)) {
        let parts = from.0.abs_diff(to.0).max(from.1.abs_diff(to.1)).max(1);
        for part in 0..=parts {
            let (column, row) = (between(from.0, to.0, part, parts), between(from.1, to.1, part, parts));
            let [left, right] = DOTS.get(row % 4).copied().unwrap_or_default();
            let dot = if column.is_multiple_of(2) { left } else { right };
            *self.dots.entry((row / 4, column / 2)).or_default() |= dot;
        }
    }

    fn mark(&mut self, step: f64, loss: f64) {
        let place = (self.row(loss) / 4, self.column(step) / 2);
        self.marks.insert(place, VALIDATION);
    }

    /// The column of dots of a step.
    fn column(&self, step: f64) -> usize {
        place(self.steps.share(step), self.columns * 2)
    }

    /// The row of dots of a loss, from the top.
    fn row(&self, loss: f64) -> usize {
        place(1.0 - self.loss.share(loss), self.rows * 4)
    }

    fn rows(&self) -> Vec<String> {
        let letter = |row: usize, column: usize| {
            let dots = self.dots.get(&(row, column)).and_then(|dots| char::from_u32(NO_DOT | dots));
            self.marks.get(&(row, column)).copied().or(dots).unwrap_or(' ')
        };
        (0..self.rows).map(|row| (0..self.columns).map(|column| letter(row, column)).collect()).collect()
    }
}

/// The dot of `count` at a share from 0 to 1.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count is one")]
fn place(share: f64, count: usize) -> usize {
    (share * real(count.saturating_sub(1))).round() as usize
}

/// The whole number nearest to `part` of `parts` of the way.
fn between(from: usize, to: usize, part: usize, parts: usize) -> usize {
    (from * (parts - part) + to * part + parts / 2) / parts
}
