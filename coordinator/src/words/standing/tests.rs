//! What people read of each reason.

use clara_lifecycle::id::Attempt;

use super::*;

const NOW: Timestamp = Timestamp(1_700_000_100_000);

fn said(standing: &Standing) -> String {
    of(&"job-1".parse().unwrap(), standing, NOW).join("\n")
}

#[test]
fn a_waiting_job_names_its_place_and_every_limit() {
    let standing = |held_by| Standing::Waiting {
        stage: Stage::Ingest,
        tenant: "nord".to_owned(),
        place: 2,
        of: 5,
        active: 1,
        weight: 1.5,
        held_by,
    };
    let turn = Hold::Turn { tenant: String::new(), active: 0, weight: 1.0, is_more_urgent: true };
    let all = vec![Hold::AllJobs { active: 7, limit: 7 }, Hold::Tenant { active: 1, limit: 1 }, turn];
    assert_eq!(
        said(&standing(all)),
        "waits to be admitted before ingest: place 2 of 5 waiting jobs of tenant nord, which has 1 active at weight 1.5\n\
         7 jobs active in all, and scheduler.max_active_jobs is 7\n\
         1 job of tenant nord active, and its limit is 1\n\
         a job of no tenant comes first: it is more urgent"
    );
    assert!(said(&standing(Vec::new())).ends_with("its first job is admitted within a moment"));
}

#[test]
fn a_queued_job_names_what_is_ahead_and_who_could_take_it() {
    let standing = |workers| Standing::Queued {
        stage: Stage::Train,
        attempt: Attempt(2),
        queue: "clara.train.gpu80.high".to_owned(),
        class: "gpu80".parse().unwrap(),
        since: Timestamp(NOW.0 - 75_000),
        ahead: 1,
        workers,
        slots: 2,
    };
    assert_eq!(
        said(&standing(1)),
        "attempt 2 of train has waited in clara.train.gpu80.high for 1 min 15 s, with 1 task ahead of it\n\
         1 worker with 2 slots can take it"
    );
    assert!(said(&standing(0)).contains("serves the resource class gpu80 was heard of lately"));
}

#[test]
fn back_off_lease_and_rest_say_what_happens_next() {
    let failure = Some(Failure { attempt: Attempt(1), message: "disk full".to_owned(), retryable: true });
    let back_off = Standing::BackOff {
        stage: Stage::Judge,
        attempt: Attempt(2),
        until: Timestamp(NOW.0 + 8_000),
        failures: 1,
        max_attempts: 3,
        failure: failure.clone(),
    };
    let text = said(&back_off);
    assert!(text.contains("may start in 8 s") && text.contains("1 of 3 attempts failed"), "{text}");
    let progress = Progress { done: 12, total: Some(40), unit: "steps".to_owned(), ..Progress::default() };
    let leased = Standing::Leased {
        stage: Stage::Train,
        attempt: Attempt(1),
        worker: "gpu-worker-train-1".to_owned(),
        since: Some(Timestamp(NOW.0 - 60_000)),
        expires_at: Timestamp(NOW.0 + 9_000),
        progress: Box::new(progress),
    };
    let text = said(&leased);
    assert!(text.contains("gpu-worker-train-1 for 1 min 0 s") && text.contains("12 of 40 steps"), "{text}");
    let stuck = said(&Standing::Stuck { stage: Stage::Train, failure });
    assert!(stuck.contains("disk full") && stuck.ends_with("clara job retry job-1"), "{stuck}");
    let review = said(&Standing::InReview { adapter_id: Some("law-lora-v1.0.0".to_owned()) });
    assert!(review.ends_with("clara review show law-lora-v1.0.0"), "{review}");
}
