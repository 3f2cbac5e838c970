//! The curve below the bar of a training, drawn anew as points come.

use std::time::{Duration, Instant};

use clara_lifecycle::{curve::TrainingCurve, job::JobEvent};

use crate::{
    chart::terminal::{self, Room},
    output::talk_size,
};

/// Who comes late sees many events at once; each needs no drawing.
const EVERY: Duration = Duration::from_millis(100);
/// A drawing larger than this shows no more.
const LARGEST: Room = Room { width: 100, height: 14 };
/// Lines of the terminal that are left for the bar and what was told.
const LEFT_FREE: u16 = 6;

/// A curve and how it was drawn last.
#[derive(Debug, Default)]
pub(super) struct CurveDrawing {
    curve: TrainingCurve,
    text: String,
    drawn_at: Option<Instant>,
}

impl CurveDrawing {
    /// Adds what an event tells.
    pub(super) fn see(&mut self, event: &JobEvent) {
        if !self.curve.see(event) || self.drawn_at.is_some_and(|at| at.elapsed() < EVERY) {
            return;
        }
        self.text = self.whole().unwrap_or_default().join("\n");
        self.drawn_at = Some(Instant::now());
    }

    /// As it was drawn last; empty while there is too little to draw.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The newest curve in the room that the terminal has.
    pub(super) fn whole(&self) -> Option<Vec<String>> {
        terminal::draw(&self.curve, room(talk_size()?))
    }
}

fn room((columns, rows): (u16, u16)) -> Room {
    // A line as wide as the terminal would make some of them break it.
    let width = usize::from(columns.saturating_sub(1)).min(LARGEST.width);
    Room { width, height: usize::from(rows.saturating_sub(LEFT_FREE)).min(LARGEST.height) }
}
