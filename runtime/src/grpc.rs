//! Health and reflection over gRPC, which every gRPC listener answers beside its own services.

use futures::{
    StreamExt as _,
    future::ready,
    stream::{self, BoxStream},
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, service::Routes};
use tonic_health::pb::{
    self, HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_server::HealthServer,
};

use crate::health::Health;

#[cfg(test)]
mod tests;

/// Names that health may be asked for; the empty one means the whole process. All are ready together.
const SERVICES: [&str; 3] = ["", "clara.v1.ControlService", "clara.v1.WorkerService"];

/// `grpc.health.v1.Health`, which says what `/readyz` says, and `grpc.reflection.v1`.
pub fn routes(health: &Health, shutdown: &CancellationToken) -> Routes {
    let health = HealthService { health: health.clone(), shutdown: shutdown.clone() };
    let mut routes = Routes::builder();
    routes.add_service(HealthServer::new(health));
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(clara_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(pb::FILE_DESCRIPTOR_SET)
        .build_v1();
    match reflection {
        Ok(reflection) => {
            routes.add_service(reflection);
        }
        Err(error) => tracing::error!("gRPC reflection is off: {error}; this is a fault in Clara"),
    }
    routes.routes()
}

#[derive(Debug)]
struct HealthService {
    health: Health,
    shutdown: CancellationToken,
}

#[tonic::async_trait]
impl pb::health_server::Health for HealthService {
    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        if !SERVICES.contains(&service.as_str()) {
            return Err(Status::not_found(format!("no service {service} is here")));
        }
        Ok(Response::new(answer(self.health.ready())))
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let ended = self.shutdown.clone().cancelled_owned();
        if !SERVICES.contains(&request.into_inner().service.as_str()) {
            let unknown = HealthCheckResponse { status: ServingStatus::ServiceUnknown.into() };
            let told = stream::once(ready(Ok(unknown))).chain(stream::pending());
            return Ok(Response::new(told.take_until(ended).boxed()));
        }
        let told = stream::unfold(
            (self.health.clone(), None),
            |(health, last): (Health, Option<bool>)| async move {
                let now = match last {
                    None => health.ready(),
                    Some(last) => {
                        health.until(!last).await;
                        !last
                    }
                };
                Some((Ok(answer(now)), (health, Some(now))))
            },
        );
        Ok(Response::new(told.take_until(ended).boxed()))
    }
}

fn answer(ready: bool) -> HealthCheckResponse {
    let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
    HealthCheckResponse { status: status.into() }
}
