//! One unary call over tonic, without generated code: `/raw.Raw/Report`.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use clara_proto::v1;
use tonic::{Request, Response, Status, body::Body, client, server, transport::Channel};
use tonic_prost::ProstCodec;

type Codec<T, U> = ProstCodec<T, U>;

/// Answers one report.
pub(super) trait Answers: Clone + Send + Sync + 'static {
    fn answer(&self, key: v1::AttemptKey) -> impl Future<Output = Result<(), Status>> + Send;
}

/// The service.
#[derive(Debug, Clone)]
pub(super) struct Reports<A>(pub(super) A);

impl<A> server::NamedService for Reports<A> {
    const NAME: &'static str = "raw.Raw";
}

struct Method<A>(A);

impl<A: Answers> server::UnaryService<v1::HeartbeatRequest> for Method<A> {
    type Response = v1::HeartbeatResponse;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Self::Response>, Status>> + Send>>;

    fn call(&mut self, request: Request<v1::HeartbeatRequest>) -> Self::Future {
        let answers = self.0.clone();
        Box::pin(async move {
            let key = request.into_inner().key.ok_or_else(|| Status::invalid_argument("no key"))?;
            answers.answer(key).await?;
            Ok(Response::new(v1::HeartbeatResponse { directive: v1::Directive::Continue.into() }))
        })
    }
}

impl<A: Answers> tower::Service<axum::http::Request<Body>> for Reports<A> {
    type Response = axum::http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: axum::http::Request<Body>) -> Self::Future {
        let method = Method(self.0.clone());
        Box::pin(async move {
            let codec = Codec::<v1::HeartbeatResponse, v1::HeartbeatRequest>::default();
            Ok(server::Grpc::new(codec).unary(method, request).await)
        })
    }
}

/// Reports one stage.
pub(super) async fn report(channel: &Channel, key: v1::AttemptKey) -> Result<(), Status> {
    let mut grpc = client::Grpc::new(channel.clone());
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let request = Request::new(v1::HeartbeatRequest { key: Some(key), progress: None });
    let path = axum::http::uri::PathAndQuery::from_static("/raw.Raw/Report");
    let codec = Codec::<v1::HeartbeatRequest, v1::HeartbeatResponse>::default();
    grpc.unary(request, path, codec).await.map(drop)
}
