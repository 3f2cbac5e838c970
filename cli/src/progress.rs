//! Shows how far a job is: bars on a terminal, elsewhere one line per 10 % or every 10 seconds; always on standard error.

mod drawing;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use clara_coordinator::words;
use clara_lifecycle::{attempt::Progress, job::JobEvent, stage::Stage, time::Timestamp};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use drawing::CurveDrawing;

use crate::{
    figures,
    follow::NumberedEvent,
    output::{Output, complain, talks_to_terminal},
};

/// Off a terminal, a note about what is waited for is shown this often.
const NOTE_EVERY: Duration = Duration::from_secs(30);
/// Off a terminal, work of unknown extent is told this often.
const COUNT_EVERY: Duration = Duration::from_secs(10);

/// Shows events of one job.
#[derive(Debug)]
pub(crate) struct ProgressView {
    style: Style,
    /// The name under which a stage is shown.
    step: fn(Stage) -> &'static str,
    /// Events before it were shown to an earlier follower.
    since: Timestamp,
    stage: Option<Stage>,
    /// Last tenth that was told for the stage.
    tenth: Option<u64>,
    /// When a note was last shown, off a terminal.
    noted_at: Option<Instant>,
    /// When work of unknown extent was last told for the stage, off a terminal.
    counted_at: Option<Instant>,
    /// What was told last, so that it is not told twice.
    told: String,
    /// Drawn below the bar of the training, for who watches.
    drawing: Option<CurveDrawing>,
}

#[derive(Debug)]
enum Style {
    Silent,
    Lines,
    Bars { bar: Option<ProgressBar> },
}

impl ProgressView {
    /// Shows events from `since` on in the way that fits the place where standard error goes.
    pub(crate) fn new(output: Output, since: Timestamp) -> Self {
        let style = if output.quiet {
            Style::Silent
        } else if talks_to_terminal() {
            Style::Bars { bar: None }
        } else {
            Style::Lines
        };
        Self {
            style,
            step: words::step,
            since,
            stage: None,
            tenth: None,
            noted_at: None,
            counted_at: None,
            told: String::new(),
            drawing: None,
        }
    }

    /// Shows a stage that no job has, under its own name.
    pub(crate) fn alone(mut self) -> Self {
        self.step = Stage::as_str;
        self
    }

    /// Draws the losses of the training too, where bars are drawn.
    pub(crate) fn with_curve(mut self) -> Self {
        if matches!(self.style, Style::Bars { .. }) {
            self.drawing = Some(CurveDrawing::default());
        }
        self
    }

    /// Shows one event.
    pub(crate) fn see(&mut self, event: &NumberedEvent) {
        if matches!(self.style, Style::Silent) || event.at < self.since {
            return;
        }
        if let Some(drawing) = &mut self.drawing {
            drawing.see(&event.event);
        }
        match &event.event {
            JobEvent::Claimed { stage, .. } => self.begin(*stage),
            JobEvent::Progressed { stage, progress } => self.advance(*stage, progress),
            JobEvent::Succeeded { .. } => self.end_bar(),
            _ => {}
        }
        if let Some(text) = words::of_event(&event.event) {
            self.tell(text);
        }
    }

    /// Ends the display; what comes next may print.
    pub(crate) fn finish(&mut self) {
        self.end_bar();
    }

    fn begin(&mut self, stage: Stage) {
        self.end_bar();
        self.stage = Some(stage);
        self.tenth = None;
        self.counted_at = None;
        let worth_a_bar = !matches!(stage, Stage::Gate | Stage::Rollout);
        if let Style::Bars { bar } = &mut self.style
            && worth_a_bar
        {
            let new = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
            new.set_style(spinner());
            new.set_prefix((self.step)(stage));
            new.enable_steady_tick(Duration::from_millis(200));
            *bar = Some(new);
        }
    }

    fn advance(&mut self, stage: Stage, progress: &Progress) {
        if self.stage != Some(stage) {
            self.begin(stage);
        }
        match &self.style {
            Style::Bars { bar: Some(bar) } => draw(bar, progress, below(stage, self.drawing.as_ref())),
            Style::Bars { bar: None } | Style::Silent => {}
            Style::Lines => {
                let line = if !progress.note.is_empty() {
                    self.note(&progress.note, Instant::now())
                } else if progress.total.is_some() {
                    self.line(stage, progress)
                } else {
                    self.count(stage, progress, Instant::now())
                };
                if let Some(text) = line {
                    self.tell(text);
                }
            }
        }
    }

    /// The line for a note, unless one was shown a moment ago.
    fn note(&mut self, note: &str, now: Instant) -> Option<String> {
        if self.noted_at.is_some_and(|told| now.duration_since(told) < NOTE_EVERY) {
            return None;
        }
        self.noted_at = Some(now);
        Some(figures::plain(note))
    }

    /// The line for a tenth that was not told yet.
    fn line(&mut self, stage: Stage, progress: &Progress) -> Option<String> {
        let total = progress.total.filter(|total| *total > 0)?;
        let tenth = progress.done.min(total) * 10 / total;
        if tenth == 0 || self.tenth.is_some_and(|told| tenth <= told) {
            return None;
        }
        self.tenth = Some(tenth);
        Some(words::of_progress((self.step)(stage), progress, total))
    }

    /// The line for work of unknown extent, unless one was shown a moment ago; none before its speed is known.
    fn count(&mut self, stage: Stage, progress: &Progress, now: Instant) -> Option<String> {
        if self.counted_at.is_some_and(|told| now.duration_since(told) < COUNT_EVERY) {
            return None;
        }
        let figures = words::figures(progress);
        if progress.done == 0 || figures.is_empty() {
            return None;
        }
        self.counted_at = Some(now);
        Some(format!("{}: {} {}, {figures}", (self.step)(stage), progress.done, progress.unit))
    }

    fn tell(&mut self, text: String) {
        if text == self.told {
            return;
        }
        match &self.style {
            Style::Bars { bar: Some(bar) } => bar.println(&text),
            Style::Bars { bar: None } | Style::Lines => complain(&text),
            Style::Silent => {}
        }
        self.told = text;
    }

    fn end_bar(&mut self) {
        if let Style::Bars { bar } = &mut self.style
            && let Some(bar) = bar.take()
        {
            bar.finish_and_clear();
            // What was drawn last stays on the screen.
            let whole = self.drawing.as_ref().filter(|_| self.stage == Some(Stage::Train));
            if let Some(lines) = whole.and_then(CurveDrawing::whole) {
                complain(&lines.join("\n"));
            }
        }
    }
}

/// What stands below the bar of a stage.
fn below(stage: Stage, drawing: Option<&CurveDrawing>) -> &str {
    drawing.filter(|_| stage == Stage::Train).map_or("", CurveDrawing::text)
}

fn draw(bar: &ProgressBar, progress: &Progress, below: &str) {
    if let Some(total) = progress.total.filter(|total| *total > 0) {
        if bar.length() != Some(total) {
            bar.set_length(total);
            bar.set_style(measured());
        }
        bar.set_position(progress.done.min(total));
    }
    let figures = words::figures(progress);
    let unit = match progress.total {
        // The bar shows no count then.
        None if progress.done > 0 => format!("{} {}", progress.done, progress.unit),
        None | Some(_) => progress.unit.clone(),
    };
    let message = match (progress.note.as_str(), figures.as_str()) {
        ("", "") => unit,
        ("", figures) => format!("{unit}  {figures}"),
        (note, _) => figures::plain(note),
    };
    bar.set_message(if below.is_empty() { message } else { format!("{message}\n{below}") });
}

/// Before the total is known. The templates are constants that are valid; a plain bar would do as well.
fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{prefix} {spinner} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn measured() -> ProgressStyle {
    ProgressStyle::with_template("{prefix} [{bar:24}] {percent:>3} %  {pos}/{len} {msg}")
        .map_or_else(|_| ProgressStyle::default_bar(), |style| style.progress_chars("=> "))
}
