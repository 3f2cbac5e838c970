//! Calls over real sockets: to coordinators that are gone, silent, or there.

use std::net::SocketAddr;

use clara_lifecycle::{
    hello::ProtocolRange,
    id::{Attempt, ClassName, Fence},
    job::AttemptKey,
    resources::Resources,
    stage::Stage,
};
use clara_proto::v1::worker_service_server::{WorkerService, WorkerServiceServer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{
    Request,
    transport::{Server, server::TcpIncoming},
};

use super::*;
use crate::task::Tasks;

type Answer<T> = Result<Response<T>, Status>;

/// Lets every lease go on, and knows nothing else.
struct Going;

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
    let server = Server::builder().add_service(WorkerServiceServer::new(Going));
    let ended = shutdown.clone().cancelled_owned();
    let serving = server.serve_with_incoming_shutdown(TcpIncoming::from(listener), ended);
    Tasks::new(shutdown.clone()).spawn("test.serve", serving);
}

async fn beat(coordinator: &GrpcCoordinator) -> Result<Directive, CoordinatorError> {
    let key = AttemptKey { stage: Stage::Train, attempt: Attempt::FIRST, fence: Fence(1) };
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
    let coordinator = GrpcCoordinator::new(&format!("http://{gone_at}, http://{there_at}")).unwrap();
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
    let coordinator = GrpcCoordinator::new(&format!("http://{silent_at},http://{there_at}")).unwrap();
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
    let coordinator = GrpcCoordinator::new(&format!("http://{first_at},http://{second_at}")).unwrap();
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
    let coordinator = GrpcCoordinator::new(&format!("http://{there_at}")).unwrap();
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
    let refused = GrpcCoordinator::new("http://127.0.0.1:7400,not a url").unwrap_err();
    assert!(refused.to_string().contains("not a url") && !refused.is_retryable(), "{refused}");
}
