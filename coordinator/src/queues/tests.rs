//! Every reason for which a job waits, and what the queues show.

use std::{collections::BTreeMap, time::Duration};

use clara_lifecycle::{
    gate::Decision,
    id::{Attempt, ClassName},
    job::Event,
    resources::{ResourceClass, Resources},
    samples,
    spec::JobSpec,
};
use clara_runtime::broker::Task;

use super::*;
use crate::{
    scheduler::{Schedule, Share},
    testing::{House, claim, complete_until, hello},
};

fn of_tenant(tenant: &str, priority: u8) -> JobSpec {
    let labels = [(indexes::TENANT_LABEL.to_owned(), tenant.to_owned())].into();
    JobSpec { priority, labels, ..samples::spec() }
}

async fn standing(house: &House, job: &JobId) -> Standing {
    house.driver.explain(job).await.unwrap().standing
}

async fn greet(house: &House, worker: &str, stage: Stage, slots: u32, classes: &[ClassName]) {
    let hello = hello(worker, stage, slots);
    house.driver.heard_of(&hello, classes).await.unwrap();
}

#[tokio::test]
async fn a_waiting_job_tells_its_place_and_that_as_many_jobs_as_allowed_are_active() {
    let house = House::with_schedule(Schedule { max_active_jobs: 1, ..Schedule::default() }).await;
    house.submit(of_tenant("nord", 5)).await;
    let usual = house.submit(of_tenant("nord", 5)).await.id;
    let urgent = house.submit(of_tenant("nord", 9)).await.id;
    let told = |place| Standing::Waiting {
        stage: Stage::Ingest,
        tenant: "nord".to_owned(),
        place,
        of: 2,
        active: 1,
        weight: 1.0,
        held_by: vec![Hold::AllJobs { active: 1, limit: 1 }],
    };
    assert_eq!(standing(&house, &usual).await, told(2));
    assert_eq!(standing(&house, &urgent).await, told(1));
}

#[tokio::test]
async fn a_waiting_job_tells_the_limit_of_its_tenant() {
    let shares = BTreeMap::from([("nord".to_owned(), Share { weight: 2.0, max_active_jobs: 1 })]);
    let house = House::with_schedule(Schedule { shares, ..Schedule::default() }).await;
    house.submit(of_tenant("nord", 5)).await;
    let job = house.submit(of_tenant("nord", 5)).await.id;
    let Standing::Waiting { held_by, weight, .. } = standing(&house, &job).await else {
        panic!("not waiting")
    };
    assert_eq!((held_by, weight), (vec![Hold::Tenant { active: 1, limit: 1 }], 2.0));
}

#[tokio::test]
async fn a_waiting_job_tells_which_tenant_comes_first_and_why() {
    let shares = BTreeMap::from([("sued".to_owned(), Share { weight: 4.0, max_active_jobs: 9 })]);
    let house = House::with_schedule(Schedule { max_active_jobs: 2, shares, ..Schedule::default() }).await;
    house.submit(of_tenant("nord", 5)).await;
    house.submit(of_tenant("sued", 5)).await;
    let job = house.submit(of_tenant("nord", 5)).await.id;
    house.submit(of_tenant("sued", 5)).await;
    let turn = |is_more_urgent| {
        let full = Hold::AllJobs { active: 2, limit: 2 };
        let (tenant, weight) = if is_more_urgent { ("west", 1.0) } else { ("sued", 4.0) };
        let active = u64::from(!is_more_urgent);
        vec![full, Hold::Turn { tenant: tenant.to_owned(), active, weight, is_more_urgent }]
    };
    let held = || async {
        let Standing::Waiting { held_by, .. } = standing(&house, &job).await else { panic!("not waiting") };
        held_by
    };
    assert_eq!(held().await, turn(false));
    house.submit(of_tenant("west", 9)).await;
    assert_eq!(held().await, turn(true));
}

#[tokio::test]
async fn a_queued_job_tells_who_serves_it_and_how_many_tasks_are_ahead() {
    let house = House::new().await;
    let classes = vec![ClassName::default()];
    house.submit(of_tenant("nord", 5)).await;
    house.clock.advance(Duration::from_secs(5));
    let job = house.submit(of_tenant("sued", 5)).await;
    house.clock.advance(Duration::from_secs(5));
    // One that is more urgent, one that came later, one that is claimed, and one of other workers.
    house.submit(of_tenant("nord", 9)).await;
    house.submit(of_tenant("nord", 4)).await;
    let claimed = house.submit(of_tenant("west", 9)).await.id;
    claim(&house.driver, &claimed, Stage::Ingest).await;
    let further = house.submit(of_tenant("west", 9)).await.id;
    complete_until(&house.driver, &further, Some(Stage::Train), Decision::Approve).await;
    let expected = |workers, slots| Standing::Queued {
        stage: Stage::Ingest,
        attempt: Attempt::FIRST,
        queue: "clara.ingest.default.normal".to_owned(),
        class: ClassName::default(),
        since: job.stages.get(Stage::Ingest).queued_at.unwrap(),
        ahead: 2,
        workers,
        slots,
    };
    assert_eq!(standing(&house, &job.id).await, expected(0, 0));
    greet(&house, "ingest-1", Stage::Ingest, 3, &classes).await;
    greet(&house, "ingest-2", Stage::Ingest, 1, &classes).await;
    greet(&house, "judge-1", Stage::Judge, 1, &classes).await;
    assert_eq!(standing(&house, &job.id).await, expected(2, 4));
}

#[tokio::test]
async fn a_job_whose_class_no_worker_serves_says_so() {
    let mut house = House::new().await;
    let gpu80: ClassName = "gpu80".parse().unwrap();
    let class = ResourceClass { name: gpu80.clone(), needs: Resources::default() };
    house.driver.classes = [ResourceClass::default_class(), class].into();
    let job = house.submit(JobSpec { resource_class: gpu80.clone(), ..samples::spec() }).await.id;
    complete_until(&house.driver, &job, Some(Stage::Train), Decision::Approve).await;
    greet(&house, "gpu-1", Stage::Train, 1, &[ClassName::default()]).await;
    let served = || async {
        let Standing::Queued { class, workers, .. } = standing(&house, &job).await else {
            panic!("not queued")
        };
        (class, workers)
    };
    assert_eq!(served().await, (gpu80.clone(), 0));
    greet(&house, "gpu-2", Stage::Train, 1, std::slice::from_ref(&gpu80)).await;
    assert_eq!(served().await, (gpu80, 1));
}

#[tokio::test]
async fn a_job_in_back_off_tells_until_when_and_why() {
    let house = House::new().await;
    let job = house.submit(samples::spec()).await.id;
    let key = claim(&house.driver, &job, Stage::Ingest).await;
    let failed = Event::Failed { key, message: "disk full".to_owned(), retryable: true };
    house.driver.apply(&job, failed).await.unwrap();
    let explained = house.driver.explain(&job).await.unwrap();
    let Standing::BackOff { stage, attempt, until, failures, failure, .. } = explained.standing else {
        panic!("{explained:?}")
    };
    assert_eq!((stage, attempt, failures), (Stage::Ingest, Attempt(2), 1));
    assert!(until > explained.at);
    assert_eq!(failure.unwrap().message, "disk full");
}

#[tokio::test]
async fn a_leased_job_tells_its_worker_and_a_job_at_rest_why_it_rests() {
    let house = House::new().await;
    let job = house.submit(samples::spec()).await.id;
    claim(&house.driver, &job, Stage::Ingest).await;
    let Standing::Leased { stage, worker, since, expires_at, .. } = standing(&house, &job).await else {
        panic!("not leased")
    };
    assert_eq!((stage, worker.as_str()), (Stage::Ingest, "worker-1"));
    assert!(since.is_some_and(|since| since < expires_at));
    house.driver.apply(&job, Event::CancelRequested).await.unwrap();
    assert_eq!(standing(&house, &job).await, Standing::Cancelled);

    let reviewed = house.submit(samples::spec()).await.id;
    complete_until(&house.driver, &reviewed, None, Decision::Review).await;
    let adapter_id = Some("law-lora-v1.0.0".to_owned());
    assert_eq!(standing(&house, &reviewed).await, Standing::InReview { adapter_id });

    let stuck = house.submit(of_tenant("nord", 5)).await.id;
    let key = claim(&house.driver, &stuck, Stage::Ingest).await;
    let failed = Event::Failed { key, message: "no such source".to_owned(), retryable: false };
    house.driver.apply(&stuck, failed).await.unwrap();
    let Standing::Stuck { stage, failure } = standing(&house, &stuck).await else { panic!("not stuck") };
    assert_eq!((stage, failure.unwrap().message.as_str()), (Stage::Ingest, "no such source"));
}

#[tokio::test]
async fn the_queues_show_what_waits_what_runs_and_who_serves() {
    let house = House::with_schedule(Schedule { max_active_jobs: 2, ..Schedule::default() }).await;
    let first = house.submit(of_tenant("nord", 5)).await.id;
    house.submit(of_tenant("nord", 5)).await;
    house.submit(of_tenant("nord", 5)).await;
    claim(&house.driver, &first, Stage::Ingest).await;
    house.clock.advance(Duration::from_secs(7));
    greet(&house, "ingest-1", Stage::Ingest, 1, &[ClassName::default()]).await;
    let job = first.clone();
    let class = ClassName::default();
    let task = Task { job, stage: Stage::Ingest, attempt: Attempt::FIRST, priority: 5, class };
    house.broker.publish(&task).await.unwrap();
    let shown = house.driver.queue_overview(house.broker.as_ref()).await.unwrap();
    assert_eq!((shown.active_jobs, shown.waiting_jobs, shown.max_active_jobs), (2, 1, 2));
    assert_eq!(shown.dead_letters, Some(0));
    // Six stages in three bands.
    assert_eq!(shown.queues.len(), 18);
    let line = shown.queues.iter().find(|line| line.queue == "clara.ingest.default.normal").unwrap();
    assert_eq!((line.waiting, line.messages, line.running, line.workers), (1, Some(1), 1, 1));
    // The store's clock gains a millisecond with each commit.
    assert_eq!(line.oldest_ms.map(|waited| (waited + 500) / 1000), Some(7));
    let others = shown.queues.iter().filter(|line| line.stage != Stage::Ingest);
    assert!(others.map(|line| line.waiting + line.running + line.workers).sum::<u64>() == 0);
    let stored = serde_json::to_string(&shown).unwrap();
    assert_eq!(serde_json::from_str::<QueueOverview>(&stored).unwrap(), shown);
}
