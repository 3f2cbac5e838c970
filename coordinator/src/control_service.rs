//! What users say, over gRPC: jobs, registry, golden datasets.

mod calibration;
mod curve;
pub(crate) mod datasets;
mod gaps;
mod jobs;
mod library;
pub(crate) mod logs;
mod registry;
mod reviews;
mod rollouts;
mod watch;

use std::{pin::Pin, sync::Arc};

use clara_proto::v1::{self, control_service_server::ControlService};
use clara_runtime::{artifacts::ArtifactStore, broker::Broker, task::Tasks};
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use crate::{
    driver::{Driver, DriverError},
    review::Reviews,
    rollout::Rollouts,
    submit::SubmissionCheck,
    worker_service::status_of,
};

/// The coordinator as users see it.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    pub(crate) driver: Driver,
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) artifacts: ArtifactStore,
    pub(crate) reviews: Reviews,
    pub(crate) check: Option<Arc<dyn SubmissionCheck>>,
    pub(crate) tasks: Tasks,
    pub(crate) rollouts: Rollouts,
}

pub(crate) use registry::{GRACE, LineageDocument};

type Events = Pin<Box<dyn Stream<Item = Result<v1::WatchJobResponse, Status>> + Send>>;

fn answered<T>(result: Result<T, DriverError>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(|error| status_of(&error))
}

macro_rules! control_service {
    ($($call:ident: $request:ident => $response:ident;)+) => {
        #[tonic::async_trait]
        impl ControlService for Control {
            type WatchJobStream = Events;

            async fn watch_job(&self, request: Request<v1::WatchJobRequest>) -> Result<Response<Events>, Status> {
                answered(self.watch(request.into_inner()).await)
            }

            type ReadLogStream = logs::LogParts;

            async fn read_log(
                &self,
                request: Request<v1::ReadLogRequest>,
            ) -> Result<Response<logs::LogParts>, Status> {
                answered(self.stream_log(request.into_inner()).await)
            }

            type ReadDatasetFileStream = datasets::FileParts;

            async fn read_dataset_file(
                &self,
                request: Request<v1::ReadDatasetFileRequest>,
            ) -> Result<Response<datasets::FileParts>, Status> {
                answered(self.stream_dataset_file(request.into_inner()).await)
            }

            $(async fn $call(&self, request: Request<v1::$request>) -> Result<Response<v1::$response>, Status> {
                answered(self.$call(request.into_inner()).await)
            })+
        }
    };
}

control_service! {
    submit_job: SubmitJobRequest => SubmitJobResponse;
    get_job: GetJobRequest => GetJobResponse;
    list_jobs: ListJobsRequest => ListJobsResponse;
    cancel_job: CancelJobRequest => CancelJobResponse;
    retry_job: RetryJobRequest => RetryJobResponse;
    list_queues: ListQueuesRequest => ListQueuesResponse;
    explain_job: ExplainJobRequest => ExplainJobResponse;
    get_curve: GetCurveRequest => GetCurveResponse;
    list_adapters: ListAdaptersRequest => ListAdaptersResponse;
    get_adapter: GetAdapterRequest => GetAdapterResponse;
    review_adapter: ReviewAdapterRequest => ReviewAdapterResponse;
    list_reviews: ListReviewsRequest => ListReviewsResponse;
    get_review: GetReviewRequest => GetReviewResponse;
    save_review: SaveReviewRequest => SaveReviewResponse;
    list_audit: ListAuditRequest => ListAuditResponse;
    export_registry: ExportRegistryRequest => ExportRegistryResponse;
    import_registry: ImportRegistryRequest => ImportRegistryResponse;
    move_alias: MoveAliasRequest => MoveAliasResponse;
    deprecate_adapter: DeprecateAdapterRequest => DeprecateAdapterResponse;
    sign_adapter: SignAdapterRequest => SignAdapterResponse;
    verify_registry: VerifyRegistryRequest => VerifyRegistryResponse;
    verify_audit: VerifyAuditRequest => VerifyAuditResponse;
    get_lineage: GetLineageRequest => GetLineageResponse;
    get_model_card: GetModelCardRequest => GetModelCardResponse;
    collect_garbage: CollectGarbageRequest => CollectGarbageResponse;
    roll_out_adapter: RollOutAdapterRequest => RollOutAdapterResponse;
    roll_back_family: RollBackFamilyRequest => RollBackFamilyResponse;
    list_served: ListServedRequest => ListServedResponse;
    put_golden: PutGoldenRequest => PutGoldenResponse;
    get_golden: GetGoldenRequest => GetGoldenResponse;
    list_golden: ListGoldenRequest => ListGoldenResponse;
    freeze_golden: FreezeGoldenRequest => FreezeGoldenResponse;
    list_gaps: ListGapsRequest => ListGapsResponse;
    resolve_gaps: ResolveGapsRequest => ResolveGapsResponse;
    train_gaps: TrainGapsRequest => TrainGapsResponse;
    put_label: PutLabelRequest => PutLabelResponse;
    list_labels: ListLabelsRequest => ListLabelsResponse;
    calibrate: CalibrateRequest => CalibrateResponse;
    list_calibrations: ListCalibrationsRequest => ListCalibrationsResponse;
    list_datasets: ListDatasetsRequest => ListDatasetsResponse;
    get_dataset: GetDatasetRequest => GetDatasetResponse;
}
