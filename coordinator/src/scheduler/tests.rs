//! Admission: room, fairness among tenants, limits, priorities.

use clara_lifecycle::{job::JobState, samples, spec::JobSpec};

use super::*;
use crate::{submit::Submission, testing::House};

async fn submit(house: &House, tenant: &str, priority: u8) -> JobId {
    let mut spec = JobSpec { priority, ..samples::spec() };
    spec.labels.insert(indexes::TENANT_LABEL.to_owned(), tenant.to_owned());
    house.driver.submit(spec, None, Submission::New).await.unwrap().job.unwrap().id
}

async fn is_active(house: &House, job: &JobId) -> bool {
    matches!(house.job(job).await.state, JobState::Active { .. })
}

async fn active_of(house: &House, tenant: &str) -> u64 {
    house.driver.records.state.sizes(&[indexes::active(tenant)]).await.unwrap()[0]
}

fn schedule(max_active_jobs: u64) -> Schedule {
    Schedule { max_active_jobs, ..Schedule::default() }
}

#[tokio::test]
async fn a_job_waits_when_there_is_no_room_and_goes_on_when_there_is() {
    let house = House::with_schedule(schedule(1)).await;
    let (first, second) = (submit(&house, "nord", 5).await, submit(&house, "nord", 5).await);
    assert!(is_active(&house, &first).await && !is_active(&house, &second).await);
    assert_eq!(admit_waiting(&house.driver).await.unwrap(), 0);
    house.driver.apply(&first, Event::CancelRequested).await.unwrap();
    assert_eq!(admit_waiting(&house.driver).await.unwrap(), 1);
    assert!(is_active(&house, &second).await);
}

#[tokio::test]
async fn a_tenant_with_few_jobs_is_not_kept_waiting_by_one_with_many() {
    let house = House::with_schedule(schedule(4)).await;
    for _ in 0..12 {
        submit(&house, "nord", 5).await;
    }
    let (one, two) = (submit(&house, "sued", 5).await, submit(&house, "sued", 5).await);
    assert_eq!(active_of(&house, "nord").await, 4);
    let page = Page { after: None, limit: 2, order: Order::Ascending };
    for job in house.driver.records.state.members(&indexes::active("nord"), &page).await.unwrap() {
        house.driver.apply(&job.parse().unwrap(), Event::CancelRequested).await.unwrap();
    }
    assert_eq!(admit_waiting(&house.driver).await.unwrap(), 2);
    assert!(is_active(&house, &one).await && is_active(&house, &two).await);
}

#[tokio::test]
async fn a_weight_gives_a_tenant_more_of_the_room() {
    let share = Share { weight: 3.0, max_active_jobs: 100 };
    let shares = BTreeMap::from([("nord".to_owned(), share)]);
    let house = House::with_schedule(Schedule { shares, ..schedule(1) }).await;
    let first = submit(&house, "west", 5).await;
    for tenant in ["nord", "sued"] {
        for _ in 0..8 {
            submit(&house, tenant, 5).await;
        }
    }
    house.driver.apply(&first, Event::CancelRequested).await.unwrap();
    let wider = Driver {
        schedule: std::sync::Arc::new(Schedule { max_active_jobs: 8, ..(*house.driver.schedule).clone() }),
        ..house.driver.clone()
    };
    assert_eq!(admit_waiting(&wider).await.unwrap(), 8);
    assert_eq!((active_of(&house, "nord").await, active_of(&house, "sued").await), (6, 2));
}

#[tokio::test]
async fn a_tenant_never_has_more_active_jobs_than_its_limit() {
    let house = House::with_schedule(Schedule { max_active_jobs_per_tenant: 2, ..schedule(100) }).await;
    for _ in 0..5 {
        submit(&house, "nord", 5).await;
    }
    let other = submit(&house, "sued", 5).await;
    admit_waiting(&house.driver).await.unwrap();
    assert_eq!(active_of(&house, "nord").await, 2);
    assert!(is_active(&house, &other).await);
}

#[tokio::test]
async fn an_urgent_job_is_admitted_before_older_ones() {
    let house = House::with_schedule(schedule(1)).await;
    let first = submit(&house, "nord", 5).await;
    let (usual, urgent) = (submit(&house, "nord", 5).await, submit(&house, "nord", 9).await);
    house.driver.apply(&first, Event::CancelRequested).await.unwrap();
    admit_waiting(&house.driver).await.unwrap();
    assert!(is_active(&house, &urgent).await && !is_active(&house, &usual).await);
}

#[tokio::test]
async fn a_tenant_without_waiting_jobs_is_no_longer_looked_at() {
    let house = House::with_schedule(schedule(1)).await;
    let (first, second) = (submit(&house, "nord", 5).await, submit(&house, "sued", 5).await);
    house.driver.apply(&first, Event::CancelRequested).await.unwrap();
    admit_waiting(&house.driver).await.unwrap();
    admit_waiting(&house.driver).await.unwrap();
    assert!(is_active(&house, &second).await);
    let page = Page { after: None, limit: 9, order: Order::Ascending };
    assert!(house.driver.records.state.members(TENANTS, &page).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn several_schedulers_at_once_keep_the_limit() {
    let house = House::with_schedule(schedule(1)).await;
    let first = submit(&house, "nord", 5).await;
    for _ in 0..12 {
        submit(&house, "nord", 5).await;
    }
    house.driver.apply(&first, Event::CancelRequested).await.unwrap();
    let limit = std::sync::Arc::new(schedule(5));
    let drivers: Vec<_> =
        (0..4).map(|_| Driver { schedule: limit.clone(), ..house.driver.clone() }).collect();
    let admitted = futures::future::join_all(drivers.iter().map(admit_waiting)).await;
    assert!(admitted.iter().all(Result::is_ok), "{admitted:?}");
    assert_eq!(active_of(&house, "nord").await, 5);
}
