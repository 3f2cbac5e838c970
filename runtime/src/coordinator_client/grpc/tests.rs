//! Calls over real sockets: to coordinators that are gone, silent, or there.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use clara_lifecycle::{
    hello::ProtocolRange,
    id::{Attempt, ClassName, Fence},
    job::AttemptKey,
    resources::Resources,
    stage::Stage,
};
use clara_proto::v1::worker_service_server::{WorkerService, WorkerServiceServer};
use futures::{
    StreamExt as _,
    future::ready,
    stream::{self, BoxStream},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Streaming,
    transport::{Server, server::TcpIncoming},
};

use super::*;
use crate::task::Tasks;

type Answer<T> = Result<Response<T>, Status>;

/// Lets every lease go on, and knows nothing else.
#[derive(Debug, Clone, Default)]
struct Going {
    exchanges: Exchanges,
    opened: Arc<AtomicUsize>,
}

/// How a coordinator exchanges.
#[derive(Debug, Clone, Copy, Default)]
enum Exchanges {
    /// Not at all, as that of the release before.
    #[default]
    Never,
    /// It answers so many calls together, the last first: those with an even fence go on, the others are cancelled.
    Backwards(usize),
    /// The first exchange ends at its first call, later ones answer.
    EndsOnce,
    /// The first exchange takes calls and says nothing, later ones answer.
    SilentOnce,
    /// It cannot be opened.
    Busy,
    /// Every call fails.
    Fails,
}

impl Going {
    fn with(exchanges: Exchanges) -> Self {
        Self { exchanges, opened: Arc::default() }
    }
}

fn going_on(v1::ExchangeRequest { number, call }: v1::ExchangeRequest) -> v1::ExchangeResponse {
    let Some(Call::Heartbeat(v1::HeartbeatRequest { key: Some(key), .. })) = call else {
        panic!("expected a heartbeat, got {call:?}");
    };
    let directive = if key.fence % 2 == 0 { v1::Directive::Continue } else { v1::Directive::Cancel };
    v1::ExchangeResponse {
        number,
        reply: Some(Reply::Heartbeat(v1::HeartbeatResponse { directive: directive.into() })),
    }
}

#[tonic::async_trait]
impl WorkerService for Going {
    async fn hello(&self, _: Request<v1::HelloRequest>) -> Answer<v1::HelloResponse> {
        Err(Status::failed_precondition("not here"))
    }

    async fn claim(&self, _: Request<v1::ClaimRequest>) -> Answer<v1::ClaimResponse> {
        Err(Status::failed_precondition("not here"))
    }

    async fn heartbeat(&self, _: Request<v1::HeartbeatRequest>) -> Answer<v1::HeartbeatResponse> {
        Ok(Response::new(v1::HeartbeatResponse { directive: v1::Directive::Continue.into() }))
    }

    async fn complete(&self, _: Request<v1::CompleteRequest>) -> Answer<v1::CompleteResponse> {
        Err(Status::failed_precondition("not here"))
    }

    async fn fail(&self, _: Request<v1::FailRequest>) -> Answer<v1::FailResponse> {
        Err(Status::failed_precondition("not here"))
    }

    async fn hand_back(&self, _: Request<v1::HandBackRequest>) -> Answer<v1::HandBackResponse> {
        Err(Status::failed_precondition("not here"))
    }

    type ExchangeStream = BoxStream<'static, Result<v1::ExchangeResponse, Status>>;

    async fn exchange(&self, calls: Request<Streaming<v1::ExchangeRequest>>) -> Answer<Self::ExchangeStream> {
        let opened = self.opened.fetch_add(1, Ordering::Relaxed);
        let calls = calls.into_inner().map(Result::unwrap);
        let replies = match self.exchanges {
            Exchanges::Never => return Err(Status::unimplemented("not here")),
            Exchanges::Busy => return Err(Status::unavailable("not now")),
            Exchanges::EndsOnce if opened == 0 => calls.take(1).filter_map(|_| ready(None)).boxed(),
            Exchanges::SilentOnce if opened == 0 => calls.filter_map(|_| ready(None)).boxed(),
            Exchanges::EndsOnce | Exchanges::SilentOnce => calls.map(going_on).boxed(),
            Exchanges::Backwards(many) => {
                let backwards = |calls: Vec<_>| stream::iter(calls.into_iter().rev().map(going_on));
                calls.chunks(many).flat_map(backwards).boxed()
            }
            Exchanges::Fails => {
                let failure = |v1::ExchangeRequest { number, .. }| {
                    let (code, message) = (Code::InvalidArgument.into(), "no such stage".to_owned());
                    v1::ExchangeResponse {
                        number,
                        reply: Some(Reply::Failure(v1::CallFailure { code, message })),
                    }
                };
                calls.map(failure).boxed()
            }
        };
        Ok(Response::new(replies.map(Ok).boxed()))
    }

    async fn append_log(&self, _: Request<v1::AppendLogRequest>) -> Answer<v1::AppendLogResponse> {
        Err(Status::failed_precondition("not here"))
    }
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn serve(listener: TcpListener, shutdown: &CancellationToken) {
    serve_going(Going::default(), listener, shutdown);
}

fn serve_going(going: Going, listener: TcpListener, shutdown: &CancellationToken) {
    let server = Server::builder().add_service(WorkerServiceServer::new(going));
    let ended = shutdown.clone().cancelled_owned();
    let serving = server.serve_with_incoming_shutdown(TcpIncoming::from(listener), ended);
    Tasks::new(shutdown.clone()).spawn("test.serve", serving);
}

async fn beat(coordinator: &GrpcCoordinator) -> Result<Directive, CoordinatorError> {
    beat_of(coordinator, 2).await
}

async fn beat_of(coordinator: &GrpcCoordinator, fence: u64) -> Result<Directive, CoordinatorError> {
    let key = AttemptKey { stage: Stage::Train, attempt: Attempt::FIRST, fence: Fence(fence) };
    let attempt = ClaimedAttempt { job: "job-1".parse().unwrap(), key };
    coordinator.heartbeat(&attempt, &Progress::default()).await
}

#[tokio::test]
async fn a_coordinator_that_is_gone_is_left_for_one_that_is_there() {
    let (gone, gone_at) = listener().await;
    drop(gone);
    let (there, there_at) = listener().await;
    let shutdown = CancellationToken::new();
    serve(there, &shutdown);
    let coordinator =
        GrpcCoordinator::new(&format!("http://{gone_at}, http://{there_at}"), &Tasks::new(shutdown.clone()))
            .unwrap();
    for _ in 0..3 {
        assert_eq!(beat(&coordinator).await, Ok(Directive::Continue));
    }
    shutdown.cancel();
}

#[tokio::test]
async fn a_coordinator_that_takes_connections_and_says_nothing_is_left_within_a_lease() {
    let (silent, silent_at) = listener().await;
    let (there, there_at) = listener().await;
    let shutdown = CancellationToken::new();
    serve(there, &shutdown);
    let coordinator =
        GrpcCoordinator::new(&format!("http://{silent_at},http://{there_at}"), &Tasks::new(shutdown.clone()))
            .unwrap();
    let began = std::time::Instant::now();
    assert_eq!(beat(&coordinator).await, Ok(Directive::Continue));
    // A worker gives itself up after 12 s of the usual lease of 15 s.
    let took = began.elapsed();
    assert!(took < Duration::from_secs(11), "{took:?}");
    drop(silent);
    shutdown.cancel();
}

#[tokio::test]
async fn without_any_coordinator_the_error_names_every_url_and_may_be_retried() {
    let (first, first_at) = listener().await;
    let (second, second_at) = listener().await;
    drop((first, second));
    let tasks = Tasks::new(CancellationToken::new());
    let coordinator = GrpcCoordinator::new(&format!("http://{first_at},http://{second_at}"), &tasks).unwrap();
    let error = beat(&coordinator).await.unwrap_err();
    assert!(error.is_retryable());
    let text = error.to_string();
    assert!(text.contains(&first_at.to_string()) && text.contains(&second_at.to_string()), "{text}");
}

#[tokio::test]
async fn a_coordinator_that_knows_no_greeting_is_worked_with_as_protocol_1() {
    let (there, there_at) = listener().await;
    let shutdown = CancellationToken::new();
    // The server answers every call as a coordinator answers those that it does not have.
    let server = Server::builder().add_routes(tonic::service::Routes::default());
    let ended = shutdown.clone().cancelled_owned();
    let serving = server.serve_with_incoming_shutdown(TcpIncoming::from(there), ended);
    Tasks::new(shutdown.clone()).spawn("test.serve", serving);
    let tasks = Tasks::new(shutdown.clone());
    let coordinator = GrpcCoordinator::new(&format!("http://{there_at}"), &tasks).unwrap();
    let hello = Hello {
        worker: "worker-1".parse().unwrap(),
        stage: Stage::Train,
        protocol: ProtocolRange::OURS,
        build: "0.1.0".to_owned(),
        slots: 1,
        resources: Resources::default(),
        classes: Vec::new(),
    };
    let welcome = coordinator.hello(&hello).await.unwrap();
    assert_eq!((hello.agreed(&welcome), welcome.classes), (Ok(1), vec![ClassName::default()]));
    shutdown.cancel();
}

#[tokio::test]
async fn a_list_with_something_that_is_no_url_is_refused() {
    let tasks = Tasks::new(CancellationToken::new());
    let refused = GrpcCoordinator::new("http://127.0.0.1:7400,not a url", &tasks).unwrap_err();
    assert!(refused.to_string().contains("not a url") && !refused.is_retryable(), "{refused}");
}

/// A coordinator that exchanges so, and a worker's way to it.
async fn exchanging(exchanges: Exchanges) -> (Going, GrpcCoordinator, CancellationToken) {
    let (there, there_at) = listener().await;
    let shutdown = CancellationToken::new();
    let going = Going::with(exchanges);
    serve_going(going.clone(), there, &shutdown);
    let tasks = Tasks::new(shutdown.clone());
    (going, GrpcCoordinator::new(&format!("http://{there_at}"), &tasks).unwrap(), shutdown)
}

#[tokio::test]
async fn a_coordinator_without_an_exchange_is_asked_call_by_call_and_for_an_exchange_once() {
    let (going, coordinator, shutdown) = exchanging(Exchanges::Never).await;
    for _ in 0..3 {
        assert_eq!(beat(&coordinator).await, Ok(Directive::Continue));
    }
    assert_eq!(going.opened.load(Ordering::Relaxed), 1);
    shutdown.cancel();
}

#[tokio::test]
async fn replies_find_their_calls_in_whatever_order_they_come_over_one_exchange() {
    let (going, coordinator, shutdown) = exchanging(Exchanges::Backwards(8)).await;
    let coordinator = &coordinator;
    let beats = (0..8).map(|fence| async move { (fence, beat_of(coordinator, fence).await) });
    for (fence, directive) in futures::future::join_all(beats).await {
        let wanted = if fence % 2 == 0 { Directive::Continue } else { Directive::Cancel };
        assert_eq!(directive, Ok(wanted), "{fence}");
    }
    assert_eq!(going.opened.load(Ordering::Relaxed), 1);
    shutdown.cancel();
}

#[tokio::test]
async fn calls_that_wait_when_an_exchange_ends_may_be_made_again_over_another() {
    let (going, coordinator, shutdown) = exchanging(Exchanges::EndsOnce).await;
    let lost = beat(&coordinator).await.unwrap_err();
    assert!(lost.is_retryable() && lost.to_string().contains("the exchange ended"), "{lost}");
    assert_eq!(beat(&coordinator).await, Ok(Directive::Continue));
    assert_eq!(going.opened.load(Ordering::Relaxed), 2);
    shutdown.cancel();
}

#[tokio::test]
async fn a_call_that_waits_when_an_exchange_ends_is_made_again_at_another_coordinator() {
    let ((one, one_at), (two, two_at)) = (listener().await, listener().await);
    let shutdown = CancellationToken::new();
    let (ending, other) = (Going::with(Exchanges::EndsOnce), Going::with(Exchanges::Backwards(1)));
    serve_going(ending.clone(), one, &shutdown);
    serve_going(other.clone(), two, &shutdown);
    let tasks = Tasks::new(shutdown.clone());
    let coordinator = GrpcCoordinator::new(&format!("http://{one_at},http://{two_at}"), &tasks).unwrap();
    assert_eq!(beat(&coordinator).await, Ok(Directive::Continue));
    assert_eq!(ending.opened.load(Ordering::Relaxed) + other.opened.load(Ordering::Relaxed), 2);
    shutdown.cancel();
}

#[tokio::test]
async fn an_exchange_that_says_nothing_is_left_for_another_after_the_time_of_one_call() {
    let (going, coordinator, shutdown) = exchanging(Exchanges::SilentOnce).await;
    let began = Instant::now();
    let silent = beat(&coordinator).await.unwrap_err();
    assert!(silent.is_retryable() && silent.to_string().contains("no answer"), "{silent}");
    assert!(began.elapsed() < 2 * ANSWER_WITHIN, "{:?}", began.elapsed());
    assert_eq!(beat(&coordinator).await, Ok(Directive::Continue));
    assert_eq!(going.opened.load(Ordering::Relaxed), 2);
    shutdown.cancel();
}

#[tokio::test]
async fn those_who_open_an_exchange_together_learn_from_one_try() {
    let (going, coordinator, shutdown) = exchanging(Exchanges::Busy).await;
    let coordinator = &coordinator;
    let beats = (0..8).map(|fence| async move { beat_of(coordinator, fence).await });
    let refused = futures::future::join_all(beats).await;
    assert!(refused.iter().all(|refused| refused.as_ref().is_err_and(CoordinatorError::is_retryable)));
    assert_eq!(going.opened.load(Ordering::Relaxed), 1);
    shutdown.cancel();
}

#[tokio::test]
async fn a_call_that_fails_in_an_exchange_is_refused_as_it_would_be_alone() {
    let (_, coordinator, shutdown) = exchanging(Exchanges::Fails).await;
    let refused = beat(&coordinator).await.unwrap_err();
    assert!(!refused.is_retryable() && refused.to_string().contains("no such stage"), "{refused}");
    shutdown.cancel();
}
