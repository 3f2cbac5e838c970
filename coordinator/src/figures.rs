//! How numbers, times and sizes look for people.

#[cfg(test)]
mod tests;

use std::time::Duration;

use clara_lifecycle::{adapter::Family, time::Timestamp};

/// What stands for a value that is not there.
pub const NONE: &str = "–";

/// A number with some decimals, or a dash.
pub fn number(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| NONE.to_owned(), |value| format!("{value:.decimals$}"))
}

/// Decimals of a metric of a version: what is counted has none.
pub fn decimals(metric: &str) -> usize {
    if metric == Family::EVALUATIONS { 0 } else { 3 }
}

/// A share (0–1) in per cent, or a dash.
pub fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| NONE.to_owned(), |share| format!("{:.1} %", share * 100.0))
}

/// A point in time in UTC, to the second.
pub fn time(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.0)
        .map_or_else(|_| NONE.to_owned(), |at| at.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// A time span in at most two units.
pub fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// How long ago something was, in its largest unit.
pub fn age(age: Duration) -> String {
    const UNITS: [(&str, u64); 3] = [("day", 86_400), ("hour", 3_600), ("minute", 60)];
    let seconds = age.as_secs();
    match UNITS.into_iter().find(|(_, length)| seconds >= *length) {
        Some((unit, length)) if seconds / length == 1 => format!("1 {unit}"),
        Some((unit, length)) => format!("{} {unit}s", seconds / length),
        None => "less than a minute".to_owned(),
    }
}

/// The time between two moments.
pub fn between(from: Timestamp, to: Timestamp) -> String {
    span(to.since(from))
}

/// A number of bytes in the largest unit that leaves at least one.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
    let (unit, factor) = UNITS.into_iter().find(|(_, factor)| bytes >= *factor).unwrap_or(("B", 1));
    #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let amount = bytes as f64 / factor as f64;
    if factor == 1 { format!("{bytes} B") } else { format!("{amount:.1} {unit}") }
}

/// The beginning of a text in one line.
pub fn excerpt(text: &str, chars: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = plain(&line);
    if line.chars().count() <= chars {
        return line;
    }
    let mut cut: String = line.chars().take(chars.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// Text of a model without control characters, so that it cannot steer the terminal.
pub fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}
