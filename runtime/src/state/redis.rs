//! The distributed state store: one Redis server, every change one script.
//!
//! Acknowledged means: in the server's memory, and in its append-only file as `appendfsync` says. With `always` nothing
//! acknowledged is lost in a crash, with `everysec` at most the last second of it.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use clara_lifecycle::time::Timestamp;
use redis::{Pipeline, aio::ConnectionManager};
use tokio::sync::broadcast;
use tracing::Instrument;

use super::{
    Commit, OutboxEntry, Page, Record, RecordKey, StateError, StateStore, StoredEvent, kinds::known_kind,
};
use crate::{config::Secret, daemon::with_causes, task::Tasks, tls::TlsFiles};
use clock::StoreClock;
use group_commit::GroupCommit;
use watch::Growth;

mod answers;
mod clock;
mod connect;
mod encode;
mod group_commit;
#[cfg(test)]
mod tests;
mod watch;

/// Which Redis, and how it is reached.
#[derive(Debug, Clone)]
pub struct RedisOptions {
    /// `redis://user:password@host:port/database`, or `rediss://` for TLS.
    pub url: Secret,
    /// Certificates for `rediss://`. Default: the system's authorities, and none of this client.
    pub tls: TlsFiles,
    /// Beginning of every key; stores with different ones share a server. Default `clara:`.
    pub prefix: String,
    /// How long a connection and an answer may take. Default 5 s.
    pub timeout: Duration,
}

impl RedisOptions {
    /// The Redis at `url`, everything else by default.
    pub fn new(url: Secret) -> Self {
        let timeout = Duration::from_secs(5);
        Self { url, tls: TlsFiles::default(), prefix: "clara:".to_owned(), timeout }
    }
}

/// The distributed state store.
#[derive(Clone)]
pub struct RedisState {
    /// The server without its password.
    server: Arc<str>,
    connection: ConnectionManager,
    prefix: Arc<str>,
    /// Written when the store was empty; another one means that the data is not what it was.
    generation: Arc<str>,
    commits: Arc<GroupCommit>,
    clock: Arc<StoreClock>,
    growth: Growth,
}

impl fmt::Debug for RedisState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (server, prefix) = (&self.server, &self.prefix);
        formatter
            .debug_struct("RedisState")
            .field("server", server)
            .field("prefix", prefix)
            .finish_non_exhaustive()
    }
}

impl RedisState {
    /// Connects and looks at the server; its watcher is one of `tasks`.
    ///
    /// # Errors
    /// [`StateError::Unavailable`] when it cannot be reached: try again. [`StateError::Refused`] when the URL, the
    /// password or a certificate is wrong or the server may drop data. [`StateError::Layout`] when another version wrote the data.
    pub async fn connect(options: &RedisOptions, tasks: &Tasks) -> Result<Self, StateError> {
        let server = connect::Server::open(options).await?;
        let growth = Growth::new();
        let channel = format!("{}grew", options.prefix);
        tasks.spawn_until_shutdown("state.watch", growth.clone().follow(server.client, channel));
        let (prefix, generation): (Arc<str>, Arc<str>) =
            (options.prefix.as_str().into(), server.generation.into());
        let clock: Arc<StoreClock> = Arc::default();
        let commits = GroupCommit::new(
            server.connection.clone(),
            Arc::clone(&prefix),
            Arc::clone(&generation),
            Arc::clone(&clock),
            tasks.clone(),
        );
        Ok(Self {
            server: server.name.into(),
            connection: server.connection,
            prefix,
            generation,
            commits: Arc::new(commits),
            clock,
            growth,
        })
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn failed(&self, error: &redis::RedisError) -> StateError {
        StateError::Unavailable { store: self.server.to_string(), reason: with_causes(error) }
    }

    fn emptied(&self) -> StateError {
        StateError::Emptied { store: self.server.to_string() }
    }

    /// Reads, together with the generation and the time.
    async fn read<T: redis::FromRedisValue>(
        &self,
        queries: impl FnOnce(&mut Pipeline),
    ) -> Result<Vec<T>, StateError> {
        let mut pipeline = redis::pipe();
        pipeline.get(self.key("generation")).cmd("TIME");
        queries(&mut pipeline);
        let mut connection = self.connection.clone();
        let values: Vec<redis::Value> =
            pipeline.query_async(&mut connection).await.map_err(|error| self.failed(&error))?;
        let mut values = values.into_iter();
        let (generation, time) = (values.next(), values.next());
        let wrong = |error: redis::ParsingError| self.failed(&error.into());
        let generation: Option<String> =
            redis::from_redis_value(generation.unwrap_or(redis::Value::Nil)).map_err(wrong)?;
        if generation.as_deref() != Some(&*self.generation) {
            return Err(self.emptied());
        }
        let (seconds, micros): (i64, i64) =
            redis::from_redis_value(time.unwrap_or(redis::Value::Nil)).map_err(wrong)?;
        self.clock.observe(Timestamp(seconds * 1000 + micros / 1000));
        values.map(redis::from_redis_value).collect::<Result<_, _>>().map_err(wrong)
    }

    async fn read_one<T: redis::FromRedisValue + Default>(&self, query: redis::Cmd) -> Result<T, StateError> {
        let answers = self
            .read(|pipeline| {
                pipeline.add_command(query);
            })
            .await?;
        Ok(answers.into_iter().next().unwrap_or_default())
    }

    async fn records(&self, keys: &[RecordKey]) -> Result<Vec<Option<Record>>, StateError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let rows: Vec<BTreeMap<String, String>> = self
            .read(|pipeline| {
                for key in keys {
                    pipeline.hgetall(self.key(&format!("r:{}/{}", key.kind, key.id)));
                }
            })
            .await?;
        let record = |(key, fields): (&RecordKey, BTreeMap<_, _>)| {
            let is_there = !fields.is_empty();
            is_there.then(|| answers::record(&key.id, fields, &self.server)).transpose()
        };
        keys.iter().zip(rows).map(record).collect()
    }

    /// Members of the sorted set at `key`, whose scores are all 0.
    async fn ordered(&self, key: String, page: &Page) -> Result<Vec<String>, StateError> {
        self.read_one(encode::range(key, page)).await
    }
}

#[async_trait]
impl StateStore for RedisState {
    async fn now(&self) -> Result<Timestamp, StateError> {
        if let Some(now) = self.clock.now() {
            return Ok(now);
        }
        self.read::<redis::Value>(|_| {}).await?;
        Ok(self.clock.latest())
    }

    async fn load(&self, key: &RecordKey) -> Result<Option<Record>, StateError> {
        Ok(self.records(std::slice::from_ref(key)).await?.into_iter().next().flatten())
    }

    async fn load_all(&self, keys: &[RecordKey]) -> Result<Vec<Option<Record>>, StateError> {
        self.records(keys).await
    }

    async fn list(
        &self,
        kind: &'static str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Record>, StateError> {
        let page = Page { after: after.map(str::to_owned), limit, order: super::Order::Ascending };
        let ids = self.ordered(self.key(&format!("k:{kind}")), &page).await?;
        let keys: Vec<RecordKey> = ids.into_iter().map(|id| RecordKey { kind, id }).collect();
        Ok(self.records(&keys).await?.into_iter().flatten().collect())
    }

    async fn commit(&self, commit: &Commit) -> Result<(), StateError> {
        let span = tracing::debug_span!("state.commit", commit.id = %commit.id);
        let answer = self.commits.commit(encode::commit(commit)).instrument(span).await;
        answers::outcome(&answer.map_err(|error| self.failed(&error))?, commit, &self.server)
    }

    async fn due(&self, until: Timestamp, limit: usize) -> Result<Vec<RecordKey>, StateError> {
        let members: Vec<String> = self.read_one(encode::up_to(self.key("due"), until, limit)).await?;
        let key = |member: String| {
            let (kind, id) = member.split_once('/')?;
            Some(RecordKey { kind: known_kind(kind), id: id.to_owned() })
        };
        Ok(members.into_iter().filter_map(key).collect())
    }

    async fn outbox(&self, until: Timestamp, limit: usize) -> Result<Vec<OutboxEntry>, StateError> {
        let mut query = encode::up_to(self.key("outbox"), until, limit);
        query.arg("WITHSCORES");
        let entries: Vec<(String, String)> = self.read_one(query).await?;
        entries.into_iter().map(|(text, time)| answers::outbox_entry(text, &time, &self.server)).collect()
    }

    async fn settle(&self, entries: &[String]) -> Result<(), StateError> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut connection = self.connection.clone();
        let settled: Result<u64, _> =
            redis::cmd("ZREM").arg(self.key("outbox")).arg(entries).query_async(&mut connection).await;
        settled.map(drop).map_err(|error| self.failed(&error))
    }

    async fn members(&self, index: &str, page: &Page) -> Result<Vec<String>, StateError> {
        self.ordered(self.key(&format!("i:{index}")), page).await
    }

    async fn sizes(&self, indexes: &[String]) -> Result<Vec<u64>, StateError> {
        self.read(|pipeline| {
            for index in indexes {
                pipeline.zcard(self.key(&format!("i:{index}")));
            }
        })
        .await
    }

    async fn events(&self, stream: &str, after: u64, limit: usize) -> Result<Vec<StoredEvent>, StateError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let last = after.saturating_add(limit as u64) - 1;
        let mut query = redis::cmd("LRANGE");
        query.arg(self.key(&format!("e:{stream}"))).arg(after).arg(last.min(i64::MAX as u64));
        let rows: Vec<String> = self.read_one(query).await?;
        let numbered = rows.into_iter().zip(after + 1..);
        numbered.map(|(row, number)| answers::event(&row, number, &self.server)).collect()
    }

    fn watch(&self) -> broadcast::Receiver<String> {
        self.growth.watch()
    }
}
