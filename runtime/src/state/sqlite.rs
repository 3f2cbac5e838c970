//! The embedded state store: SQLite in WAL mode, one file, any number of processes.

use std::{
    path::Path,
    sync::{Arc, Once},
    time::Duration,
};

use async_trait::async_trait;
use clara_lifecycle::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use tokio::sync::broadcast;
use tracing::Instrument;

use super::{
    Commit, OutboxEntry, Page, Record, RecordKey, StateError, StateStore, StoredEvent, kinds::known_kind,
};
use crate::{
    clock::{Clock, SystemClock},
    sqlite::{self, Database, DatabaseError, WeakDatabase, sql_limit},
};

/// How often commits of other processes are looked for.
const FOLLOW_EVERY: Duration = Duration::from_millis(200);

/// How long a commit's id is remembered: far longer than anyone repeats a call.
const REMEMBER_COMMITS: Duration = Duration::from_hours(24);

/// The embedded state store.
#[derive(Debug, Clone)]
pub struct SqliteState {
    database: Database,
    growth: Arc<Growth>,
}

#[derive(Debug)]
struct Growth {
    streams: broadcast::Sender<String>,
    following: Once,
}

mod index;
mod records;

/// Why a commit was not applied.
enum CommitRefused {
    State(StateError),
    Database(DatabaseError),
}

impl From<DatabaseError> for CommitRefused {
    fn from(error: DatabaseError) -> Self {
        Self::Database(error)
    }
}

impl From<rusqlite::Error> for CommitRefused {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.into())
    }
}

impl SqliteState {
    /// Opens the file at `path`, or makes it. Blocks shortly.
    ///
    /// # Errors
    /// [`StateError::Unavailable`] when the file cannot be opened or made, [`StateError::Layout`] when another
    /// version of Clara wrote it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StateError> {
        Self::open_with_clock(path, Arc::new(SystemClock))
    }

    /// Like [`SqliteState::open`], following another wall clock.
    ///
    /// # Errors
    /// As [`SqliteState::open`].
    pub fn open_with_clock(path: impl AsRef<Path>, clock: Arc<dyn Clock>) -> Result<Self, StateError> {
        let path = path.as_ref();
        let database = Database::open(path, clock).map_err(|error| state_error(path, error))?;
        let growth = Growth { streams: broadcast::channel(1024).0, following: Once::new() };
        Ok(Self { database, growth: Arc::new(growth) })
    }

    async fn read<R: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<R, rusqlite::Error> + Send + 'static,
    ) -> Result<R, StateError> {
        self.database
            .call(move |session| Ok(query(session.reader())?))
            .await
            .map_err(|error: DatabaseError| state_error(self.database.path(), error))
    }
}

#[async_trait]
impl StateStore for SqliteState {
    async fn now(&self) -> Result<Timestamp, StateError> {
        self.database
            .call(|session| Ok(session.now()?))
            .await
            .map_err(|error: DatabaseError| state_error(self.database.path(), error))
    }

    async fn load(&self, key: &RecordKey) -> Result<Option<Record>, StateError> {
        let key = key.clone();
        self.read(move |connection| {
            Ok(records::load(connection, std::slice::from_ref(&key))?.into_iter().next().flatten())
        })
        .await
    }

    async fn load_all(&self, keys: &[RecordKey]) -> Result<Vec<Option<Record>>, StateError> {
        let keys = keys.to_vec();
        self.read(move |connection| records::load(connection, &keys)).await
    }

    async fn list(
        &self,
        kind: &'static str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Record>, StateError> {
        let after = after.map(str::to_owned);
        self.read(move |connection| {
            let keys: Vec<RecordKey> = connection
                .prepare(
                    "SELECT id FROM records WHERE kind = ?1 AND (?2 IS NULL OR id > ?2) ORDER BY id LIMIT ?3",
                )?
                .query_map(params![kind, after, sql_limit(limit)], |row| {
                    Ok(RecordKey { kind, id: row.get(0)? })
                })?
                .collect::<Result<_, _>>()?;
            Ok(records::load(connection, &keys)?.into_iter().flatten().collect())
        })
        .await
    }

    async fn commit(&self, commit: &Commit) -> Result<(), StateError> {
        let work = commit.clone();
        let span = tracing::debug_span!("state.commit", commit.id = %commit.id);
        let outcome = self
            .database
            .call(move |session| session.write(|transaction, now| apply(transaction, &work, now)))
            .instrument(span)
            .await;
        match outcome {
            Ok(()) => {
                for (stream, _) in &commit.events {
                    // Nobody may be watching.
                    drop(self.growth.streams.send(stream.clone()));
                }
                Ok(())
            }
            Err(CommitRefused::State(refused)) => Err(refused),
            Err(CommitRefused::Database(error)) => Err(state_error(self.database.path(), error)),
        }
    }

    async fn due(&self, until: Timestamp, limit: usize) -> Result<Vec<RecordKey>, StateError> {
        self.read(move |connection| {
            connection
                .prepare("SELECT kind, id FROM deadlines WHERE at <= ?1 ORDER BY at, kind, id LIMIT ?2")?
                .query_map(params![until.0, sql_limit(limit)], |row| {
                    let kind: String = row.get(0)?;
                    Ok(RecordKey { kind: known_kind(&kind), id: row.get(1)? })
                })?
                .collect()
        })
        .await
    }

    async fn outbox(&self, until: Timestamp, limit: usize) -> Result<Vec<OutboxEntry>, StateError> {
        self.read(move |connection| {
            connection
                .prepare(
                    "SELECT task, not_before FROM outbox WHERE not_before <= ?1
                     ORDER BY not_before, position LIMIT ?2",
                )?
                .query_map(params![until.0, sql_limit(limit)], |row| {
                    let text: String = row.get(0)?;
                    let task = serde_json::from_str(&text).map_err(|error| {
                        rusqlite::Error::FromSqlConversionFailure(
                            0,
                            rusqlite::types::Type::Text,
                            error.into(),
                        )
                    })?;
                    Ok(OutboxEntry { text, task, not_before: Timestamp(row.get(1)?) })
                })?
                .collect()
        })
        .await
    }

    async fn settle(&self, entries: &[String]) -> Result<(), StateError> {
        let entries = entries.to_vec();
        self.database
            .call(move |session| {
                session.write(|transaction, _| {
                    let mut settle = transaction.prepare("DELETE FROM outbox WHERE task = ?1")?;
                    for entry in entries {
                        settle.execute([entry])?;
                    }
                    Ok(())
                })
            })
            .await
            .map_err(|error: DatabaseError| state_error(self.database.path(), error))
    }

    async fn members(&self, index: &str, page: &Page) -> Result<Vec<String>, StateError> {
        let (index, page) = (index.to_owned(), page.clone());
        self.read(move |connection| index::members(connection, &index, &page)).await
    }

    async fn sizes(&self, indexes: &[String]) -> Result<Vec<u64>, StateError> {
        let indexes = indexes.to_vec();
        self.read(move |connection| indexes.iter().map(|index| index::size(connection, index)).collect())
            .await
    }

    async fn events(&self, stream: &str, after: u64, limit: usize) -> Result<Vec<StoredEvent>, StateError> {
        let stream = stream.to_owned();
        self.read(move |connection| {
            connection
                .prepare(
                    "SELECT number, at, body FROM events WHERE stream = ?1 AND number > ?2
                     ORDER BY number LIMIT ?3",
                )?
                .query_map(params![stream, sql_number(after), sql_limit(limit)], |row| {
                    Ok(StoredEvent { number: row.get(0)?, at: Timestamp(row.get(1)?), body: row.get(2)? })
                })?
                .collect()
        })
        .await
    }

    fn watch(&self) -> broadcast::Receiver<String> {
        let receiver = self.growth.streams.subscribe();
        self.growth.following.call_once(|| {
            let (database, streams) = (self.database.downgrade(), self.growth.streams.clone());
            let follower = std::thread::Builder::new()
                .name("clara-sqlite-watch".to_owned())
                .spawn(move || follow(&database, &streams));
            if let Err(error) = follower {
                tracing::warn!(%error, "commits of other processes will be noticed late: no thread to watch for them");
            }
        });
        receiver
    }
}

/// Everything a commit does, inside its transaction.
fn apply(transaction: &Transaction<'_>, commit: &Commit, now: Timestamp) -> Result<(), CommitRefused> {
    if !commit.id.is_empty() {
        let known = transaction
            .query_row("SELECT 1 FROM commits WHERE id = ?1", [&commit.id], |_| Ok(()))
            .optional()?;
        if known.is_some() {
            return Ok(());
        }
        transaction.execute("INSERT INTO commits (id, at) VALUES (?1, ?2)", params![commit.id, now.0])?;
        let forget = now.0.saturating_sub(i64::try_from(REMEMBER_COMMITS.as_millis()).unwrap_or(i64::MAX));
        transaction.execute("DELETE FROM commits WHERE at < ?1", [forget])?;
    }
    index::check(transaction, &commit.limits)?;
    for write in &commit.writes {
        records::write(transaction, write)?;
    }
    index::change(transaction, &commit.indexes)?;
    for (stream, body) in &commit.events {
        transaction.execute(
            "INSERT INTO events (stream, number, at, body)
             SELECT ?1, coalesce(max(number), 0) + 1, ?2, ?3 FROM events WHERE stream = ?1",
            params![stream, now.0, body],
        )?;
    }
    for entry in &commit.outbox {
        transaction.execute(
            "INSERT OR IGNORE INTO outbox (task, not_before) VALUES (?1, ?2)",
            params![entry.text, entry.not_before.0],
        )?;
    }
    for deadline in &commit.deadlines {
        let (kind, id) = (deadline.key.kind, &deadline.key.id);
        match deadline.at {
            Some(at) => transaction.execute(
                "INSERT INTO deadlines (kind, id, at) VALUES (?1, ?2, ?3)
                 ON CONFLICT (kind, id) DO UPDATE SET at = excluded.at",
                params![kind, id, at.0],
            )?,
            None => {
                transaction.execute("DELETE FROM deadlines WHERE kind = ?1 AND id = ?2", params![kind, id])?
            }
        };
    }
    Ok(())
}

/// Announces streams that other processes, or other handles in this one, let grow.
fn follow(database: &WeakDatabase, streams: &broadcast::Sender<String>) {
    let Some(Ok((mut version, mut position))) = database.call_blocking(|session| look(session.reader()))
    else {
        return;
    };
    loop {
        std::thread::sleep(FOLLOW_EVERY);
        let (last_version, last_position) = (version, position);
        let grown = database.call_blocking(move |session| {
            let (version, position) = look(session.reader())?;
            let grown = if version == last_version {
                Vec::new()
            } else {
                streams_after(session.reader(), last_position)?
            };
            Ok::<_, rusqlite::Error>((version, position, grown))
        });
        match grown {
            None => return,
            Some(Err(error)) => tracing::debug!(%error, "could not look for commits of other processes"),
            Some(Ok((new_version, new_position, grown))) => {
                (version, position) = (new_version, new_position);
                // Nobody may be watching.
                for stream in grown {
                    drop(streams.send(stream));
                }
            }
        }
    }
}

/// A number that changes when another connection commits, and the position of the newest event.
fn look(connection: &Connection) -> Result<(i64, i64), rusqlite::Error> {
    let version = connection.query_row("PRAGMA data_version", [], |row| row.get(0))?;
    let position =
        connection.query_row("SELECT coalesce(max(position), 0) FROM events", [], |row| row.get(0))?;
    Ok((version, position))
}

fn streams_after(connection: &Connection, position: i64) -> Result<Vec<String>, rusqlite::Error> {
    connection
        .prepare("SELECT DISTINCT stream FROM events WHERE position > ?1")?
        .query_map([position], |row| row.get(0))?
        .collect()
}

fn sql_number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn state_error(path: &Path, error: DatabaseError) -> StateError {
    let store = sqlite::display(path);
    match error {
        DatabaseError::Layout { found } => {
            StateError::Layout { store, found, expected: DatabaseError::EXPECTED_LAYOUT }
        }
        other => StateError::Unavailable { store, reason: other.to_string() },
    }
}

#[cfg(test)]
mod tests;
