//! Group commit: commits that come while the script runs go together in its next call.
//!
//! They share the call, the clock, the announcement of streams and the common sets. Each is made or refused by itself.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use clara_lifecycle::time::Timestamp;
use parking_lot::Mutex;
use redis::{ErrorKind, RedisError, Script, ServerErrorKind, aio::ConnectionManager};
use tokio::sync::oneshot;

use super::clock::StoreClock;
use crate::task::Tasks;

/// Commits and bytes of one call at most, so that other clients of the server need not wait long; one commit always goes.
const COMMITS_AT_ONCE: usize = 64;
const BYTES_AT_ONCE: usize = 1 << 20;
/// How long the id of a commit that puts no record is remembered: far longer than anyone repeats a call.
const REMEMBER_COMMITS: Duration = Duration::from_mins(2);

/// The way of all commits of one process.
pub(super) struct GroupCommit {
    connection: ConnectionManager,
    script: Script,
    prefix: Arc<str>,
    generation: Arc<str>,
    clock: Arc<StoreClock>,
    tasks: Tasks,
    waiting: Mutex<Waiting>,
}

/// What the script says of one commit.
type Answer = Result<Vec<String>, RedisError>;

/// No more commits wait than callers do: those of callers that went away are dropped.
#[derive(Default)]
struct Waiting {
    commits: VecDeque<Pending>,
    /// A task sends what waits.
    has_sender: bool,
}

/// A commit as the script takes it, and who waits for its answer.
struct Pending {
    arguments: Vec<Vec<u8>>,
    answer: oneshot::Sender<Answer>,
}

impl GroupCommit {
    /// Commits under keys that begin with `prefix`, as long as the store has this `generation`.
    pub(super) fn new(
        connection: ConnectionManager,
        prefix: Arc<str>,
        generation: Arc<str>,
        clock: Arc<StoreClock>,
        tasks: Tasks,
    ) -> Self {
        let script = Script::new(include_str!("commit.lua"));
        Self { connection, script, prefix, generation, clock, tasks, waiting: Mutex::default() }
    }

    /// Sends one commit. Dropped meanwhile, it may be made or not.
    pub(super) async fn commit(self: &Arc<Self>, arguments: Vec<Vec<u8>>) -> Answer {
        let (sender, answer) = oneshot::channel();
        let had_sender = {
            let mut waiting = self.waiting.lock();
            waiting.commits.push_back(Pending { arguments, answer: sender });
            std::mem::replace(&mut waiting.has_sender, true)
        };
        if !had_sender {
            // On a task of its own, of no caller's trace: nobody who goes away takes the commits of others along.
            let group = Arc::clone(self);
            tracing::info_span!(parent: None, "state.commits")
                .in_scope(|| self.tasks.spawn("state.commits", async move { group.send().await }));
        }
        answer.await.unwrap_or_else(|_| Err((ErrorKind::Io, "the call of the script was given up").into()))
    }

    /// Sends what waits until nothing does.
    async fn send(&self) {
        let _sender = Sender(&self.waiting);
        while let Some(mut group) = self.take_group() {
            let answers = self.call(&group).await;
            if answers.is_err() {
                // They would wait for a server that does not answer one group after the other.
                group.extend(self.waiting.lock().commits.drain(..));
            }
            let mut answers = answers.map(Vec::into_iter);
            for Pending { answer, .. } in group {
                let of_this = match &mut answers {
                    Ok(answers) => answers.next().ok_or_else(left_out),
                    Err(error) => Err(error.clone()),
                };
                // Who waited may have gone away.
                drop(answer.send(of_this));
            }
        }
    }

    fn take_group(&self) -> Option<Vec<Pending>> {
        let mut waiting = self.waiting.lock();
        waiting.commits.retain(|pending| !pending.answer.is_closed());
        let (mut group, mut bytes) = (Vec::new(), 0);
        while let Some(next) = waiting.commits.front() {
            bytes += next.arguments.iter().map(Vec::len).sum::<usize>();
            if !group.is_empty() && (bytes > BYTES_AT_ONCE || group.len() == COMMITS_AT_ONCE) {
                break;
            }
            group.extend(waiting.commits.pop_front());
        }
        waiting.has_sender = !group.is_empty();
        waiting.has_sender.then_some(group)
    }

    async fn call(&self, group: &[Pending]) -> Result<Vec<Vec<String>>, RedisError> {
        let mut call = redis::cmd("EVALSHA");
        call.arg(self.script.get_hash()).arg(0).arg(&*self.prefix).arg(&*self.generation);
        call.arg(REMEMBER_COMMITS.as_secs()).arg(group.len());
        for pending in group {
            call.arg(pending.arguments.len()).arg(&pending.arguments);
        }
        let (time, answers) = self.run(&call).await?;
        self.clock.observe(Timestamp(time));
        Ok(answers)
    }

    /// Runs the script, which a server that was started anew has to learn first.
    async fn run(&self, call: &redis::Cmd) -> Result<(i64, Vec<Vec<String>>), RedisError> {
        let mut connection = self.connection.clone();
        match call.query_async(&mut connection).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.script.load_async(&mut connection).await?;
                call.query_async(&mut connection).await
            }
            answer => answer,
        }
    }
}

fn left_out() -> RedisError {
    (ErrorKind::UnexpectedReturnType, "the script left a commit out").into()
}

/// Lets the next commit start another sender when this one panics; those that waited get no answer.
struct Sender<'a>(&'a Mutex<Waiting>);

impl Drop for Sender<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            *self.0.lock() = Waiting::default();
        }
    }
}
