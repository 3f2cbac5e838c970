//! Calls about attempts over one stream, so that what many of them say at the same time travels together.

use std::{
    collections::HashMap,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use clara_proto::v1::{self, call::Call, reply::Reply};
use futures::{
    StreamExt as _,
    channel::mpsc::{self, UnboundedReceiver, UnboundedSender},
};
use parking_lot::Mutex;
use tokio::{sync::oneshot, time::Instant};
use tonic::{Code, Response, Status, Streaming};

use super::ANSWER_WITHIN;
use crate::task::Tasks;

/// The exchange with one coordinator; clones are the same one. Made when it is first needed, and anew after every loss.
#[derive(Debug, Clone)]
pub(super) struct Exchange {
    state: Arc<tokio::sync::Mutex<State>>,
    tasks: Tasks,
}

#[derive(Debug)]
enum State {
    Closed,
    Open(Line),
    /// It could not be opened, and when that was known.
    Failed(Status, Instant),
    /// The coordinator has none: it is of the release before.
    Unknown,
}

/// An open exchange.
#[derive(Debug, Clone)]
struct Line {
    calls: UnboundedSender<v1::Call>,
    waiting: Arc<Waiting>,
}

type Expected = oneshot::Sender<Result<Reply, Status>>;

/// Calls that wait for their replies, by number; nothing once the exchange has ended.
#[derive(Debug)]
struct Waiting {
    calls: Mutex<Option<HashMap<u64, Expected>>>,
    numbers: AtomicU64,
}

/// A call that waits; forgotten when it is dropped.
struct Expecting<'a> {
    waiting: &'a Waiting,
    number: u64,
}

impl Drop for Expecting<'_> {
    fn drop(&mut self) {
        if let Some(calls) = self.waiting.calls.lock().as_mut() {
            calls.remove(&self.number);
        }
    }
}

impl Exchange {
    /// An exchange whose reader is one of `tasks`.
    pub(super) fn new(tasks: &Tasks) -> Self {
        Self { state: Arc::new(tokio::sync::Mutex::new(State::Closed)), tasks: tasks.clone() }
    }

    /// Makes a call over the stream that `open` opens when there is none. `None` when the coordinator has no exchange.
    pub(super) async fn ask<F>(
        &self,
        call: Call,
        open: impl FnOnce(UnboundedReceiver<v1::Call>) -> F,
    ) -> Result<Option<Reply>, Status>
    where
        F: Future<Output = Result<Response<Streaming<v1::Reply>>, Status>>,
    {
        let Some(line) = self.line(open).await? else { return Ok(None) };
        let number = line.waiting.numbers.fetch_add(1, Ordering::Relaxed);
        let (sender, reply) = oneshot::channel();
        let ended = || Status::unavailable("the coordinator ended the exchange");
        match line.waiting.calls.lock().as_mut() {
            Some(calls) => drop(calls.insert(number, sender)),
            None => return Err(ended()),
        }
        let _expecting = Expecting { waiting: &line.waiting, number };
        line.calls.unbounded_send(v1::Call { number, call: Some(call) }).map_err(|_| ended())?;
        match tokio::time::timeout(ANSWER_WITHIN, reply).await {
            Ok(Ok(reply)) => reply.map(Some),
            Ok(Err(_)) => Err(ended()),
            Err(_) => Err(Status::unavailable(format!("no answer within {ANSWER_WITHIN:?}"))),
        }
    }

    /// The open exchange; opened by the first of those who ask at the same time, and all of them learn how that went.
    async fn line<F>(
        &self,
        open: impl FnOnce(UnboundedReceiver<v1::Call>) -> F,
    ) -> Result<Option<Line>, Status>
    where
        F: Future<Output = Result<Response<Streaming<v1::Reply>>, Status>>,
    {
        let asked_at = Instant::now();
        let mut state = self.state.lock().await;
        match &*state {
            State::Open(line) if line.waiting.calls.lock().is_some() => return Ok(Some(line.clone())),
            State::Failed(status, at) if *at >= asked_at => return Err(status.clone()),
            State::Unknown => return Ok(None),
            State::Open(_) | State::Failed(..) | State::Closed => {}
        }
        let (calls, sent) = mpsc::unbounded();
        match open(sent).await {
            Ok(replies) => {
                let waiting = Waiting { calls: Mutex::new(Some(HashMap::new())), numbers: AtomicU64::new(1) };
                let line = Line { calls, waiting: Arc::new(waiting) };
                let reading = read(replies.into_inner(), Arc::clone(&line.waiting));
                self.tasks.spawn_until_shutdown("coordinator.exchange", reading);
                *state = State::Open(line.clone());
                Ok(Some(line))
            }
            Err(status) if status.code() == Code::Unimplemented => {
                *state = State::Unknown;
                Ok(None)
            }
            Err(status) => {
                *state = State::Failed(status.clone(), Instant::now());
                Err(status)
            }
        }
    }
}

/// Hands replies to those who wait for them, until the exchange ends.
async fn read(mut replies: Streaming<v1::Reply>, waiting: Arc<Waiting>) {
    // Whoever still waits when this is dropped learns that from its sender.
    let _ended = Ended(&waiting);
    while let Some(Ok(v1::Reply { number, reply })) = replies.next().await {
        let expected = waiting.calls.lock().as_mut().and_then(|calls| calls.remove(&number));
        let reply = match reply {
            Some(Reply::Failure(v1::Failure { code, message })) => Err(Status::new(code.into(), message)),
            Some(reply) => Ok(reply),
            None => Err(Status::unimplemented("the coordinator sent a reply that this worker does not know")),
        };
        if let Some(expected) = expected {
            // The caller may have gone away.
            drop(expected.send(reply));
        }
    }
}

/// Ends what waits when the reader ends, however it does.
struct Ended<'a>(&'a Waiting);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.calls.lock().take();
    }
}
