//! Jobs and queues.

use axum::{
    Json,
    extract::{Path, State},
    http::{
        StatusCode,
        header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, LINK, LOCATION},
    },
    response::{IntoResponse, Response},
};
use clara_lifecycle::{
    answers::Answers,
    curve::TrainingCurve,
    id::Domain,
    job::{Event, Job},
    queue::{Explanation, QueueOverview},
    score::Evaluation,
    spec::JobSpec,
    stage::Stage,
};
use serde::Deserialize;

use super::{Answer, Asked, Body, PREFIX, spec::SpecBody};
use crate::{
    chart::svg::{self, Heading},
    control_service::Control,
    driver::DriverError,
    indexes,
    listing::JobFilter,
    submit::Submission,
    web::Problem,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SubmitQuery {
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    resume_unfinished: bool,
}

/// Validates a specification and, unless it is a rehearsal, queues the job.
pub(super) async fn submit(
    State(control): State<Control>,
    Asked(SubmitQuery { dry_run, resume_unfinished }): Asked<SubmitQuery>,
    Body(spec): Body<SpecBody>,
) -> Result<Response, Problem> {
    let spec = JobSpec::from(spec);
    let submission = match (dry_run, resume_unfinished) {
        (true, _) => Submission::DryRun,
        (false, true) => Submission::ResumeUnfinished,
        (false, false) => Submission::New,
    };
    let submitted = control.driver.submit(spec.clone(), control.check.as_deref(), submission).await?;
    let Some(job) = submitted.job else { return Ok(Json(spec.shown()).into_response()) };
    let status = if submitted.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, [(LOCATION, format!("{PREFIX}/jobs/{}", job.id))], Json(job.shown())).into_response())
}

/// Which jobs are listed.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::web) struct ListQuery {
    pub(in crate::web) state: String,
    pub(in crate::web) domain: String,
    /// `name=value`.
    pub(in crate::web) label: String,
    limit: usize,
    pub(in crate::web) after: String,
}

impl ListQuery {
    /// What is asked for; empty fields of a form ask for nothing.
    pub(in crate::web) fn filter(&self) -> Result<JobFilter, DriverError> {
        let state = Some(&self.state).filter(|state| !state.is_empty()).map(|state| {
            let known = indexes::STATES.into_iter().find(|known| known == state);
            known.ok_or_else(|| {
                DriverError::Invalid(format!(
                    "`{state}` is not a state; expected one of {}",
                    indexes::STATES.join(", ")
                ))
            })
        });
        let domain =
            Some(&self.domain).filter(|domain| !domain.is_empty()).map(|domain| domain.parse::<Domain>());
        let label = Some(&self.label).filter(|label| !label.is_empty()).map(|label| {
            let pair = label.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
            pair.ok_or_else(|| DriverError::Invalid(format!("label is `{label}`; expected name=value")))
        });
        Ok(JobFilter {
            state: state.transpose()?,
            domain: domain.transpose().map_err(|error| DriverError::Invalid(error.to_string()))?,
            labels: label.transpose()?.into_iter().collect(),
            limit: self.limit,
            after: Some(self.after.clone()).filter(|after| !after.is_empty()),
        })
    }

    /// The query of the page that begins after `job`.
    pub(in crate::web) fn next(&self, job: &Job) -> String {
        let limit = self.limit.to_string();
        let fields = [
            ("state", self.state.as_str()),
            ("domain", &self.domain),
            ("label", &self.label),
            ("limit", &limit),
        ];
        let given = fields.into_iter().filter(|(_, value)| !value.is_empty() && *value != "0");
        let fields: Vec<_> = given.chain([("after", job.id.as_str())]).collect();
        // Text can always be written.
        serde_urlencoded::to_string(fields).unwrap_or_default()
    }
}

/// Lists jobs, newest first; the header `Link` leads to the next page.
pub(super) async fn list(
    State(control): State<Control>,
    Asked(asked): Asked<ListQuery>,
) -> Result<Response, Problem> {
    let filter = asked.filter()?;
    let size = filter.page_size()?;
    let jobs = control.driver.jobs(filter).await?;
    let next = jobs.last().filter(|_| jobs.len() == size);
    let link = next.map(|job| [(LINK, format!("<{PREFIX}/jobs?{}>; rel=\"next\"", asked.next(job)))]);
    let shown: Vec<Job> = jobs.iter().map(Job::shown).collect();
    Ok((link, Json(shown)).into_response())
}

pub(super) async fn show(State(control): State<Control>, Path(job): Path<String>) -> Answer<Job> {
    Ok(Json(control.job(&job).await?.shown()))
}

pub(super) async fn cancel(State(control): State<Control>, Path(job): Path<String>) -> Answer<Job> {
    let id = control.job(&job).await?.id;
    Ok(Json(control.driver.apply(&id, Event::CancelRequested).await?.shown()))
}

/// From which stage on a job is resumed, and what its judge may spend from now on.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RetryBody {
    from: Option<Stage>,
    judge_budget: Option<f64>,
}

pub(super) async fn retry(
    State(control): State<Control>,
    Path(job): Path<String>,
    Body(RetryBody { from, judge_budget }): Body<RetryBody>,
) -> Answer<Job> {
    let id = control.job(&job).await?.id;
    Ok(Json(control.driver.retry(&id, from, judge_budget).await?.shown()))
}

pub(super) async fn explain(State(control): State<Control>, Path(job): Path<String>) -> Answer<Explanation> {
    Ok(Json(control.driver.explain(&control.job(&job).await?.id).await?))
}

pub(super) async fn curve(State(control): State<Control>, Path(job): Path<String>) -> Answer<TrainingCurve> {
    Ok(Json(control.curve(&control.job(&job).await?.id).await?))
}

/// The curve as a drawing of its own, with its own style.
pub(super) async fn drawing(
    State(control): State<Control>,
    Path(job): Path<String>,
) -> Result<Response, Problem> {
    let job = control.job(&job).await?;
    let drawn = svg::draw(&control.curve(&job.id).await?, &Heading::of(&job));
    let drawn = drawn.ok_or_else(|| Problem::unknown(format!("job {} has no training step yet", job.id)))?;
    let headers = [
        (CONTENT_TYPE, "image/svg+xml"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"),
    ];
    Ok((headers, drawn).into_response())
}

/// Takes a job, or a version in its place.
pub(super) async fn evaluation(
    State(control): State<Control>,
    Path(job): Path<String>,
) -> Answer<Evaluation> {
    let found = control.evaluation(&control.evidence(&job).await?).await?;
    Ok(Json(found.ok_or_else(|| Problem::unknown(format!("{job} has no evaluation yet")))?))
}

/// Takes a job, or a version in its place.
pub(super) async fn answers(State(control): State<Control>, Path(job): Path<String>) -> Answer<Answers> {
    let found = control.answers(&control.evidence(&job).await?).await?;
    Ok(Json(found.ok_or_else(|| Problem::unknown(format!("{job} has no answers yet")))?))
}

pub(super) async fn queues(State(control): State<Control>) -> Answer<QueueOverview> {
    Ok(Json(control.driver.queue_overview(control.broker.as_ref()).await?))
}
