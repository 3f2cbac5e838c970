//! What the contract suites of the ports have in common: a rule broken, and patience with faults.

use std::{fmt::Display, future::Future, time::Duration};

/// A rule that an implementation of a port breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {found}")]
pub struct Broken {
    /// The rule, as a sentence.
    pub rule: String,
    /// What happened instead.
    pub found: String,
}

/// What one rule finds: text says what happened instead.
pub type Finding = Result<(), String>;

/// Calls answered with a retryable error are repeated this often, so that suites also run over faulty stores.
const PATIENCE: usize = 200;

/// States a condition; `found` says what holds instead.
///
/// # Errors
/// `found`, when the condition does not hold.
pub fn ensure(holds: bool, found: impl FnOnce() -> String) -> Finding {
    if holds { Ok(()) } else { Err(found()) }
}

/// Repeats `call` while it answers a retryable error.
///
/// # Errors
/// The error, when it is not retryable or does not end.
pub async fn insist<T, E, F>(retryable: impl Fn(&E) -> bool, mut call: impl FnMut() -> F) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    let mut tries = 0;
    loop {
        tries += 1;
        match call().await {
            Err(error) if retryable(&error) && tries < PATIENCE => {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            answer => return answer,
        }
    }
}

/// Names the rule that a finding breaks.
pub(crate) fn judge(rule: &str, finding: Finding) -> Result<(), Broken> {
    finding.map_err(|found| Broken { rule: rule.to_owned(), found })
}

/// An error as a finding.
pub(crate) fn unexpected(error: impl Display) -> String {
    format!("unexpected error: {error}")
}
