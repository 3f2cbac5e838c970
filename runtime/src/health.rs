//! What a daemon needs in order to work: named checks that their owners set and `/readyz` shows.

use std::{collections::BTreeMap, fmt, sync::Arc};

use tokio::sync::watch;

use crate::metrics;

#[cfg(test)]
mod tests;

/// The reason of a check that nobody has set yet.
const NOT_CHECKED: &str = "not checked yet";

/// The checks of one process; clones share them. Without checks it is ready.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<watch::Sender<Checks>>);

/// Why each check fails, if it does.
type Checks = BTreeMap<&'static str, Option<String>>;

/// A check that fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    /// Its name.
    pub check: &'static str,
    /// What is wrong, in one line.
    pub reason: String,
}

impl fmt::Display for Failing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.check, self.reason)
    }
}

impl Health {
    /// Fails each of `checks`, e.g. `broker`, `state`, `coordinator` or `artifacts`, until its owner has set it: a
    /// daemon that has just started is not ready.
    pub fn expecting(checks: &[&'static str]) -> Self {
        let health = Self::default();
        for check in checks {
            health.set(check, Err(NOT_CHECKED.to_owned()));
        }
        health
    }

    /// Says how `check` stands now. The reason is shown to everyone who can reach the daemon, so no secrets.
    pub fn set(&self, check: &'static str, state: Result<(), String>) {
        metrics::check_ready(check, state.is_ok());
        let reason = state.err().map(|reason| reason.lines().collect::<Vec<_>>().join(" "));
        self.0.send_if_modified(|checks| {
            let changes = checks.get(check) != Some(&reason);
            if changes {
                checks.insert(check, reason);
            }
            changes
        });
    }

    /// Whether no check fails.
    pub fn ready(&self) -> bool {
        is_ready(&self.0.borrow())
    }

    /// The checks that fail, by name.
    pub fn failing(&self) -> Vec<Failing> {
        let checks = self.0.borrow();
        let failing = checks.iter().filter_map(|(check, reason)| Some((*check, reason.clone()?)));
        failing.map(|(check, reason)| Failing { check, reason }).collect()
    }

    /// Waits until [`Health::ready`] answers `ready`; for those who tell others, such as gRPC health.
    pub async fn until(&self, ready: bool) {
        // The sender lives as long as this health, so there is always an answer.
        let _ = self.0.subscribe().wait_for(|checks| is_ready(checks) == ready).await;
    }
}

fn is_ready(checks: &Checks) -> bool {
    checks.values().all(Option::is_none)
}
