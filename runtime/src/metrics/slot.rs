//! Counts the slots that take tasks.
#![expect(clippy::disallowed_macros, reason = "this records one of the metrics")]

use crate::broker::QueueName;

/// A slot that takes tasks of some queues for as long as this lives, also when it ends by a panic.
#[derive(Debug)]
pub(crate) struct OpenSlot(Vec<QueueName>);

impl OpenSlot {
    /// Counts a slot for each of `queues`.
    pub(crate) fn of(queues: &[QueueName]) -> Self {
        for queue in queues {
            metrics::gauge!(super::WORKER_SLOTS, "queue" => queue.to_string()).increment(1.0);
        }
        Self(queues.to_vec())
    }
}

impl Drop for OpenSlot {
    fn drop(&mut self) {
        for queue in &self.0 {
            metrics::gauge!(super::WORKER_SLOTS, "queue" => queue.to_string()).decrement(1.0);
        }
    }
}
