//! One SQLite file on a thread of its own, shared by the embedded state store and the embedded broker.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use clara_lifecycle::time::Timestamp;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;

/// Layout of the tables below; a file with another one is refused.
const LAYOUT: i64 = 5;

/// How long a writer waits for another process to finish its transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

const TABLES: &str = "
CREATE TABLE clock (only_row INTEGER PRIMARY KEY CHECK (only_row = 1), latest INTEGER NOT NULL) STRICT;
INSERT INTO clock VALUES (1, 0);
CREATE TABLE records (
    kind TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE parts (
    kind TEXT NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (kind, id, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE events (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    stream TEXT NOT NULL, number INTEGER NOT NULL, at INTEGER NOT NULL, body TEXT NOT NULL,
    UNIQUE (stream, number)
) STRICT;
CREATE TABLE outbox (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    task TEXT NOT NULL UNIQUE, not_before INTEGER NOT NULL
) STRICT;
CREATE INDEX outbox_by_time ON outbox (not_before, position);
CREATE TABLE deadlines (
    kind TEXT NOT NULL, id TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX deadlines_by_time ON deadlines (at, kind, id);
CREATE TABLE members (
    of TEXT NOT NULL, member TEXT NOT NULL, PRIMARY KEY (of, member)
) STRICT, WITHOUT ROWID;
CREATE TABLE commits (id TEXT PRIMARY KEY, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX commits_by_time ON commits (at);
CREATE TABLE tasks (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL, body TEXT NOT NULL,
    visible_at INTEGER NOT NULL, deliveries INTEGER NOT NULL, tag TEXT UNIQUE
) STRICT;
CREATE INDEX tasks_by_queue ON tasks (queue, position);
";

/// Why the file could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DatabaseError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error("its folder cannot be made: {0}")]
    Folder(#[source] std::io::Error),
    #[error("the thread that serves it cannot be started: {0}")]
    Thread(#[source] std::io::Error),
    #[error("the thread that serves it has ended")]
    Closed,
    #[error("it has layout {found}, expected {LAYOUT}")]
    Layout { found: i64 },
}

impl DatabaseError {
    /// The layout that this version reads and writes.
    pub(crate) const EXPECTED_LAYOUT: i64 = LAYOUT;
}

type Job = Box<dyn FnOnce(&mut Session) + Send>;

/// A handle to the thread that owns the connection; the thread ends with the last handle.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    jobs: mpsc::Sender<Job>,
    path: Arc<Path>,
}

/// A handle that does not keep the database open.
#[derive(Debug, Clone)]
pub(crate) struct WeakDatabase(mpsc::WeakSender<Job>);

/// What a job works with on the database's thread.
#[derive(Debug)]
pub(crate) struct Session {
    connection: Connection,
    clock: StoreClock,
}

/// Follows the wall clock forward and the monotonic clock always, so that time neither goes back nor stands.
#[derive(Debug)]
struct StoreClock {
    wall: Arc<dyn Clock>,
    anchor: Timestamp,
    anchored: Instant,
}

impl Database {
    /// Opens or makes the file at `path`. Blocks for as long as another process holds its lock, at most ten seconds.
    pub(crate) fn open(path: &Path, wall: Arc<dyn Clock>) -> Result<Self, DatabaseError> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(DatabaseError::Folder)?;
        }
        let connection = connect(path)?;
        let clock = StoreClock { anchor: wall.now(), wall, anchored: Instant::now() };
        let (jobs, mut queue) = mpsc::channel::<Job>(256);
        let mut session = Session { connection, clock };
        std::thread::Builder::new()
            .name("clara-sqlite".to_owned())
            .spawn(move || {
                while let Some(job) = queue.blocking_recv() {
                    job(&mut session);
                }
            })
            .map_err(DatabaseError::Thread)?;
        Ok(Self { jobs, path: path.into() })
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` on the database's thread. It runs to its end even when the caller stops waiting.
    pub(crate) async fn call<R, E>(
        &self,
        work: impl FnOnce(&mut Session) -> Result<R, E> + Send + 'static,
    ) -> Result<R, E>
    where
        R: Send + 'static,
        E: From<DatabaseError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        // A caller that no longer waits does not need the answer.
        let job: Job = Box::new(move |session| drop(reply.send(work(session))));
        self.jobs.send(job).await.map_err(|_| DatabaseError::Closed)?;
        answer.await.map_err(|_| DatabaseError::Closed)?
    }

    /// A handle that does not keep the database open.
    pub(crate) fn downgrade(&self) -> WeakDatabase {
        WeakDatabase(self.jobs.downgrade())
    }
}

impl WeakDatabase {
    /// Runs `work` and waits for it, outside async code. Answers `None` when the database was closed.
    pub(crate) fn call_blocking<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Session) -> R + Send + 'static,
    ) -> Option<R> {
        let jobs = self.0.upgrade()?;
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |session| drop(reply.send(work(session))));
        jobs.blocking_send(job).ok()?;
        drop(jobs);
        answer.blocking_recv().ok()
    }
}

impl Session {
    /// The connection, for reading.
    pub(crate) fn reader(&self) -> &Connection {
        &self.connection
    }

    /// The store's time.
    pub(crate) fn now(&mut self) -> Result<Timestamp, rusqlite::Error> {
        let stored = latest_time(&self.connection)?;
        Ok(self.clock.now(stored))
    }

    /// Runs `work` in a transaction that holds the write lock from its beginning: all of it is stored, or,
    /// when `work` answers an error, nothing.
    pub(crate) fn write<R, E: From<rusqlite::Error>>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>, Timestamp) -> Result<R, E>,
    ) -> Result<R, E> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let now = self.clock.now(latest_time(&transaction)?);
        transaction.execute("UPDATE clock SET latest = max(latest, ?1)", [now.0])?;
        let result = work(&transaction, now)?;
        transaction.commit()?;
        Ok(result)
    }
}

impl StoreClock {
    fn now(&mut self, stored: Timestamp) -> Timestamp {
        let steady = self.anchor.after(self.anchored.elapsed());
        let ahead = self.wall.now().max(stored);
        if ahead > steady {
            self.anchor = ahead;
            self.anchored = Instant::now();
        }
        steady.max(ahead)
    }
}

/// Reduces a size to what SQLite takes as a limit.
pub(crate) fn sql_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn latest_time(connection: &Connection) -> Result<Timestamp, rusqlite::Error> {
    connection.query_row("SELECT latest FROM clock", [], |row| row.get(0).map(Timestamp))
}

fn connect(path: &Path) -> Result<Connection, DatabaseError> {
    let started = Instant::now();
    loop {
        match prepare(path) {
            // Switching to WAL does not wait for a lock as other statements do.
            Err(DatabaseError::Sqlite(error)) if is_busy(&error) && started.elapsed() < BUSY_TIMEOUT => {
                std::thread::sleep(Duration::from_millis(20));
            }
            outcome => return outcome,
        }
    }
}

fn prepare(path: &Path) -> Result<Connection, DatabaseError> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    // An acknowledged commit survives a loss of power.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "fullfsync", true)?;
    let found = layout(&connection)?;
    if found == 0 {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if layout(&transaction)? == 0 {
            transaction.execute_batch(TABLES)?;
            transaction.pragma_update(None, "user_version", LAYOUT)?;
        }
        transaction.commit()?;
    }
    match layout(&connection)? {
        LAYOUT => Ok(connection),
        found => Err(DatabaseError::Layout { found }),
    }
}

fn layout(connection: &Connection) -> Result<i64, rusqlite::Error> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked)
    )
}

/// The path as it is named in messages.
pub(crate) fn display(path: &Path) -> String {
    path.display().to_string()
}
