//! An event as one line of text.

use std::fmt::{self, Write as _};

use clara_lifecycle::{log::LogLine, time::Timestamp};
use tracing::{
    Event,
    field::{Field, Visit},
};

/// A longer message is cut, in bytes.
const LONGEST_MESSAGE: usize = 4 << 10;

/// The line of an event; its number is chosen by its log.
pub(super) fn line_of(event: &Event<'_>, at: Timestamp) -> LogLine {
    let mut text = Text::default();
    event.record(&mut text);
    let metadata = event.metadata();
    let (target, level) = (metadata.target().to_owned(), super::level_of(*metadata.level()));
    LogLine { number: 0, at, level, target, message: text.line() }
}

/// Message first, then the fields.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    fn add(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let written = match field.name() {
            "message" => self.message.write_fmt(value),
            // Every line of a job's log is about that job.
            "job.id" => Ok(()),
            name => write!(self.fields, " {name}={value}"),
        };
        debug_assert!(written.is_ok(), "writing to a string failed");
    }

    fn line(self) -> String {
        let mut line = self.message + &self.fields;
        if line.len() > LONGEST_MESSAGE {
            let end = (0..=LONGEST_MESSAGE).rev().find(|end| line.is_char_boundary(*end)).unwrap_or(0);
            line.truncate(end);
            line.push('…');
        }
        line.trim().to_owned()
    }
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format_args!("{value:?}"));
    }
}
