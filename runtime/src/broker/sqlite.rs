//! The embedded broker: a SQLite table with a visibility timeout, in the same file as the state store.

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use clara_lifecycle::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use tokio::{sync::Notify, time::Instant};
use tracing::Instrument;
use uuid::Uuid;

use super::{Broker, BrokerError, Delivery, QueueDepth, QueueName, Task};
use crate::{
    clock::SystemClock,
    sqlite::{self, Database, DatabaseError},
};

/// How long a delivery belongs to its receiver.
const VISIBILITY_TIMEOUT: Duration = Duration::from_secs(30);

/// Where messages lie that nobody can read.
const DEAD_LETTERS: &str = "clara.dead-letters";

/// How often tasks of other processes, and those whose visibility timeout ended, are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The embedded broker.
#[derive(Debug, Clone)]
pub struct SqliteBroker {
    database: Database,
    visibility_timeout: Duration,
    published: Arc<Notify>,
}

impl SqliteBroker {
    /// Opens the file at `path`, or makes it; it may be the state store's. Blocks shortly.
    ///
    /// # Errors
    /// [`BrokerError::Unavailable`] when the file cannot be opened or made.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, BrokerError> {
        let path = path.as_ref();
        let database =
            Database::open(path, Arc::new(SystemClock)).map_err(|error| broker_error(path, &error))?;
        Ok(Self { database, visibility_timeout: VISIBILITY_TIMEOUT, published: Arc::new(Notify::new()) })
    }

    /// Lets a delivery belong to its receiver for `timeout` (default 30 s).
    #[must_use]
    pub fn with_visibility_timeout(mut self, timeout: Duration) -> Self {
        self.visibility_timeout = timeout;
        self
    }

    async fn call<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut sqlite::Session) -> Result<R, rusqlite::Error> + Send + 'static,
    ) -> Result<R, BrokerError> {
        self.database
            .call(move |session| Ok(work(session)?))
            .await
            .map_err(|error: DatabaseError| broker_error(self.database.path(), &error))
    }

    /// The first task of the first queue that has one.
    async fn take(&self, queues: &[QueueName]) -> Result<Option<Delivery>, BrokerError> {
        let names: Vec<String> = queues.iter().map(QueueName::to_string).collect();
        let visibility = self.visibility_timeout;
        let taken = self
            .call(move |session| {
                let now = session.now()?;
                // Looking costs no write lock; only taking does.
                for name in names {
                    if first_visible(session.reader(), &name, now)?.is_none() {
                        continue;
                    }
                    let taken = session.write(|transaction, now| {
                        take_first(transaction, name, now, now.after(visibility))
                    })?;
                    if taken.is_some() {
                        return Ok(taken);
                    }
                }
                Ok(None)
            })
            .await?;
        let Some(Taken { queue, body, tag, redelivered }) = taken else { return Ok(None) };
        match serde_json::from_str(&body) {
            Ok(task) => Ok(Some(Delivery { task, tag, redelivered })),
            Err(error) => {
                self.set_aside(tag).await?;
                Err(BrokerError::Malformed { queue, reason: error.to_string() })
            }
        }
    }

    /// Moves a message that nobody can read out of the way and keeps it.
    async fn set_aside(&self, tag: String) -> Result<(), BrokerError> {
        self.call(move |session| {
            session.write(|transaction, _| {
                transaction
                    .execute("UPDATE tasks SET queue = ?1 WHERE tag = ?2", params![DEAD_LETTERS, tag])
                    .map(drop)
            })
        })
        .await
    }
}

#[async_trait]
impl Broker for SqliteBroker {
    async fn publish(&self, task: &Task) -> Result<(), BrokerError> {
        let queue = QueueName::of(task).to_string();
        let body = serde_json::to_string(task)
            .map_err(|error| BrokerError::Malformed { queue: queue.clone(), reason: error.to_string() })?;
        let span = tracing::debug_span!("broker.publish", job.id = %task.job, stage = %task.stage);
        self.call(move |session| {
            session.write(|transaction, _| {
                transaction
                    .execute(
                        "INSERT INTO tasks (queue, body, visible_at, deliveries) VALUES (?1, ?2, 0, 0)",
                        params![queue, body],
                    )
                    .map(drop)
            })
        })
        .instrument(span)
        .await?;
        self.published.notify_waiters();
        Ok(())
    }

    async fn receive(&self, queues: &[QueueName], wait: Duration) -> Result<Option<Delivery>, BrokerError> {
        let give_up = Instant::now() + wait;
        loop {
            let mut published = std::pin::pin!(self.published.notified());
            // Registered before looking, so that a task published in between wakes this receiver.
            published.as_mut().enable();
            if let Some(delivery) = self.take(queues).await? {
                return Ok(Some(delivery));
            }
            let now = Instant::now();
            if now >= give_up {
                return Ok(None);
            }
            let look_again = (now + LOOK_EVERY).min(give_up);
            // Both ends mean the same: look again.
            drop(tokio::time::timeout_at(look_again, published).await);
        }
    }

    async fn acknowledge(&self, delivery: &Delivery) -> Result<bool, BrokerError> {
        let tag = delivery.tag.clone();
        self.call(move |session| {
            session.write(|transaction, _| {
                Ok(transaction.execute("DELETE FROM tasks WHERE tag = ?1", [tag])? > 0)
            })
        })
        .await
    }

    async fn release(&self, delivery: &Delivery) -> Result<(), BrokerError> {
        let tag = delivery.tag.clone();
        self.call(move |session| {
            session.write(|transaction, _| {
                transaction
                    .execute("UPDATE tasks SET tag = NULL, visible_at = 0 WHERE tag = ?1", [tag])
                    .map(drop)
            })
        })
        .await?;
        self.published.notify_waiters();
        Ok(())
    }

    async fn dead_letters(&self) -> Result<u64, BrokerError> {
        self.call(|session| {
            session
                .reader()
                .query_row("SELECT count(*) FROM tasks WHERE queue = ?1", [DEAD_LETTERS], |row| row.get(0))
        })
        .await
    }

    async fn depth(&self, queue: &QueueName) -> Result<QueueDepth, BrokerError> {
        let name = queue.to_string();
        self.call(move |session| {
            let now = session.now()?;
            session.reader().query_row(
                "SELECT count(*) FILTER (WHERE visible_at <= ?2), count(*) FILTER (WHERE visible_at > ?2)
                 FROM tasks WHERE queue = ?1",
                params![name, now.0],
                |row| Ok(QueueDepth { ready: row.get(0)?, unacknowledged: row.get(1)? }),
            )
        })
        .await
    }
}

struct Taken {
    queue: String,
    body: String,
    tag: String,
    redelivered: bool,
}

fn first_visible(
    connection: &Connection,
    queue: &str,
    now: Timestamp,
) -> Result<Option<(i64, String, u32)>, rusqlite::Error> {
    connection
        .query_row(
            "SELECT position, body, deliveries FROM tasks WHERE queue = ?1 AND visible_at <= ?2
             ORDER BY position LIMIT 1",
            params![queue, now.0],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .optional()
}

fn take_first(
    transaction: &Transaction<'_>,
    queue: String,
    now: Timestamp,
    visible_at: Timestamp,
) -> Result<Option<Taken>, rusqlite::Error> {
    let Some((position, body, deliveries)) = first_visible(transaction, &queue, now)? else {
        return Ok(None);
    };
    let tag = Uuid::new_v4().to_string();
    transaction.execute(
        "UPDATE tasks SET tag = ?2, visible_at = ?3, deliveries = deliveries + 1 WHERE position = ?1",
        params![position, tag, visible_at.0],
    )?;
    Ok(Some(Taken { queue, body, tag, redelivered: deliveries > 0 }))
}

fn broker_error(path: &Path, error: &DatabaseError) -> BrokerError {
    BrokerError::Unavailable { broker: sqlite::display(path), reason: error.to_string() }
}

#[cfg(test)]
mod tests;
