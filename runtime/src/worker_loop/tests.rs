//! The loop against a scripted broker and coordinator, in paused time.

use std::time::Duration;

use clara_lifecycle::{attempt::Progress, samples, stage::Stage};
use tokio::time::Instant;

use super::*;
use crate::{
    broker::QueueName,
    coordinator_client::{Directive, ReportOutcome},
    faults::{Fault, Faulty},
    stop::StopReason,
    worker::{AttemptContext, StageFailure},
};
use script::{Answer, Breaking, World, handler, result, task};

mod greetings;
mod leases;
mod logs;
mod script;

const TTL: Duration = Duration::from_secs(15);

#[tokio::test(start_paused = true)]
async fn a_task_is_claimed_acknowledged_run_and_reported() {
    let world = World::with_tasks([task(1)]);
    world
        .run(handler(|context: AttemptContext| async move {
            std::fs::create_dir(&context.scratch).unwrap();
            std::fs::write(context.scratch.join("work"), "half done").unwrap();
            Ok(result())
        }))
        .await;
    assert_eq!(world.told(), ["claim job-1", "complete job-1 1"]);
    assert_eq!(world.broker.acknowledged(), 1);
    assert_eq!(std::fs::read_dir(world.scratch_root()).unwrap().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_refused_claim_is_acknowledged_and_nothing_runs() {
    let world = World::with_tasks([task(1)]);
    world.coordinator.claims.push(Answer::Says(ClaimAnswer::Refused { reason: "it is over".to_owned() }));
    world.run(handler(|_| async { panic!("must not run") })).await;
    assert_eq!(world.told(), ["claim job-1"]);
    assert_eq!(world.broker.acknowledged(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_reported_with_its_message() {
    let world = World::with_tasks([task(1), task(2)]);
    world
        .run(handler(|context: AttemptContext| async move {
            match context.assignment.job.as_str() {
                "job-1" => Err(StageFailure::permanent("rank 0")),
                _ => Err(StageFailure::retryable("disk full")),
            }
        }))
        .await;
    let told = world.told();
    assert!(told.contains(&"fail job-1 rank 0 false".to_owned()), "{told:?}");
    assert!(told.contains(&"fail job-2 disk full true".to_owned()), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_can_compute_no_more_leaves_the_other_tasks_and_ends() {
    let world = World::with_tasks([task(1), task(2)]);
    let ended = world.start(Arc::new(Breaking::default()), 1).await.unwrap().unwrap_err();
    assert!(
        matches!(&ended, WorkerError::Unusable { reason, .. } if reason == "the GPU was lost"),
        "{ended}"
    );
    assert_eq!(world.told(), ["claim job-1", "fail job-1 the GPU was lost true"]);
    assert_eq!(world.broker.acknowledged(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_reported_as_a_failure_and_the_slot_goes_on() {
    let world = World::with_tasks([task(1), task(2)]);
    world
        .run(handler(|context: AttemptContext| async move {
            assert!(context.assignment.job.as_str() != "job-1", "broken on purpose");
            Ok(result())
        }))
        .await;
    let told = world.told();
    assert!(told.iter().any(|call| call.starts_with("fail job-1") && call.contains("broken on purpose")));
    assert!(told.contains(&"complete job-2 1".to_owned()), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_report_is_repeated_until_it_is_answered() {
    let world = World::with_tasks([task(1)]);
    for _ in 0..3 {
        world.coordinator.reports.push(Answer::Lost);
    }
    world.run(handler(|_| async { Ok(result()) })).await;
    assert_eq!(world.told().iter().filter(|call| call.starts_with("complete")).count(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_stale_report_is_not_repeated() {
    let world = World::with_tasks([task(1)]);
    world.coordinator.reports.push(Answer::Says(ReportOutcome::Stale));
    world.run(handler(|_| async { Ok(result()) })).await;
    assert_eq!(world.told(), ["claim job-1", "complete job-1 1"]);
}

#[tokio::test(start_paused = true)]
async fn an_unanswered_claim_is_repeated_under_its_id() {
    let world = World::with_tasks([task(1)]);
    world.coordinator.claims.push(Answer::Lost);
    world.coordinator.claims.push(Answer::Lost);
    world.run(handler(|_| async { Ok(result()) })).await;
    let ids = world.coordinator.claim_ids.lock().clone();
    assert_eq!(ids.len(), 3);
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(world.told().last().unwrap(), "complete job-1 1");
}

#[tokio::test(start_paused = true)]
async fn a_task_that_cannot_be_claimed_goes_back_before_its_delivery_ends() {
    let world = World::with_tasks([task(1)]);
    for _ in 0..10_000 {
        world.coordinator.claims.push(Answer::Lost);
    }
    let started = Instant::now();
    let running = world.start(handler(|_| async { Ok(result()) }), 1);
    while world.broker.released() == 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(started.elapsed() < Duration::from_secs(25), "{:?}", started.elapsed());
    world.shutdown.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_broker_is_waited_out() {
    let world = World::with_tasks([task(1)]);
    world.broker.fail_next(5);
    world.run(handler(|_| async { Ok(result()) })).await;
    assert_eq!(world.told().last().unwrap(), "complete job-1 1");
}

#[tokio::test(start_paused = true)]
async fn slots_are_shown_unless_the_broker_is_away_or_the_worker_ended() {
    let page = metrics::install().unwrap();
    let shown = |slots: &str| {
        let queue = QueueName::served(Stage::Rollout, &[ClassName::default()]).remove(0);
        page.render().contains(&format!("clara_worker_slots{{queue=\"{queue}\"}} {slots}\n"))
    };
    let until = async |slots| {
        while !shown(slots) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let world = World::with_tasks([task(1)]);
    let running = world.start(handler(|_| async { Ok(result()) }), 2);
    until("2").await;
    world.broker.fail_next(u32::MAX);
    until("0").await;
    world.broker.fail_next(0);
    until("2").await;
    world.shutdown.cancel();
    running.await.unwrap().unwrap();
    assert!(shown("0"));
}

#[tokio::test(start_paused = true)]
async fn every_task_ends_though_calls_to_the_coordinator_are_lost() {
    for (fault, seed) in
        [(Fault::Flaky, 11), (Fault::Unanswered, 12), (Fault::Slow(Duration::from_secs(2)), 13)]
    {
        let world = World::with_tasks((1..=20).map(task));
        let coordinator: Arc<dyn Coordinator> = world.coordinator.clone();
        let faulty = Arc::new(Faulty::new(coordinator, fault, 30, seed));
        let running = world.start_with(handler(|_| async { Ok(result()) }), 4, faulty);
        for number in 1..=20 {
            world.until_told(1, &format!("complete job-{number} ")).await;
        }
        world.shutdown.cancel();
        running.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn slots_work_at_the_same_time() {
    let world = World::with_tasks([task(1), task(2), task(3)]);
    let started = Instant::now();
    let slow = handler(|_| async {
        tokio::time::sleep(Duration::from_mins(1)).await;
        Ok(result())
    });
    let running = world.start(slow, 3);
    world.until_told(3, "complete").await;
    assert!(started.elapsed() < Duration::from_secs(70), "{:?}", started.elapsed());
    world.shutdown.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn nothing_new_is_claimed_after_the_shutdown_began() {
    let world = World::with_tasks([task(1)]);
    world.shutdown.cancel();
    world.start(handler(|_| async { panic!("must not run") }), 2).await.unwrap().unwrap();
    assert!(world.told().is_empty());
}

#[test]
fn scratch_of_a_dead_worker_is_removed_and_that_of_a_living_one_kept() {
    let root = tempfile::tempdir().unwrap();
    let open = |name: &str| Scratch::open(root.path(), &name.parse().unwrap()).unwrap();
    let living = open("worker-living");
    let dead = root.path().join("worker-dead");
    std::fs::create_dir_all(dead.join("job-1")).unwrap();
    std::fs::write(dead.join("worker.lock"), "").unwrap();
    let other = root.path().join("not-ours");
    std::fs::create_dir(&other).unwrap();
    let second = open("worker-second");
    assert!(!dead.exists());
    assert!(other.exists() && root.path().join("worker-living").exists());
    drop((living, second));
    assert!(!root.path().join("worker-living").exists());
}

#[test]
fn worker_ids_are_fresh() {
    let id = || fresh_worker_id("gpu-worker").unwrap();
    assert_ne!(id(), id());
    assert!(fresh_worker_id("GPU worker").is_err());
}
