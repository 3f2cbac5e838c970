//! Collects what is logged while an attempt is carried out, so that it can be sent to the coordinator.
//!
//! A layer beside the one that writes to standard error: it takes what is said inside a span named `stage.attempt`,
//! whatever the log filter of the process is.

use std::{collections::VecDeque, sync::Arc};

use clara_lifecycle::log::{LogLevel, LogLine};
use parking_lot::Mutex;
use tracing::{Event, Level, Metadata, Span, Subscriber, span};
use tracing_subscriber::{
    Layer, Registry,
    filter::FilterFn,
    layer::{Context, Filter},
    registry::LookupSpan,
};

use crate::clock::{Clock, SystemClock};
use text::line_of;

#[cfg(test)]
mod tests;
mod text;

/// The span inside of which lines are collected.
const ATTEMPT_SPAN: &str = "stage.attempt";

/// Lines that wait to be sent; beyond it the oldest are dropped.
const MOST_LINES: usize = 2_000;
/// Their text, in bytes.
const MOST_BYTES: usize = 256 << 10;

/// The lines of one attempt that were not sent yet. Clones are the same log.
#[derive(Debug, Clone, Default)]
pub struct AttemptLog(Arc<Mutex<Buffer>>);

#[derive(Debug, Default)]
struct Buffer {
    lines: VecDeque<LogLine>,
    bytes: usize,
    /// Lines so far, sent and dropped ones too.
    said: u64,
    dropped: u64,
}

impl AttemptLog {
    /// The log of a span named `stage.attempt`; `None` when logs are not collected in this process.
    pub fn of(span: &Span) -> Option<Self> {
        let found = span.with_subscriber(|(id, subscriber)| {
            let registry = subscriber.downcast_ref::<Registry>()?;
            registry.span(id)?.extensions().get::<Self>().cloned()
        });
        found.flatten()
    }

    /// The lines that were not sent yet, oldest first.
    pub fn unsent(&self) -> Vec<LogLine> {
        self.0.lock().lines.iter().cloned().collect()
    }

    /// Forgets the lines up to number `last`: they were sent.
    pub fn sent(&self, last: u64) {
        let mut buffer = self.0.lock();
        while buffer.lines.front().is_some_and(|line| line.number <= last) {
            buffer.drop_first();
        }
    }

    /// How many lines were dropped because too many waited.
    pub fn dropped(&self) -> u64 {
        self.0.lock().dropped
    }

    /// Adds a line, for which it chooses the number.
    fn push(&self, mut line: LogLine) {
        let mut buffer = self.0.lock();
        buffer.said += 1;
        line.number = buffer.said;
        buffer.bytes += size(&line);
        buffer.lines.push_back(line);
        while buffer.lines.len() > MOST_LINES || buffer.bytes > MOST_BYTES {
            buffer.drop_first();
            buffer.dropped += 1;
        }
    }
}

impl Buffer {
    fn drop_first(&mut self) {
        if let Some(line) = self.lines.pop_front() {
            self.bytes -= size(&line);
        }
    }
}

fn size(line: &LogLine) -> usize {
    line.target.len() + line.message.len()
}

/// The layer that collects lines.
#[derive(Debug, Default)]
struct Capture;

/// A layer that collects what is said in attempts, with its own filter.
pub(crate) fn layer<S>() -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    Capture.with_filter(wanted())
}

/// Attempts, our own lines from `info` on, and what libraries warn of.
fn wanted<S>() -> impl Filter<S>
where
    S: Subscriber,
{
    let is_wanted = |metadata: &Metadata<'_>| {
        // Every span costs each time that work goes on inside it.
        if metadata.is_span() {
            return metadata.name() == ATTEMPT_SPAN;
        }
        let ours = metadata.target().starts_with("clara");
        let limit = if ours { Level::INFO } else { Level::WARN };
        // That an attempt began and ended say the events of its job.
        let told =
            *metadata.level() == Level::INFO && metadata.target() == "clara_runtime::worker_loop::attempt";
        *metadata.level() <= limit && !told
    };
    FilterFn::new(is_wanted).with_max_level_hint(Level::INFO)
}

impl<S> Layer<S> for Capture
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        if attributes.metadata().name() == ATTEMPT_SPAN
            && let Some(span) = context.span(id)
        {
            span.extensions_mut().insert(AttemptLog::default());
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let Some(scope) = context.event_scope(event) else { return };
        for span in scope {
            if span.name() != ATTEMPT_SPAN {
                continue;
            }
            let log = span.extensions().get::<AttemptLog>().cloned();
            if let Some(log) = log {
                log.push(line_of(event, SystemClock.now()));
            }
            return;
        }
    }
}

fn level_of(level: Level) -> LogLevel {
    match level {
        Level::ERROR => LogLevel::Error,
        Level::WARN => LogLevel::Warn,
        _ => LogLevel::Info,
    }
}
