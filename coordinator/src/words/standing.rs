//! The reasons for which a job waits, in words.

use clara_lifecycle::{
    attempt::Progress,
    counted::counted,
    id::{ClassName, JobId},
    job::Outcome,
    queue::{Hold, Standing},
    resources::needs_class,
    retry::Failure,
    stage::Stage,
    time::Timestamp,
};

use crate::figures::{self, between};

#[cfg(test)]
mod tests;

/// Why `job` is where it stands at `now`, line by line.
pub fn of(job: &JobId, standing: &Standing, now: Timestamp) -> Vec<String> {
    match standing {
        Standing::Waiting { stage, tenant, place, of, active, weight, held_by } => {
            let tenant = named(tenant);
            let mut lines = vec![format!(
                "waits to be admitted before {stage}: place {place} of {of} waiting jobs of {tenant}, which has {active} \
                 active at weight {weight}"
            )];
            lines.extend(held_by.iter().map(|hold| held(hold, &tenant)));
            if held_by.is_empty() {
                lines.push(format!("nothing holds {tenant} back: its first job is admitted within a moment"));
            }
            lines
        }
        Standing::BackOff { stage, attempt, until, failures, max_attempts, failure } => vec![
            format!(
                "attempt {attempt} of {stage} may start in {}, at {} UTC",
                between(now, *until),
                figures::time(*until)
            ),
            format!("{failures} of {max_attempts} attempts failed; {}", last(failure.as_ref())),
        ],
        Standing::Queued { stage, attempt, queue, class, since, ahead, workers, slots } => {
            let ahead = counted(*ahead, "task");
            let mut lines = vec![format!(
                "attempt {attempt} of {stage} has waited in {queue} for {}, with {ahead} ahead of it",
                between(*since, now)
            )];
            lines.push(match workers {
                0 => unserved(*stage, class),
                _ => format!("{} with {} can take it", counted(*workers, "worker"), counted(*slots, "slot")),
            });
            lines
        }
        Standing::Leased { stage, attempt, worker, since, expires_at, progress } => {
            let duration = since.map(|since| format!(" for {}", between(since, now))).unwrap_or_default();
            vec![
                format!("attempt {attempt} of {stage} is carried out by {worker}{duration}"),
                far(progress),
                format!("its lease ends in {} unless the worker is heard again", between(now, *expires_at)),
            ]
        }
        Standing::Stuck { stage, failure } => vec![
            format!("is stuck at {stage}; {}", last(failure.as_ref())),
            format!("resume it with: clara job retry {job}"),
        ],
        Standing::InReview { adapter_id } => {
            let adapter = adapter_id.as_deref().unwrap_or("ADAPTER");
            vec![format!("waits for a person to decide: clara review show {adapter}")]
        }
        Standing::Finished { outcome: Outcome::Error } => vec!["is over: the judge failed".to_owned()],
        Standing::Finished { outcome } => vec![format!("is over: {outcome}")],
        Standing::Cancelled => vec![format!("was cancelled; resume it with: clara job retry {job}")],
    }
}

/// That nobody takes tasks of `stage` for `class`.
pub fn unserved(stage: Stage, class: &ClassName) -> String {
    if needs_class(stage) {
        format!(
            "no worker for {stage} that serves the resource class {class} was heard of lately; start one that has what \
             the class needs, or submit with another --class"
        )
    } else {
        format!("no worker for {stage} was heard of lately; start one")
    }
}

fn held(hold: &Hold, ours: &str) -> String {
    match hold {
        Hold::AllJobs { active, limit } => {
            format!("{} active in all, and scheduler.max_active_jobs is {limit}", counted(*active, "job"))
        }
        Hold::Tenant { active, limit } => {
            format!("{} of {ours} active, and its limit is {limit}", counted(*active, "job"))
        }
        Hold::Turn { tenant, is_more_urgent: true, .. } => {
            format!("a job of {} comes first: it is more urgent", named(tenant))
        }
        Hold::Turn { tenant, active, weight, is_more_urgent: false } => format!(
            "a job of {} comes first: that tenant has {active} active at weight {weight}, or asked earlier",
            named(tenant)
        ),
    }
}

fn named(tenant: &str) -> String {
    if tenant.is_empty() { "no tenant".to_owned() } else { format!("tenant {tenant}") }
}

fn last(failure: Option<&Failure>) -> String {
    failure.map_or_else(
        || "no failure was recorded".to_owned(),
        |failure| format!("the last failure: {}", figures::plain(&failure.message)),
    )
}

fn far(progress: &Progress) -> String {
    let Progress { done, total, unit, .. } = progress;
    match total {
        Some(total) => format!("it has done {done} of {total} {unit}"),
        None if *done > 0 => format!("it has done {done} {unit}"),
        None => "it has told no progress yet".to_owned(),
    }
}
