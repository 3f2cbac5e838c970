//! Every metric by name, and the only place that records them.
#![expect(clippy::disallowed_macros, reason = "this is the one place that names metrics")]

use std::{collections::BTreeMap, sync::OnceLock, time::Duration};

use clara_lifecycle::{calibration::CalibrationState, gate::Decision, stage::Stage};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::{broker::QueueDepth, memory};

pub use rollout::{rolled_out, rollout_seen};
pub(crate) use slot::OpenSlot;

mod busy;
mod judge;
mod rollout;
mod slot;
#[cfg(test)]
mod tests;

pub use judge::{JudgeOutcome, judge_asked, judge_broke, judge_paid, judge_requested, sample_judged};

/// What a metric does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution.
    Histogram,
}

/// One metric, as the table in the documentation shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub kind: MetricKind,
    /// Its labels; their values come from enums.
    pub labels: &'static [&'static str],
    /// What it says.
    pub description: &'static str,
}

macro_rules! metrics {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal),*] $description:literal;)*) => {
        $(const $constant: &str = $name;)*

        /// Every metric.
        pub const METRICS: &[Metric] = &[$(Metric {
            name: $name,
            kind: MetricKind::$kind,
            labels: &[$($label),*],
            description: $description,
        }),*];
    };
}

metrics! {
    STAGE_ATTEMPTS = Counter "clara_stage_attempts_total" ["stage", "outcome"] "Attempts that ended in this worker.";
    STAGE_DURATION = Histogram "clara_stage_duration_seconds" ["stage"] "Time from claim to end of an attempt.";
    ATTEMPTS_ACTIVE = Gauge "clara_attempts_active" ["stage"] "Attempts that this worker carries out now.";
    CLAIMS_REFUSED = Counter "clara_claims_refused_total" ["stage"] "Tasks that were no longer wanted when a worker claimed them.";
    HEARTBEATS_FAILED = Counter "clara_heartbeats_failed_total" ["stage"] "Heartbeats that got no answer.";
    LEASES_EXPIRED = Counter "clara_leases_expired_total" ["stage"] "Attempts whose worker was not heard or made no progress in time.";
    REPORTS_REFUSED = Counter "clara_reports_refused_total" ["stage"] "Reports of this worker that the coordinator refused because the job went on without them.";
    FENCE_REJECTIONS = Counter "clara_fence_rejections_total" ["stage"] "Reports and heartbeats that this coordinator refused because their attempt had lost its lease.";
    LEASES_ACTIVE = Gauge "clara_leases_active" ["stage"] "Attempts that workers hold a lease for, counted every 15 s.";
    WORKER_SLOTS = Gauge "clara_worker_slots" ["queue"] "Slots of this process that take tasks of a queue, busy ones included; none while the broker gives no answer.";
    DISPATCH_DURATION = Histogram "clara_dispatch_duration_seconds" ["stage"] "Time from when an attempt may start to its claim.";
    TRAIN_LOSS = Gauge "clara_train_loss" [] "Newest loss of the training that this worker carries out.";
    TRAIN_VALIDATION_LOSS = Gauge "clara_train_validation_loss" [] "Newest validation loss of the training that this worker carries out.";
    TRAIN_LEARNING_RATE = Gauge "clara_train_learning_rate" [] "Learning rate of its newest step.";
    TRAIN_GRAD_NORM = Gauge "clara_train_grad_norm" [] "L2 norm of all gradients of its newest step before clipping.";
    TRAIN_LEFT = Gauge "clara_train_left_seconds" [] "Time that its remaining steps will take at the speed of the newest ones.";
    ENGINE_FALLBACKS = Counter "clara_engine_fallbacks_total" ["reason"] "Trainings and decoders on the CPU though a GPU is there: `unsupported` for what the CUDA engine cannot do.";
    RESIDENT = Gauge "clara_process_resident_bytes" [] "Memory that this process holds; Linux only.";
    GPU_BUSY = Gauge "clara_gpu_busy_ratio" [] "Share of the last minute in which this process carried out at least one attempt of train or generate, 0 to 1.";
    GPU_UTILIZATION = Gauge "clara_gpu_utilization_ratio" [] "Share of the last moments in which the GPU of this process ran a kernel of any process, 0 to 1; from NVML, as the next five.";
    GPU_MEMORY_USED = Gauge "clara_gpu_memory_used_bytes" [] "Memory of that GPU in use by all processes.";
    GPU_MEMORY_TOTAL = Gauge "clara_gpu_memory_total_bytes" [] "All memory of that GPU.";
    GPU_TEMPERATURE = Gauge "clara_gpu_temperature_celsius" [] "Temperature of that GPU.";
    GPU_POWER = Gauge "clara_gpu_power_watts" [] "Power that it draws.";
    GPU_UNCORRECTED = Gauge "clara_gpu_uncorrected_memory_errors" [] "Errors of its memory that could not be corrected, since the driver started.";
    READY = Gauge "clara_ready" ["check"] "Whether a check of /readyz holds, 1 or 0.";
    JOBS = Gauge "clara_jobs" ["state"] "Jobs by state.";
    QUEUE_MESSAGES = Gauge "clara_queue_messages" ["queue"] "Tasks that wait for a worker.";
    QUEUE_UNACKNOWLEDGED = Gauge "clara_queue_unacknowledged_messages" ["queue"] "Tasks delivered and not yet acknowledged.";
    QUEUE_OLDEST = Gauge "clara_queue_oldest_task_seconds" ["queue"] "How long the oldest task that may be claimed has waited for a worker, 0 when none waits, counted every 15 s.";
    TASKS_MALFORMED = Counter "clara_tasks_malformed_total" ["queue"] "Messages that this worker set aside because they are no tasks.";
    BROKER_RECONNECTS = Counter "clara_broker_reconnects_total" [] "Connections to the broker that were made anew after a loss.";
    STATE_RECONNECTS = Counter "clara_state_reconnects_total" [] "Connections to the state store that were made anew after a loss.";
    OUTBOX_PUBLISHED = Counter "clara_outbox_published_total" ["stage"] "Tasks published from the outbox.";
    TASKS_REPUBLISHED = Counter "clara_tasks_republished_total" ["stage"] "Tasks that nobody claimed for long and that were published again.";
    DEAD_LETTERS = Gauge "clara_queue_dead_letters" [] "Messages set aside because nobody could read or take them.";
    OUTBOX_AGE = Gauge "clara_outbox_age_seconds" [] "Age of the oldest task that waits for publication.";
    COMMIT_DURATION = Histogram "clara_commit_duration_seconds" [] "Time of a commit to the state store.";
    COMMIT_CONFLICTS = Counter "clara_commit_conflicts_total" [] "Commits refused because a record had changed.";
    ARTIFACT_STORED = Counter "clara_artifact_stored_bytes_total" [] "Bytes of artifacts stored and verified.";
    DOCUMENTS = Counter "clara_documents_total" ["outcome"] "Documents read by ingest, kept or dropped.";
    TRAIN_TOKENS = Counter "clara_train_tokens_total" [] "Tokens passed through the model in training.";
    GENERATED_TOKENS = Counter "clara_generated_tokens_total" [] "Tokens generated.";
    SAMPLES_JUDGED = Counter "clara_samples_judged_total" ["outcome"] "Samples that a judge looked at, scored or unscored.";
    ROLLOUT_DRIFT = Gauge "clara_rollout_drift" ["target"] "Replicas of a rollout target that do not serve what the registry says, or were not told.";
    ROLLOUT_UNREACHABLE = Gauge "clara_rollout_unreachable_replicas" ["target"] "Replicas of a rollout target that gave no answer when asked what they serve.";
    ROLLOUTS = Counter "clara_rollouts_total" ["target", "outcome"] "Versions put on a rollout target by this coordinator: `served`, or `failed` and taken back.";
    JUDGE_DURATION = Histogram "clara_judge_request_duration_seconds" [] "Time of one request to a judge.";
    JUDGE_REQUESTS = Counter "clara_judge_requests_total" ["outcome"] "Requests to judges: answered, busy, failed, refused or garbled; `cached` for replies that were there already.";
    JUDGE_TOKENS = Counter "clara_judge_tokens_total" ["kind"] "Tokens that judges read (`prompt`) and wrote (`reply`).";
    JUDGE_COST = Counter "clara_judge_cost_micros_total" [] "What judges cost, in millionths of the currency of the jobs' budgets.";
    JUDGE_BREAKS = Counter "clara_judge_breaker_opened_total" [] "Times that an endpoint was left alone for a while because it failed again and again.";
    GATE_DECISIONS = Counter "clara_gate_decisions_total" ["decision"] "Decisions of the gate.";
    GATE_JUDGES = Counter "clara_gate_judges_total" ["standing"] "Evaluations that came to the gate, by how far their judges may be trusted: `calibrated`, `uncalibrated`, or `stale` when a judge changed since its calibration.";
}

/// Figures of a training's progress, and the gauges that show them. Its speed is the rate of [`TRAIN_TOKENS`].
const TRAINING: [(&str, &str); 5] = [
    ("loss", TRAIN_LOSS),
    ("validation_loss", TRAIN_VALIDATION_LOSS),
    ("learning_rate", TRAIN_LEARNING_RATE),
    ("grad_norm", TRAIN_GRAD_NORM),
    ("seconds_left", TRAIN_LEFT),
];

/// Bounds of the time histograms: from a commit to a long training.
const SECONDS: [f64; 18] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0,
    7200.0, 43200.0,
];

/// How an attempt ended in its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// With a result.
    Completed,
    /// With a failure.
    Failed,
    /// The user cancelled the job.
    Cancelled,
    /// The worker gave it back.
    HandedBack,
    /// It lost its lease.
    Fenced,
}

impl AttemptOutcome {
    const ALL: [Self; 5] = [Self::Completed, Self::Failed, Self::Cancelled, Self::HandedBack, Self::Fenced];

    fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::HandedBack => "handed_back",
            Self::Fenced => "fenced",
        }
    }
}

/// Why metrics could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("metrics cannot be set up: {0}")]
pub struct MetricsError(String);

/// The metrics of this process, as Prometheus reads them.
#[derive(Clone)]
pub struct MetricsPage(PrometheusHandle);

impl std::fmt::Debug for MetricsPage {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("MetricsPage").finish_non_exhaustive()
    }
}

impl MetricsPage {
    /// The Prometheus text format; the content type is `text/plain; version=0.0.4`.
    pub fn render(&self) -> String {
        busy::show();
        if let Some(bytes) = memory::resident_bytes() {
            metrics::gauge!(RESIDENT).set(float(bytes));
        }
        self.0.render()
    }

    /// Puts recorded times into their buckets; needed now and then when nobody renders the page.
    pub(crate) fn keep_up(&self) {
        self.0.run_upkeep();
    }
}

/// Starts to record the metrics of this process. Called again it answers the same page.
///
/// # Errors
/// [`MetricsError`] when something else records metrics in this process.
pub fn install() -> Result<MetricsPage, MetricsError> {
    static PAGE: OnceLock<Result<MetricsPage, String>> = OnceLock::new();
    let installed = PAGE.get_or_init(|| {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
            .and_then(PrometheusBuilder::install_recorder)
            .map_err(|error| error.to_string())?;
        describe();
        Ok(MetricsPage(recorder))
    });
    installed.clone().map_err(MetricsError)
}

fn describe() {
    for metric in METRICS {
        match metric.kind {
            MetricKind::Counter => metrics::describe_counter!(metric.name, metric.description),
            MetricKind::Gauge => metrics::describe_gauge!(metric.name, metric.description),
            MetricKind::Histogram => metrics::describe_histogram!(metric.name, metric.description),
        }
    }
}

/// An attempt ended after `duration`.
pub fn attempt_ended(stage: Stage, outcome: AttemptOutcome, duration: Duration) {
    metrics::counter!(STAGE_ATTEMPTS, "stage" => stage.as_str(), "outcome" => outcome.as_str()).increment(1);
    metrics::histogram!(STAGE_DURATION, "stage" => stage.as_str()).record(duration.as_secs_f64());
    metrics::gauge!(ATTEMPTS_ACTIVE, "stage" => stage.as_str()).decrement(1.0);
    busy::ended(stage);
}

/// An attempt began; [`attempt_ended`] must follow.
pub fn attempt_began(stage: Stage) {
    metrics::gauge!(ATTEMPTS_ACTIVE, "stage" => stage.as_str()).increment(1.0);
    busy::began(stage);
}

/// A worker of `stage` takes tasks from now on. What it counts shows as 0 until it happens: Prometheus sees no growth
/// in a counter that begins with 1.
pub(crate) fn worker_started(stage: Stage) {
    for outcome in AttemptOutcome::ALL {
        metrics::counter!(STAGE_ATTEMPTS, "stage" => stage.as_str(), "outcome" => outcome.as_str())
            .increment(0);
    }
    for name in [CLAIMS_REFUSED, HEARTBEATS_FAILED, REPORTS_REFUSED] {
        metrics::counter!(name, "stage" => stage.as_str()).increment(0);
    }
    metrics::gauge!(ATTEMPTS_ACTIVE, "stage" => stage.as_str()).increment(0.0);
    if stage == Stage::Judge {
        judge::started();
    }
    busy::may_begin(stage);
}

/// A coordinator counts from now on. It shows zeros for the same reason as a worker that starts.
pub fn coordinator_started() {
    for stage in Stage::ALL {
        for name in [LEASES_EXPIRED, FENCE_REJECTIONS, OUTBOX_PUBLISHED, TASKS_REPUBLISHED] {
            metrics::counter!(name, "stage" => stage.as_str()).increment(0);
        }
    }
    metrics::counter!(COMMIT_CONFLICTS).increment(0);
}

/// What a GPU tells of itself; what it does not tell shows nothing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct GpuReading {
    /// 0 to 1.
    pub utilization: Option<f64>,
    /// In bytes.
    pub memory_used: Option<u64>,
    /// In bytes.
    pub memory_total: Option<u64>,
    /// In degrees Celsius.
    pub temperature: Option<u32>,
    /// In watts.
    pub power: Option<f64>,
    /// Since the driver started.
    pub uncorrected_errors: Option<u64>,
}

/// The GPU of this process was asked how it is.
#[expect(clippy::cast_precision_loss, reason = "no GPU has 2^53 bytes or errors")]
pub fn gpu_read(reading: GpuReading) {
    let count = |value: Option<u64>| value.map(|value| value as f64);
    for (name, value) in [
        (GPU_UTILIZATION, reading.utilization),
        (GPU_MEMORY_USED, count(reading.memory_used)),
        (GPU_MEMORY_TOTAL, count(reading.memory_total)),
        (GPU_TEMPERATURE, reading.temperature.map(f64::from)),
        (GPU_POWER, reading.power),
        (GPU_UNCORRECTED, count(reading.uncorrected_errors)),
    ] {
        if let Some(value) = value {
            metrics::gauge!(name).set(value);
        }
    }
}

/// A training or a decoder runs on the CPU because the engine for the GPU cannot do it.
pub fn engine_fell_back() {
    metrics::counter!(ENGINE_FALLBACKS, "reason" => "unsupported").increment(1);
}

/// A claim was refused.
pub fn claim_refused(stage: Stage) {
    metrics::counter!(CLAIMS_REFUSED, "stage" => stage.as_str()).increment(1);
}

/// A heartbeat got no answer.
pub fn heartbeat_failed(stage: Stage) {
    metrics::counter!(HEARTBEATS_FAILED, "stage" => stage.as_str()).increment(1);
}

/// A lease ended without a report.
pub fn lease_expired(stage: Stage) {
    metrics::counter!(LEASES_EXPIRED, "stage" => stage.as_str()).increment(1);
}

/// The coordinator refused a report of this worker.
pub(crate) fn report_refused(stage: Stage) {
    metrics::counter!(REPORTS_REFUSED, "stage" => stage.as_str()).increment(1);
}

/// This coordinator refused a report or heartbeat of an attempt that had lost its lease.
pub fn fence_rejected(stage: Stage) {
    metrics::counter!(FENCE_REJECTIONS, "stage" => stage.as_str()).increment(1);
}

/// So many attempts of `stage` are leased.
pub fn leases_active(stage: Stage, count: u64) {
    metrics::gauge!(LEASES_ACTIVE, "stage" => stage.as_str()).set(float(count));
}

/// An attempt of `stage` was claimed so long after it could start.
pub fn dispatched(stage: Stage, waited: Duration) {
    metrics::histogram!(DISPATCH_DURATION, "stage" => stage.as_str()).record(waited.as_secs_f64());
}

/// The figures of a training's progress.
pub(crate) fn training(figures: &BTreeMap<String, f64>) {
    for (figure, gauge) in TRAINING {
        if let Some(value) = figures.get(figure) {
            metrics::gauge!(gauge).set(*value);
        }
    }
}

/// Whether a check of `/readyz` holds.
pub(crate) fn check_ready(check: &'static str, ready: bool) {
    metrics::gauge!(READY, "check" => check).set(if ready { 1.0 } else { 0.0 });
}

/// There are `count` jobs in `state`.
pub fn jobs(state: &'static str, count: u64) {
    metrics::gauge!(JOBS, "state" => state).set(float(count));
}

/// The length of a queue.
pub fn queue_depth(queue: &dyn std::fmt::Display, depth: QueueDepth) {
    metrics::gauge!(QUEUE_MESSAGES, "queue" => queue.to_string()).set(float(depth.ready));
    metrics::gauge!(QUEUE_UNACKNOWLEDGED, "queue" => queue.to_string()).set(float(depth.unacknowledged));
}

/// How long the oldest task of a queue has waited.
pub fn queue_oldest(queue: &dyn std::fmt::Display, waited: Duration) {
    metrics::gauge!(QUEUE_OLDEST, "queue" => queue.to_string()).set(waited.as_secs_f64());
}

/// A message was no task.
pub(crate) fn task_malformed(queue: &str) {
    metrics::counter!(TASKS_MALFORMED, "queue" => queue.to_owned()).increment(1);
}

/// The connection to the broker is there again.
pub(crate) fn broker_reconnected() {
    metrics::counter!(BROKER_RECONNECTS).increment(1);
}

/// The connection to the state store is there again.
pub(crate) fn state_reconnected() {
    metrics::counter!(STATE_RECONNECTS).increment(1);
}

/// A task was published from the outbox.
pub fn outbox_published(stage: Stage) {
    metrics::counter!(OUTBOX_PUBLISHED, "stage" => stage.as_str()).increment(1);
}

/// A task that nobody claimed was published again.
pub fn task_republished(stage: Stage) {
    metrics::counter!(TASKS_REPUBLISHED, "stage" => stage.as_str()).increment(1);
}

/// So many messages are set aside.
pub fn dead_letters(messages: u64) {
    metrics::gauge!(DEAD_LETTERS).set(float(messages));
}

/// How long the oldest entry of the outbox has waited beyond its time.
pub fn outbox_age(age: Duration) {
    metrics::gauge!(OUTBOX_AGE).set(age.as_secs_f64());
}

/// A commit took `duration`; `conflict` says that it was refused.
pub fn committed(duration: Duration, conflict: bool) {
    metrics::histogram!(COMMIT_DURATION).record(duration.as_secs_f64());
    if conflict {
        metrics::counter!(COMMIT_CONFLICTS).increment(1);
    }
}

/// Bytes of an artifact were stored and verified.
pub fn artifact_stored(size_bytes: u64) {
    metrics::counter!(ARTIFACT_STORED).increment(size_bytes);
}

/// Documents were read.
pub fn documents(kept: u64, dropped: u64) {
    metrics::counter!(DOCUMENTS, "outcome" => "kept").increment(kept);
    metrics::counter!(DOCUMENTS, "outcome" => "dropped").increment(dropped);
}

/// Tokens were passed through the model in training.
pub fn tokens_trained(tokens: u64) {
    metrics::counter!(TRAIN_TOKENS).increment(tokens);
}

/// Tokens were generated.
pub fn tokens_generated(tokens: u64) {
    metrics::counter!(GENERATED_TOKENS).increment(tokens);
}

/// The gate decided about an evaluation whose judges have this standing.
pub fn gate_decided(decision: Decision, standing: CalibrationState) {
    metrics::counter!(GATE_DECISIONS, "decision" => decision.as_str()).increment(1);
    metrics::counter!(GATE_JUDGES, "standing" => standing.as_str()).increment(1);
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}
