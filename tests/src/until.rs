//! Waits for a condition, with a deadline.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

/// How long anything may take on a machine that has much else to do.
const WITHIN: Duration = Duration::from_mins(2);

/// Asks `probe` again and again until it answers something.
///
/// # Errors
/// When `probe` fails, or has nothing to answer for two minutes; `what` says what was waited for.
pub fn until<T>(what: &str, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + WITHIN;
    loop {
        if let Some(found) = probe()? {
            return Ok(found);
        }
        ensure!(Instant::now() < deadline, "waited {} s for {what}", WITHIN.as_secs());
        sleep(Duration::from_millis(50));
    }
}
