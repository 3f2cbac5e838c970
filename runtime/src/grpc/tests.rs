//! What gRPC clients learn at the listener for health.

use std::time::Duration;

use tonic::{Code, transport::Channel};
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use super::*;
use crate::{http, metrics, task::Tasks};

async fn served(health: &Health, tasks: &Tasks) -> Channel {
    let page = metrics::install().unwrap();
    let free_port = "127.0.0.1:0".parse().unwrap();
    let shutdown = tasks.shutdown().clone();
    let (address, serving) =
        http::serve(free_port, page, health.clone(), http::Mount::default(), shutdown).await.unwrap();
    tasks.spawn("http.serve", serving);
    Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

#[tokio::test]
async fn health_over_grpc_follows_the_checks() {
    let tasks = Tasks::new(CancellationToken::new());
    let health = Health::expecting(&["broker"]);
    let mut client = HealthClient::new(served(&health, &tasks).await);
    let status = client.check(of("")).await.unwrap().into_inner().status();
    assert_eq!(status, ServingStatus::NotServing);
    let mut seen = client.watch(of("clara.v1.WorkerService")).await.unwrap().into_inner();
    assert_eq!(seen.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    health.set("broker", Ok(()));
    assert_eq!(seen.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    assert_eq!(client.check(of("")).await.unwrap().into_inner().status(), ServingStatus::Serving);
    assert_eq!(client.check(of("clara.v9.Other")).await.unwrap_err().code(), Code::NotFound);
    assert!(tasks.finish(Duration::from_secs(3)).await, "a watcher keeps the daemon from its end");
    assert!(seen.message().await.is_ok_and(|told| told.is_none()));
}

#[tokio::test]
async fn reflection_lists_the_services() {
    let tasks = Tasks::new(CancellationToken::new());
    let mut client = ServerReflectionClient::new(served(&Health::default(), &tasks).await);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = client.server_reflection_info(stream::iter([request])).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = answer else { panic!("{answer:?}") };
    let names: Vec<&str> = list.service.iter().map(|service| service.name.as_str()).collect();
    for name in ["clara.v1.ControlService", "clara.v1.WorkerService", "grpc.health.v1.Health"] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    drop(answers);
    assert!(tasks.finish(Duration::from_secs(3)).await);
}
