//! The REST interface: what gRPC answers, as JSON over HTTP.

mod datasets;
mod gaps;
mod golden;
mod jobs;
mod labels;
mod registry;
mod reviews;
mod rollouts;
mod spec;
mod stream;
mod upkeep;
mod versions;

use axum::{
    Json, Router,
    extract::{FromRequest, FromRequestParts, Query, Request},
    http::request::Parts,
    routing::{get, post, put},
};
use serde::de::DeserializeOwned;

use super::{Site, problem::Problem};

pub(super) use jobs::ListQuery;

/// Where the first version lies.
pub(super) const PREFIX: &str = "/api/v1";

/// A document, or why there is none.
type Answer<T> = Result<Json<T>, Problem>;

macro_rules! calls {
    ($($method:ident $path:literal $operation:literal $handler:path;)+) => {
        /// Method, path and name of every call, as `openapi.json` has them.
        #[cfg(test)]
        pub(super) const CALLS: &[(&str, &str, &str)] = &[$((stringify!($method), $path, $operation)),+];

        pub(super) fn routes() -> Router<Site> {
            Router::new()$(.route($path, $method($handler)))+
        }
    };
}

// The names are those of the calls over gRPC where there is one.
calls! {
    post "/jobs" "SubmitJob" jobs::submit;
    get "/jobs" "ListJobs" jobs::list;
    get "/jobs/{job}" "GetJob" jobs::show;
    post "/jobs/{job}/cancel" "CancelJob" jobs::cancel;
    post "/jobs/{job}/retry" "RetryJob" jobs::retry;
    get "/jobs/{job}/explanation" "ExplainJob" jobs::explain;
    get "/jobs/{job}/events" "ListEvents" stream::events;
    get "/jobs/{job}/events/stream" "WatchJob" stream::watch;
    get "/jobs/{job}/log" "ListLog" stream::log;
    get "/jobs/{job}/log/stream" "ReadLog" stream::follow_log;
    get "/jobs/{job}/curve" "GetCurve" jobs::curve;
    get "/jobs/{job}/curve.svg" "DrawCurve" jobs::drawing;
    get "/jobs/{job}/evaluation" "GetEvaluation" jobs::evaluation;
    get "/jobs/{job}/answers" "GetAnswers" jobs::answers;
    get "/queues" "ListQueues" jobs::queues;
    get "/adapters" "ListAdapters" registry::list;
    get "/adapters/{adapter}" "GetAdapter" registry::show;
    post "/adapters/{adapter}/review" "ReviewAdapter" registry::review;
    post "/adapters/{adapter}/deprecate" "DeprecateAdapter" versions::deprecate;
    post "/adapters/{adapter}/sign" "SignAdapter" versions::sign;
    get "/adapters/{adapter}/lineage" "GetLineage" versions::lineage;
    get "/adapters/{adapter}/card" "GetModelCard" versions::card;
    get "/adapters/{adapter}/diff" "DiffAdapters" versions::diff;
    post "/adapters/{adapter}/rollout" "RollOutAdapter" rollouts::roll_out;
    post "/adapters/{adapter}/labels" "PutLabel" labels::put;
    put "/families/{family}/aliases/{alias}" "MoveAlias" versions::move_alias;
    post "/families/{family}/rollback" "RollBackFamily" rollouts::roll_back;
    get "/served" "ListServed" rollouts::served;
    get "/labels" "ListLabels" labels::list;
    post "/calibrations" "Calibrate" labels::calibrate;
    get "/calibrations" "ListCalibrations" labels::calibrations;
    get "/reviews" "ListReviews" reviews::list;
    get "/reviews/{adapter}" "GetReview" reviews::show;
    get "/reviews/{adapter}/answers/{sample}" "GetReviewedAnswer" reviews::answer;
    post "/reviews/{adapter}/changes" "SaveReview" reviews::save;
    get "/audit" "ListAudit" registry::audit;
    get "/audit/verification" "VerifyAudit" upkeep::verify_audit;
    post "/registry/verification" "VerifyRegistry" upkeep::verify;
    post "/registry/garbage" "CollectGarbage" upkeep::collect;
    get "/registry" "ExportRegistry" registry::export;
    post "/registry" "ImportRegistry" registry::import;
    get "/gaps" "ListGaps" gaps::list;
    post "/gaps/resolve" "ResolveGaps" gaps::resolve;
    post "/gaps/train" "TrainGaps" gaps::train;
    get "/golden" "ListGolden" golden::list;
    get "/golden/{reference}" "GetGolden" golden::show;
    put "/golden/{reference}" "PutGolden" golden::write;
    post "/golden/{reference}/freeze" "FreezeGolden" golden::freeze;
    get "/datasets" "ListDatasets" datasets::list;
    get "/datasets/{dataset}" "GetDataset" datasets::show;
    get "/datasets/{dataset}/files/{file}" "ReadDatasetFile" datasets::file;
}

/// The JSON body of a request; what cannot be read is a problem.
struct Body<T>(T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match Json::from_request(request, state).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(rejected) => Err(Problem::of_body(rejected.status(), rejected.body_text())),
        }
    }
}

/// What stands behind the question mark of a path; what cannot be read is a problem.
struct Asked<T>(T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(rejected) => Err(Problem::bad_request(&rejected.body_text())),
        }
    }
}

#[cfg(test)]
mod tests;
