//! Calls about attempts over one stream, so that what many of them say at the same time travels together.

use std::{
    collections::HashMap,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use clara_proto::v1::{self, exchange_request::Call, exchange_response::Reply};
use futures::{StreamExt as _, channel::mpsc};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::{sync::oneshot, time::Instant};
use tonic::{Code, Response, Status, Streaming};

use super::{ANSWER_WITHIN, LARGEST_MESSAGE_BYTES};
use crate::task::Tasks;

/// How long a coordinator without an exchange is not asked for one again: it may be replaced by a newer one.
const ASK_AGAIN_AFTER: Duration = Duration::from_mins(1);

/// Calls on their way to a coordinator.
pub(super) type Calls = mpsc::UnboundedReceiver<v1::ExchangeRequest>;
/// How the opening of an exchange went.
type Opened = Result<Response<Streaming<v1::ExchangeResponse>>, Status>;

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
    /// The coordinator had none then: it is of the release before.
    Unknown(Instant),
}

/// An open exchange.
#[derive(Debug, Clone)]
struct Line {
    calls: mpsc::UnboundedSender<v1::ExchangeRequest>,
    waiting: Arc<Waiting>,
}

/// Calls that wait for their replies, by number; or why the exchange has ended.
#[derive(Debug)]
struct Waiting {
    calls: Mutex<Result<HashMap<u64, Expected>, Status>>,
    numbers: AtomicU64,
}

type Expected = oneshot::Sender<Result<Reply, Status>>;

/// A call that waits; forgotten when it is dropped.
struct Expecting<'a> {
    waiting: &'a Waiting,
    number: u64,
}

impl Drop for Expecting<'_> {
    fn drop(&mut self) {
        if let Ok(calls) = self.waiting.calls.lock().as_mut() {
            calls.remove(&self.number);
        }
    }
}

impl Exchange {
    /// An exchange whose reader is one of `tasks`.
    pub(super) fn new(tasks: &Tasks) -> Self {
        Self { state: Arc::new(tokio::sync::Mutex::new(State::Closed)), tasks: tasks.clone() }
    }

    /// Makes a call over the stream that `open` opens when there is none. `None` when the coordinator has no exchange, or
    /// the call is too large to share one.
    pub(super) async fn ask<F>(
        &self,
        call: &Call,
        open: impl FnOnce(Calls) -> F,
    ) -> Result<Option<Reply>, Status>
    where
        F: Future<Output = Opened>,
    {
        let mut used = None;
        let asked = tokio::time::timeout(ANSWER_WITHIN, self.ask_over(&mut used, call, open)).await;
        asked.unwrap_or_else(|_| {
            self.leave(used);
            Err(Status::unavailable(format!("no answer within {ANSWER_WITHIN:?}")))
        })
    }

    /// Makes a call over the line that it tells in `used`.
    async fn ask_over<F>(
        &self,
        used: &mut Option<Line>,
        call: &Call,
        open: impl FnOnce(Calls) -> F,
    ) -> Result<Option<Reply>, Status>
    where
        F: Future<Output = Opened>,
    {
        let mut request = v1::ExchangeRequest { number: 0, call: Some(call.clone()) };
        if request.encoded_len() + u64::BITS as usize >= LARGEST_MESSAGE_BYTES {
            return Ok(None);
        }
        let Some(line) = self.line(open).await? else { return Ok(None) };
        let Line { calls, waiting } = &*used.insert(line);
        request.number = waiting.numbers.fetch_add(1, Ordering::Relaxed);
        let (sender, reply) = oneshot::channel();
        match waiting.calls.lock().as_mut() {
            Ok(expected) => drop(expected.insert(request.number, sender)),
            Err(ended) => return Err(ended.clone()),
        }
        let _expecting = Expecting { waiting, number: request.number };
        // Unsent, it is not answered either.
        drop(calls.unbounded_send(request));
        match reply.await {
            Ok(reply) => reply.map(Some),
            Err(_) => {
                Err(waiting.calls.lock().as_ref().err().cloned().unwrap_or_else(|| ended("it was dropped")))
            }
        }
    }

    /// Lets later calls open another line than `used`, which does not answer.
    fn leave(&self, used: Option<Line>) {
        // Somebody who holds it is opening one.
        let Ok(mut state) = self.state.try_lock() else { return };
        if let (State::Open(line), Some(used)) = (&*state, used)
            && Arc::ptr_eq(&line.waiting, &used.waiting)
        {
            *state = State::Closed;
        }
    }

    /// The open exchange; opened by the first of those who ask at the same time, and all of them learn how that went.
    async fn line<F>(&self, open: impl FnOnce(Calls) -> F) -> Result<Option<Line>, Status>
    where
        F: Future<Output = Opened>,
    {
        let asked_at = Instant::now();
        let mut state = self.state.lock().await;
        match &*state {
            State::Open(line) if line.waiting.calls.lock().is_ok() => return Ok(Some(line.clone())),
            State::Failed(status, at) if *at >= asked_at => return Err(status.clone()),
            State::Unknown(at) if at.elapsed() < ASK_AGAIN_AFTER => return Ok(None),
            State::Open(_) | State::Failed(..) | State::Unknown(_) | State::Closed => {}
        }
        // Those who ask bound it: each has one call in it, and leaves it when that is not answered in time.
        let (calls, unsent) = mpsc::unbounded();
        match open(unsent).await {
            Ok(replies) => {
                let waiting = Waiting { calls: Mutex::new(Ok(HashMap::new())), numbers: AtomicU64::new(1) };
                let line = Line { calls, waiting: Arc::new(waiting) };
                let reading = read(replies.into_inner(), Arc::clone(&line.waiting));
                // Not part of the attempt that happens to be the first.
                tracing::info_span!(parent: None, "exchange")
                    .in_scope(|| self.tasks.spawn_until_shutdown("coordinator.exchange", reading));
                *state = State::Open(line.clone());
                Ok(Some(line))
            }
            Err(status) if status.code() == Code::Unimplemented => {
                if !matches!(*state, State::Unknown(_)) {
                    tracing::info!("the coordinator is older than this worker: each call goes by itself");
                }
                *state = State::Unknown(Instant::now());
                Ok(None)
            }
            Err(status) => {
                *state = State::Failed(status.clone(), Instant::now());
                Err(status)
            }
        }
    }
}

fn ended(why: &str) -> Status {
    Status::unavailable(format!("the exchange ended: {why}"))
}

/// Hands replies to those who wait for them, until the exchange ends.
async fn read(mut replies: Streaming<v1::ExchangeResponse>, waiting: Arc<Waiting>) {
    let mut ending = Ending { waiting: &waiting, why: ended("this worker ends") };
    ending.why = loop {
        let v1::ExchangeResponse { number, reply } = match replies.next().await {
            Some(Ok(response)) => response,
            Some(Err(status)) => break ended(status.message()),
            None => break ended("the coordinator closed it"),
        };
        let expected = waiting.calls.lock().as_mut().ok().and_then(|calls| calls.remove(&number));
        let reply = match reply {
            Some(Reply::Failure(v1::CallFailure { code, message })) => Err(Status::new(code.into(), message)),
            Some(reply) => Ok(reply),
            None => Err(Status::unimplemented("the coordinator sent a reply that this worker does not know")),
        };
        if let Some(expected) = expected {
            // The caller may have gone away.
            drop(expected.send(reply));
        }
    };
    tracing::debug!("{}", ending.why.message());
}

/// Ends what waits when the reader ends, however it does.
struct Ending<'a> {
    waiting: &'a Waiting,
    why: Status,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        // Whoever still waits learns it from its sender.
        *self.waiting.calls.lock() = Err(self.why.clone());
    }
}
