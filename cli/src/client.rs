//! The coordinator as the command sees it: one call per function, documents read into their types.

use std::collections::VecDeque;

use clara_lifecycle::{
    adapter::AdapterVersion,
    audit::AuditEntry,
    curve::TrainingCurve,
    golden::GoldenDataset,
    job::Job,
    queue::{Explanation, QueueOverview},
    review::{QueuedReview, ReviewChange, ReviewItem, ReviewSheet, SavedReview},
    spec::JobSpec,
    stage::Stage,
};
use clara_proto::v1::{self, control_service_client::ControlServiceClient};
use clara_runtime::{
    coordinator_client::peers::{self, Peers},
    daemon::with_causes,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tonic::{Code, Status, Streaming, transport::Channel};

pub(crate) use datasets::DatasetDocument;
pub(crate) use gaps::GapTraining;
pub(crate) use labels::CalibrationDocument;
pub(crate) use log::LogQuery;
pub(crate) use registry::LineageDocument;

mod datasets;
mod gaps;
mod labels;
mod log;
mod registry;
mod rollout;

/// As the coordinator allows.
const LARGEST_MESSAGE_BYTES: usize = 64 << 20;

/// Why a call gave no answer.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub(crate) struct CallError {
    pub(crate) code: Code,
    message: String,
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        Self { code: status.code(), message: status.message().to_owned() }
    }
}

impl CallError {
    fn unreadable(what: &str, error: &serde_json::Error) -> Self {
        let message = format!(
            "the coordinator sent a {what} that cannot be read: {error}; check that both have the same version"
        );
        Self { code: Code::Internal, message }
    }
}

/// A version, whether it is in production, and the aliases that point at it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AdapterDocument {
    #[serde(flatten)]
    pub(crate) version: AdapterVersion,
    pub(crate) champion: bool,
    /// Empty from coordinators that know no aliases.
    #[serde(default)]
    pub(crate) aliases: Vec<String>,
}

/// What a review led to.
#[derive(Debug, Clone)]
pub(crate) struct Reviewed {
    pub(crate) adapter: AdapterDocument,
    /// The job that goes on by it.
    pub(crate) job_id: Option<String>,
    /// Why the version is not decided yet.
    pub(crate) waits: Option<String>,
}

/// A golden dataset, and its digest when it is frozen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct GoldenDocument {
    #[serde(flatten)]
    pub(crate) dataset: GoldenDataset,
    pub(crate) frozen: bool,
    pub(crate) digest: Option<String>,
    /// How many adapter versions were evaluated with this very version; not told in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) evaluations: Option<u32>,
}

impl GoldenDocument {
    /// A draft.
    pub(crate) fn draft(dataset: GoldenDataset) -> Self {
        Self { dataset, frozen: false, digest: None, evaluations: None }
    }
}

/// A connection to one of the coordinators; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    peers: Peers<ControlServiceClient<Channel>>,
}

type Answer<T> = Result<T, CallError>;

impl Client {
    /// Connects to the first coordinator of `urls` that answers; several have commas between them.
    pub(crate) async fn connect(urls: &str) -> Answer<Self> {
        let (mut clients, mut connected, mut reasons) = (VecDeque::new(), false, Vec::new());
        for url in peers::urls(urls) {
            let endpoint = peers::endpoint(url).map_err(|error| refused(url, &with_causes(&error)))?;
            let mut channel = endpoint.connect_lazy();
            let untried = !connected;
            if untried {
                match endpoint.connect().await {
                    Ok(open) => (channel, connected) = (open, true),
                    Err(error) => reasons.push(with_causes(&error)),
                }
            }
            let calls = ControlServiceClient::new(channel)
                .max_decoding_message_size(LARGEST_MESSAGE_BYTES)
                .max_encoding_message_size(LARGEST_MESSAGE_BYTES);
            if untried && connected {
                clients.push_front((url.to_owned(), calls));
            } else {
                clients.push_back((url.to_owned(), calls));
            }
        }
        let peers = Peers::of(clients).filter(|_| connected);
        Ok(Self { peers: peers.ok_or_else(|| refused(urls, &reasons.join("; ")))? })
    }

    /// Lets the next calls go to the next coordinator, after the one in use was lost.
    pub(crate) fn turn(&self) {
        self.peers.turn();
    }

    /// Calls go to the coordinator in use and are not repeated: not every one is safe to repeat.
    fn calls(&self) -> ControlServiceClient<Channel> {
        self.peers.client()
    }

    /// Submits a job; answers it (none after a rehearsal) and whether it is new.
    pub(crate) async fn submit(&self, spec: JobSpec, how: Submit) -> Answer<(Option<Job>, bool)> {
        let (dry_run, resume_unfinished) = match how {
            Submit::DryRun => (true, false),
            Submit::New => (false, false),
            Submit::Resume => (false, true),
        };
        let request = v1::SubmitJobRequest { spec: Some(spec.into()), dry_run, resume_unfinished };
        let answer = self.calls().submit_job(request).await?.into_inner();
        let job = answer.job.map(|job| read("job", &job.json)).transpose()?;
        Ok((job, answer.created))
    }

    pub(crate) async fn job(&self, job_id: &str) -> Answer<Job> {
        let request = v1::GetJobRequest { job_id: job_id.to_owned() };
        job_of(self.calls().get_job(request).await?.into_inner().job)
    }

    /// Jobs, newest first.
    pub(crate) async fn jobs(&self, request: v1::ListJobsRequest) -> Answer<Vec<Job>> {
        let jobs = self.calls().list_jobs(request).await?.into_inner().jobs;
        jobs.iter().map(|job| read("job", &job.json)).collect()
    }

    /// The events of a job after number `after_event`, until it is at rest.
    pub(crate) async fn watch(
        &self,
        job_id: &str,
        after_event: u64,
    ) -> Answer<Streaming<v1::WatchJobResponse>> {
        let request = v1::WatchJobRequest { job_id: job_id.to_owned(), after_event };
        Ok(self.calls().watch_job(request).await?.into_inner())
    }

    pub(crate) async fn cancel(&self, job_id: &str) -> Answer<Job> {
        let request = v1::CancelJobRequest { job_id: job_id.to_owned() };
        job_of(self.calls().cancel_job(request).await?.into_inner().job)
    }

    /// Resumes a job at rest, after raising what it may spend on its judge if that is given.
    pub(crate) async fn retry(
        &self,
        job_id: &str,
        from: Option<Stage>,
        judge_budget: Option<f64>,
    ) -> Answer<Job> {
        let from = from.map(|stage| v1::Stage::from(stage).into());
        let request = v1::RetryJobRequest { job_id: job_id.to_owned(), from, judge_budget };
        job_of(self.calls().retry_job(request).await?.into_inner().job)
    }

    /// Every queue.
    pub(crate) async fn queues(&self) -> Answer<QueueOverview> {
        let answer = self.calls().list_queues(v1::ListQueuesRequest {}).await;
        let answer = answer.map_err(|status| older("`clara queue`", status))?;
        read("list of queues", &answer.into_inner().json)
    }

    /// Why a job is where it is.
    pub(crate) async fn explain(&self, job_id: &str) -> Answer<Explanation> {
        let request = v1::ExplainJobRequest { job_id: job_id.to_owned() };
        let answer = self.calls().explain_job(request).await;
        let answer = answer.map_err(|status| older("`clara queue`", status))?;
        read("explanation", &answer.into_inner().json)
    }

    /// What the training of a job measured so far.
    pub(crate) async fn curve(&self, job_id: &str) -> Answer<TrainingCurve> {
        let request = v1::GetCurveRequest { job_id: job_id.to_owned() };
        let answer = self.calls().get_curve(request).await;
        let answer = answer.map_err(|status| older("`clara job plot`", status))?;
        read("curve", &answer.into_inner().json)
    }

    pub(crate) async fn adapters(&self, request: v1::ListAdaptersRequest) -> Answer<Vec<AdapterDocument>> {
        let json = self.calls().list_adapters(request).await?.into_inner().json;
        json.iter().map(|json| read("adapter", json)).collect()
    }

    /// One version by its id, `FAMILY@ALIAS` or `FAMILY@RANGE`.
    pub(crate) async fn adapter(&self, adapter_id: &str) -> Answer<AdapterDocument> {
        let request = v1::GetAdapterRequest { adapter_id: adapter_id.to_owned() };
        read("adapter", &self.calls().get_adapter(request).await?.into_inner().json)
    }

    /// Approves or rejects.
    pub(crate) async fn review(&self, request: v1::ReviewAdapterRequest) -> Answer<Reviewed> {
        let answer = self.calls().review_adapter(request).await?.into_inner();
        let v1::ReviewAdapterResponse { json, job_id, waits } = answer;
        Ok(Reviewed { adapter: read("adapter", &json)?, job_id, waits })
    }

    /// The versions that wait for a person, what deserves a look first.
    pub(crate) async fn reviews(&self, reviewer: &str) -> Answer<Vec<QueuedReview>> {
        let request = v1::ListReviewsRequest { reviewer: reviewer.to_owned() };
        let answer = self.calls().list_reviews(request).await;
        let json = answer.map_err(|status| older("`clara review list`", status))?.into_inner().json;
        json.iter().map(|json| read("review", json)).collect()
    }

    /// A version for a reviewer.
    pub(crate) async fn review_sheet(&self, adapter_id: &str, reviewer: &str) -> Answer<ReviewSheet> {
        read("review", &self.review_document(adapter_id, reviewer, None).await?)
    }

    /// One of its answers.
    pub(crate) async fn review_item(
        &self,
        adapter_id: &str,
        reviewer: &str,
        sample_id: &str,
    ) -> Answer<ReviewItem> {
        read("answer", &self.review_document(adapter_id, reviewer, Some(sample_id)).await?)
    }

    async fn review_document(
        &self,
        adapter_id: &str,
        reviewer: &str,
        sample_id: Option<&str>,
    ) -> Answer<String> {
        let request = v1::GetReviewRequest {
            adapter_id: adapter_id.to_owned(),
            reviewer: reviewer.to_owned(),
            sample_id: sample_id.map(str::to_owned),
        };
        let answer = self.calls().get_review(request).await;
        Ok(answer.map_err(|status| older("`clara review next`", status))?.into_inner().json)
    }

    /// Stores what a reviewer does.
    pub(crate) async fn save_review(
        &self,
        adapter_id: &str,
        reviewer: &str,
        change: &ReviewChange,
    ) -> Answer<SavedReview> {
        let json = serde_json::to_string(change).map_err(|error| CallError::unreadable("change", &error))?;
        let request =
            v1::SaveReviewRequest { adapter_id: adapter_id.to_owned(), reviewer: reviewer.to_owned(), json };
        read("saved review", &self.calls().save_review(request).await?.into_inner().json)
    }

    /// The audit log, and the first entry that does not follow from the one before: its chain and number.
    pub(crate) async fn audit(
        &self,
        adapter_id: Option<String>,
    ) -> Answer<(Vec<AuditEntry>, Option<(String, u64)>)> {
        let answer = self.calls().list_audit(v1::ListAuditRequest { adapter_id }).await?.into_inner();
        let entries = answer.json.iter().map(|json| read("audit entry", json)).collect::<Answer<_>>()?;
        let broken = answer.broken_at.map(|number| (answer.broken_chain.unwrap_or_default(), number));
        Ok((entries, broken))
    }

    pub(crate) async fn export_registry(&self) -> Answer<serde_json::Value> {
        let answer = self.calls().export_registry(v1::ExportRegistryRequest {}).await?;
        read("registry", &answer.into_inner().json)
    }

    /// Answers how many versions are new and how many were here.
    pub(crate) async fn import_registry(&self, json: String, actor: String) -> Answer<(u32, u32)> {
        let request = v1::ImportRegistryRequest { json, actor };
        let answer = self.calls().import_registry(request).await?.into_inner();
        Ok((answer.imported, answer.unchanged))
    }

    /// Creates or replaces a draft, or adds samples to it.
    pub(crate) async fn put_golden(&self, dataset: &GoldenDataset, append: bool) -> Answer<GoldenDataset> {
        let json = serde_json::to_string(dataset)
            .map_err(|error| CallError::unreadable("golden dataset", &error))?;
        let answer = self.calls().put_golden(v1::PutGoldenRequest { json, append }).await?;
        read("golden dataset", &answer.into_inner().json)
    }

    /// A draft or a frozen version by `id` or `id@version`.
    pub(crate) async fn golden(&self, reference: &str) -> Answer<GoldenDocument> {
        let request = v1::GetGoldenRequest { reference: reference.to_owned() };
        let answer = self.calls().get_golden(request).await?.into_inner();
        let dataset = read("golden dataset", &answer.json)?;
        Ok(GoldenDocument {
            dataset,
            frozen: answer.frozen,
            digest: answer.digest,
            evaluations: answer.frozen.then_some(answer.evaluations),
        })
    }

    pub(crate) async fn golden_list(&self) -> Answer<Vec<GoldenDocument>> {
        let json = self.calls().list_golden(v1::ListGoldenRequest {}).await?.into_inner().json;
        json.iter().map(|json| golden_line(json)).collect()
    }

    /// Makes the draft an immutable version; answers its reference and digest.
    pub(crate) async fn freeze_golden(&self, dataset_id: &str, actor: &str) -> Answer<(String, String)> {
        let request = v1::FreezeGoldenRequest { dataset_id: dataset_id.to_owned(), actor: actor.to_owned() };
        let answer = self.calls().freeze_golden(request).await?.into_inner();
        Ok((answer.reference, answer.digest))
    }
}

/// The error of a call that not every coordinator knows.
fn older(command: &str, status: Status) -> CallError {
    match status.code() {
        Code::Unimplemented => CallError {
            code: Code::Unimplemented,
            message: format!("the coordinator knows no {command}: it is older than this command; upgrade it"),
        },
        _ => status.into(),
    }
}

fn refused(urls: &str, reason: &str) -> CallError {
    let message = format!(
        "no coordinator answers at {urls} ({reason}); start one with `clara up`, or leave out --coordinator"
    );
    CallError { code: Code::Unavailable, message }
}

/// How a specification is submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Submit {
    /// Only validate.
    DryRun,
    /// Always a new job, unless the idempotency key was used before.
    New,
    /// Go on with an unfinished job of the same specification, if there is one.
    Resume,
}

fn read<T: DeserializeOwned>(what: &str, json: &str) -> Answer<T> {
    serde_json::from_str(json).map_err(|error| CallError::unreadable(what, &error))
}

fn job_of(job: Option<v1::Job>) -> Answer<Job> {
    let job = job.ok_or_else(|| CallError {
        code: Code::Internal,
        message: "the coordinator sent no job; check that both have the same version".to_owned(),
    })?;
    read("job", &job.json)
}

/// A line of the list has two fields more than the dataset's own document.
fn golden_line(json: &str) -> Answer<GoldenDocument> {
    let mut line: serde_json::Map<String, serde_json::Value> = read("golden dataset", json)?;
    let frozen = line.remove("frozen").and_then(|value| value.as_bool()).unwrap_or_default();
    let digest = line.remove("digest").and_then(|value| value.as_str().map(str::to_owned));
    let dataset = serde_json::from_value(line.into())
        .map_err(|error| CallError::unreadable("golden dataset", &error))?;
    Ok(GoldenDocument { dataset, frozen, digest, evaluations: None })
}
