//! A broker in memory, for simulations and tests: the same rules, with the moments at which a real one fails.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use super::{Broker, BrokerError, Delivery, QueueDepth, QueueName, Task};

/// How long a delivery belongs to its receiver.
const VISIBILITY_TIMEOUT: Duration = Duration::from_secs(30);

/// A broker in memory; clones are the same broker.
#[derive(Debug, Clone)]
pub struct MemoryBroker {
    visibility_timeout: Duration,
    delivery_limit: Option<u32>,
    published: Arc<Notify>,
    queues: Arc<Mutex<Queues>>,
}

#[derive(Debug, Default)]
struct Queues {
    ready: BTreeMap<QueueName, VecDeque<Message>>,
    held: BTreeMap<u64, Held>,
    tags: u64,
    dead_letters: u64,
}

#[derive(Debug, Clone)]
struct Message {
    task: Task,
    deliveries: u32,
}

#[derive(Debug)]
struct Held {
    message: Message,
    until: Instant,
}

impl Default for MemoryBroker {
    /// Deliveries belong to their receiver for 30 s and come again without limit.
    fn default() -> Self {
        Self {
            visibility_timeout: VISIBILITY_TIMEOUT,
            delivery_limit: None,
            published: Arc::default(),
            queues: Arc::default(),
        }
    }
}

impl MemoryBroker {
    /// Lets a delivery belong to its receiver for `timeout` (default 30 s).
    #[must_use]
    pub fn with_visibility_timeout(mut self, timeout: Duration) -> Self {
        self.visibility_timeout = timeout;
        self
    }

    /// Sets a task aside that was delivered more often than `limit` times and not acknowledged.
    #[must_use]
    pub fn with_delivery_limit(mut self, limit: u32) -> Self {
        self.delivery_limit = Some(limit);
        self
    }

    /// Ends all connections: what was delivered and not acknowledged is delivered again.
    pub fn restart(&self) {
        let mut queues = self.queues.lock();
        for (_, held) in std::mem::take(&mut queues.held) {
            self.requeue(&mut queues, held.message);
        }
        drop(queues);
        self.published.notify_waiters();
    }

    /// Tasks that wait or are held, in all queues.
    pub fn tasks(&self) -> usize {
        let queues = self.queues.lock();
        queues.held.len() + queues.ready.values().map(VecDeque::len).sum::<usize>()
    }

    /// Puts a message back to the front of its queue, or aside when it came too often.
    fn requeue(&self, queues: &mut Queues, message: Message) {
        if self.delivery_limit.is_some_and(|limit| message.deliveries > limit) {
            queues.dead_letters += 1;
            return;
        }
        queues.ready.entry(QueueName::of(&message.task)).or_default().push_front(message);
    }

    /// The first task of the first queue that has one, or when a held one may come back.
    fn take(&self, names: &[QueueName]) -> Result<Delivery, Option<Instant>> {
        let mut queues = self.queues.lock();
        let now = Instant::now();
        let lost: Vec<u64> =
            queues.held.iter().filter(|(_, held)| held.until <= now).map(|(tag, _)| *tag).collect();
        for tag in lost {
            if let Some(held) = queues.held.remove(&tag) {
                self.requeue(&mut queues, held.message);
            }
        }
        let first = names.iter().find_map(|name| queues.ready.get_mut(name)?.pop_front());
        let Some(mut message) = first else {
            return Err(queues.held.values().map(|held| held.until).min());
        };
        queues.tags += 1;
        let tag = queues.tags;
        let redelivered = message.deliveries > 0;
        message.deliveries += 1;
        let delivery = Delivery { task: message.task.clone(), tag: tag.to_string(), redelivered };
        queues.held.insert(tag, Held { message, until: now + self.visibility_timeout });
        Ok(delivery)
    }

    fn end(&self, delivery: &Delivery) -> Option<Message> {
        let tag = delivery.tag.parse().ok()?;
        self.queues.lock().held.remove(&tag).map(|held| held.message)
    }
}

#[async_trait]
impl Broker for MemoryBroker {
    async fn publish(&self, task: &Task) -> Result<(), BrokerError> {
        let message = Message { task: task.clone(), deliveries: 0 };
        self.queues.lock().ready.entry(QueueName::of(task)).or_default().push_back(message);
        self.published.notify_waiters();
        Ok(())
    }

    async fn receive(&self, queues: &[QueueName], wait: Duration) -> Result<Option<Delivery>, BrokerError> {
        let give_up = Instant::now() + wait;
        loop {
            let mut published = std::pin::pin!(self.published.notified());
            // Registered before looking, so that a task published in between wakes this receiver.
            published.as_mut().enable();
            let look_again = match self.take(queues) {
                Ok(delivery) => return Ok(Some(delivery)),
                Err(held_until) => held_until.map_or(give_up, |until| until.min(give_up)),
            };
            if Instant::now() >= give_up {
                return Ok(None);
            }
            // Both ends mean the same: look again.
            drop(tokio::time::timeout_at(look_again, published).await);
        }
    }

    async fn acknowledge(&self, delivery: &Delivery) -> Result<bool, BrokerError> {
        Ok(self.end(delivery).is_some())
    }

    async fn release(&self, delivery: &Delivery) -> Result<(), BrokerError> {
        if let Some(message) = self.end(delivery) {
            self.requeue(&mut self.queues.lock(), message);
            self.published.notify_waiters();
        }
        Ok(())
    }

    async fn depth(&self, queue: &QueueName) -> Result<QueueDepth, BrokerError> {
        let queues = self.queues.lock();
        let ready = queues.ready.get(queue).map_or(0, |messages| messages.len() as u64);
        let held = queues.held.values().filter(|held| QueueName::of(&held.message.task) == *queue);
        Ok(QueueDepth { ready, unacknowledged: held.count() as u64 })
    }

    async fn dead_letters(&self) -> Result<u64, BrokerError> {
        Ok(self.queues.lock().dead_letters)
    }
}

#[cfg(test)]
mod tests;
