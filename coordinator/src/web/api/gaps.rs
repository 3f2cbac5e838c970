//! Knowledge gaps.

use axum::{Json, extract::State};
use clara_lifecycle::{
    gaps::GapFilter,
    job::Job,
    score::{GapSeverity, GapStatus, KnowledgeGap},
    spec::JobSpec,
};
use serde::{Deserialize, Serialize};

use super::{Answer, Asked, Body};
use crate::{
    control_service::Control,
    gaps::{GapQuery, GapTraining},
};

const DEFAULT_LIMIT: usize = 50;

/// Which gaps.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Query {
    domain: Option<String>,
    adapter: Option<String>,
    status: Option<GapStatus>,
    severity: Option<GapSeverity>,
    all_versions: bool,
}

impl Query {
    fn of(self, gap_ids: Vec<String>) -> GapQuery {
        let Self { domain, adapter, status, severity, all_versions } = self;
        GapQuery {
            domain,
            adapter_id: adapter,
            all_versions,
            filter: GapFilter { status, severity, gap_ids },
        }
    }
}

pub(super) async fn list(
    State(control): State<Control>,
    Asked(query): Asked<Query>,
) -> Answer<Vec<KnowledgeGap>> {
    Ok(Json(control.driver.gaps(&query.of(Vec::new()), &control.artifacts).await?))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ResolveBody {
    gap_ids: Vec<String>,
    actor: String,
    notes: String,
}

pub(super) async fn resolve(
    State(control): State<Control>,
    Body(ResolveBody { gap_ids, actor, notes }): Body<ResolveBody>,
) -> Answer<Vec<KnowledgeGap>> {
    Ok(Json(control.driver.resolve_gaps(&gap_ids, (&actor, &notes), &control.artifacts).await?))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TrainBody {
    #[serde(default)]
    filter: Query,
    #[serde(default)]
    gap_ids: Vec<String>,
    limit: Option<usize>,
    #[serde(default)]
    keep_query: bool,
    #[serde(default)]
    dry_run: bool,
    actor: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Training {
    job: Option<Job>,
    spec: JobSpec,
    gaps: Vec<KnowledgeGap>,
}

/// Submits a job whose query comes from open gaps.
pub(super) async fn train(State(control): State<Control>, Body(body): Body<TrainBody>) -> Answer<Training> {
    let TrainBody { filter, gap_ids, limit, keep_query, dry_run, actor } = body;
    let training = GapTraining { limit: limit.unwrap_or(DEFAULT_LIMIT), keep_query, dry_run, actor };
    let surroundings = (control.check.as_deref(), &control.artifacts);
    let submitted = control.driver.train_gaps(filter.of(gap_ids), &training, surroundings).await?;
    let (job, mut spec) = (submitted.job.as_ref().map(Job::shown), submitted.spec);
    spec.ingest = spec.ingest.shown();
    Ok(Json(Training { job, spec, gaps: submitted.gaps }))
}
