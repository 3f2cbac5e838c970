//! What is waited for while a server gives nothing, so that whoever watches can be told.

#[cfg(test)]
mod tests;

use std::{fmt, future::Future, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

/// What is said of a server that was asked and has not answered.
pub(crate) const NO_ANSWER: &str = "no answer yet";
/// Whoever waits is told so this often.
pub(crate) const WAITING_EVERY: Duration = Duration::from_secs(5);

tokio::task_local! {
    /// Repetitions happen deep within the clients of servers, which know nothing of who watches.
    static TROUBLE: Mutex<Option<Trouble>>;
}

/// Why a source is asked again.
#[derive(Debug, Clone)]
struct Trouble {
    problem: String,
    tries: u32,
    given_up_at: Instant,
}

/// A source that has given nothing for a while.
#[derive(Debug, Clone)]
pub struct Waiting<'a> {
    source: &'a str,
    /// What is said where no try has failed.
    otherwise: &'static str,
    trouble: Option<Trouble>,
}

impl fmt::Display for Waiting<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "waiting for {}: ", self.source)?;
        let Some(Trouble { problem, tries, given_up_at }) = &self.trouble else {
            return formatter.write_str(self.otherwise);
        };
        let left = given_up_at.saturating_duration_since(Instant::now()).as_secs();
        write!(formatter, "{problem}; try {}, giving up in ", tries + 1)?;
        match left {
            120.. => write!(formatter, "{} min", left / 60),
            _ => write!(formatter, "{left} s"),
        }
    }
}

/// Carries out `work`, during which [`asked_again`] is heard by [`watched`].
pub(crate) async fn heard<T>(work: impl Future<Output = T>) -> T {
    TROUBLE.scope(Mutex::new(None), work).await
}

/// Notes that a try has failed and another one follows, until `given_up_at` at the latest. Where nobody listens, nothing is noted.
pub(crate) fn asked_again(problem: &str, given_up_at: Instant) {
    // Fails only where nobody listens, as in tests of a client alone.
    let _ = TROUBLE.try_with(|trouble| {
        let mut trouble = trouble.lock();
        let tries = trouble.as_ref().map_or(0, |before| before.tries) + 1;
        *trouble = Some(Trouble { problem: problem.to_owned(), tries, given_up_at });
    });
}

/// Something came, so that nothing is waited for.
pub(crate) fn answered() {
    let _ = TROUBLE.try_with(|trouble| *trouble.lock() = None);
}

/// What is waited for now; `otherwise` is said where no try has failed.
pub(crate) fn now<'a>(source: &'a str, otherwise: &'static str) -> Waiting<'a> {
    let trouble = TROUBLE.try_with(|trouble| trouble.lock().clone()).ok().flatten();
    Waiting { source, otherwise, trouble }
}

/// Awaits `work`, and calls `tell` for as long as it takes.
pub(crate) async fn watched<T>(
    (source, otherwise): (&str, &'static str),
    work: impl Future<Output = T>,
    tell: impl Fn(&Waiting<'_>),
) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        match tokio::time::timeout(WAITING_EVERY, work.as_mut()).await {
            Ok(done) => {
                answered();
                return done;
            }
            Err(_) => tell(&now(source, otherwise)),
        }
    }
}
