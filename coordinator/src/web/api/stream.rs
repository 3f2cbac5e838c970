//! Events and logs of a job: as lists, and as Server-Sent Events while they grow.

use std::{convert::Infallible, time::Duration};

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, header::CONTENT_TYPE},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use clara_lifecycle::{
    id::{Attempt, Fence, JobId},
    log::{LogPart, LogPosition},
    stage::Stage,
};
use clara_runtime::state::StoredEvent;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;

use super::{Answer, Asked};
use crate::{
    control_service::{Control, logs::Wanted},
    driver::DriverError,
    figures::plain,
    records::job_stream,
    web::{Problem, Site},
};

/// How often an idle stream says that it is there.
const BEAT_EVERY: Duration = Duration::from_secs(15);
const MOST_EVENTS: usize = 1000;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct EventsQuery {
    after: u64,
    limit: Option<usize>,
}

/// Events after a number, oldest first.
pub(super) async fn events(
    State(control): State<Control>,
    Path(job): Path<String>,
    Asked(EventsQuery { after, limit }): Asked<EventsQuery>,
) -> Result<Response, Problem> {
    let limit = limit.unwrap_or(MOST_EVENTS);
    if !(1..=MOST_EVENTS).contains(&limit) {
        return Err(Problem::bad_request(&format!("limit is {limit}; expected 1 to {MOST_EVENTS}")));
    }
    let job = control.job(&job).await?.id;
    let found = control.driver.records.state.events(&job_stream(&job), after, limit).await;
    let found = found.map_err(DriverError::State)?;
    let documents: Vec<String> = found.iter().map(document).collect();
    Ok(([(CONTENT_TYPE, "application/json")], format!("[{}]", documents.join(","))).into_response())
}

/// Events as they happen; ends with the event `rest` when nothing more happens without a user.
pub(super) async fn watch(
    State(site): State<Site>,
    Path(job): Path<String>,
    Asked(EventsQuery { after, .. }): Asked<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let job = site.control.job(&job).await?.id;
    let known = headers.get("last-event-id").and_then(|id| id.to_str().ok()).and_then(|id| id.parse().ok());
    let permit = permit(&site)?;
    let events = site.control.events(job.clone(), known.unwrap_or(after)).await?;
    let told = events.map(|event| match event {
        Ok(event) => Event::default().id(event.number.to_string()).data(document(&event)),
        Err(error) => failed(&error),
    });
    Ok(streamed(told, rest(site.control, job), permit))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LogQuery {
    stage: Option<Stage>,
    attempt: Option<u32>,
    fence: u64,
    line: u64,
}

impl LogQuery {
    fn wanted(&self, after: Option<LogPosition>, follow: bool) -> Wanted {
        let Self { stage, attempt, fence, line } = *self;
        let asked = LogPosition { fence: Fence(fence), line };
        Wanted { stage, attempt: attempt.map(Attempt), after: after.unwrap_or(asked), follow }
    }
}

/// A line, with what it belongs to.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    stage: Stage,
    attempt: Attempt,
    fence: Fence,
    number: u64,
    at: i64,
    level: &'static str,
    target: String,
    message: String,
}

/// What the attempts of a job logged so far, after a line.
pub(super) async fn log(
    State(control): State<Control>,
    Path(job): Path<String>,
    Asked(asked): Asked<LogQuery>,
) -> Answer<Vec<Line>> {
    let job = control.job(&job).await?.id;
    let parts: Vec<LogPart> = control.log(job, asked.wanted(None, false)).await?.try_collect().await?;
    Ok(Json(parts.into_iter().flat_map(lines).collect()))
}

/// Lines as they are said; ends as the events do.
pub(super) async fn follow_log(
    State(site): State<Site>,
    Path(job): Path<String>,
    Asked(asked): Asked<LogQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let job = site.control.job(&job).await?.id;
    let known = headers.get("last-event-id").and_then(|id| id.to_str().ok()).and_then(position);
    let permit = permit(&site)?;
    let parts = site.control.log(job.clone(), asked.wanted(known, true)).await?;
    let told = parts.flat_map(|part| {
        let told: Vec<Event> = match part {
            Ok(part) => lines(part).map(|line| line_event(&line)).collect(),
            Err(error) => vec![failed(&error)],
        };
        stream::iter(told)
    });
    Ok(streamed(told, rest(site.control, job), permit))
}

fn lines(part: LogPart) -> impl Iterator<Item = Line> {
    let LogPart { stage, attempt, fence, lines } = part;
    lines.into_iter().map(move |line| Line {
        stage,
        attempt,
        fence,
        number: line.number,
        at: line.at.0,
        level: line.level.as_str(),
        target: line.target,
        message: plain(&line.message),
    })
}

fn line_event(line: &Line) -> Event {
    let id = format!("{}-{}", line.fence, line.number);
    // Numbers and text can always be written.
    Event::default().id(id).json_data(line).unwrap_or_default()
}

fn position(id: &str) -> Option<LogPosition> {
    let (fence, line) = id.split_once('-')?;
    Some(LogPosition { fence: Fence(fence.parse().ok()?), line: line.parse().ok()? })
}

/// The body of an event is JSON of our own.
fn document(event: &StoredEvent) -> String {
    format!(r#"{{"number":{},"at":{},"event":{}}}"#, event.number, event.at.0, event.body)
}

fn failed(error: &DriverError) -> Event {
    let reason = error.to_string().lines().collect::<Vec<_>>().join(" ");
    Event::default().event("failed").data(reason)
}

fn permit(site: &Site) -> Result<OwnedSemaphorePermit, Problem> {
    site.followers
        .clone()
        .try_acquire_owned()
        .map_err(|_| Problem::busy("too many streams are followed; try again"))
}

/// Says that the job rests; nothing when the stream ended for another reason, so that followers come back.
async fn rest(control: Control, job: JobId) -> Option<Event> {
    let job = control.driver.records.job(&job).await.ok()?.value;
    job.is_at_rest().then(|| Event::default().event("rest").data("the job is at rest"))
}

fn streamed(
    told: impl Stream<Item = Event> + Send + 'static,
    rest: impl Future<Output = Option<Event>> + Send + 'static,
    permit: OwnedSemaphorePermit,
) -> Response {
    let told = told.chain(stream::once(rest).filter_map(std::future::ready));
    let told = told.map(move |event| {
        let _kept = &permit;
        Ok::<_, Infallible>(event)
    });
    Sse::new(told).keep_alive(KeepAlive::new().interval(BEAT_EVERY)).into_response()
}
