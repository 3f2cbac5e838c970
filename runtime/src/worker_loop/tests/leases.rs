//! Heartbeats, directives, drain and fencing.

use clara_lifecycle::{
    artifact::ArtifactRef,
    curve::{CurvePoint, ValidationPoint},
};

use super::*;

/// A handler that works until it is told to stop, and says when and why.
async fn until_stopped(
    mut context: AttemptContext,
) -> Result<clara_lifecycle::results::StageResult, StageFailure> {
    Err(StageFailure::Stopped(context.stop.stopped().await))
}

fn with_checkpoint(name: &str) -> impl FnOnce(&mut Progress) {
    let checkpoint: ArtifactRef = samples::artifact(name);
    move |progress| progress.checkpoint = Some(checkpoint)
}

#[tokio::test(start_paused = true)]
async fn heartbeats_come_every_third_of_the_lease_and_carry_progress() {
    let world = World::with_tasks([task(1)]);
    world
        .run(handler(|context: AttemptContext| async move {
            for done in 1..=17 {
                tokio::time::sleep(Duration::from_millis(999)).await;
                context.progress.update(|progress| progress.done = done);
            }
            Ok(result())
        }))
        .await;
    let beats: Vec<(u64, u64)> = world.beats().iter().map(|(at, beat)| (at.as_secs(), beat.done)).collect();
    assert_eq!(beats, [(5, 5), (10, 10), (15, 15)]);
}

#[tokio::test(start_paused = true)]
async fn each_point_of_a_curve_is_told_once() {
    let point = |step| CurvePoint::Validation(ValidationPoint { step, validation_loss: 0.5 });
    let world = World::with_tasks([task(1)]);
    world
        .run(handler(move |context: AttemptContext| async move {
            for step in 1..=17 {
                tokio::time::sleep(Duration::from_millis(999)).await;
                let newest = (step.max(8) - 7..=step).map(point).collect();
                context.progress.update(|progress| progress.points = newest);
            }
            Ok(result())
        }))
        .await;
    let told: Vec<CurvePoint> = world.beats().into_iter().flat_map(|(_, beat)| beat.points).collect();
    assert_eq!(told, (1..=15).map(point).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_new_checkpoint_is_told_at_once_and_once() {
    let world = World::with_tasks([task(1)]);
    world
        .run(handler(|context: AttemptContext| async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            context.progress.update(with_checkpoint("first"));
            tokio::time::sleep(Duration::from_secs(1)).await;
            context.progress.update(|progress| progress.done = 7);
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(result())
        }))
        .await;
    let beats = world.beats();
    assert_eq!(beats.iter().map(|(at, _)| at.as_secs()).collect::<Vec<u64>>(), [1]);
    assert_eq!(beats[0].1.checkpoint, Some(samples::artifact("first")));
}

/// Real time and threads: what blocks here is a thread.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_blocks_its_thread_keeps_its_lease() {
    let world = World::with_lease([task(1)], Duration::from_millis(600));
    world
        .run(handler(|context: AttemptContext| async move {
            std::thread::sleep(Duration::from_millis(1500));
            assert_eq!(context.stop.reason(), None);
            Ok(result())
        }))
        .await;
    assert!(world.beats().len() >= 4, "{:?}", world.beats());
    assert_eq!(world.told().last().unwrap(), "complete job-1 1");
}

async fn fenced_after(answers: impl Fn() -> Answer<Directive>) -> (Duration, World) {
    let world = World::with_tasks([task(1)]);
    for _ in 0..100 {
        world.coordinator.directives.push(answers());
    }
    let stopped_after = std::sync::Arc::new(parking_lot::Mutex::new(None));
    let seen = stopped_after.clone();
    world
        .run(handler(move |mut context: AttemptContext| {
            let seen = seen.clone();
            async move {
                let started = Instant::now();
                let reason = context.stop.stopped().await;
                assert_eq!(reason, StopReason::Fenced);
                *seen.lock() = Some(started.elapsed());
                // Even a result is not wanted now.
                Ok(result())
            }
        }))
        .await;
    let after = stopped_after.lock().unwrap();
    (after, world)
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_not_heard_stops_itself_before_its_lease_ends_and_reports_nothing() {
    for answers in [|| Answer::Lost, || Answer::Never] {
        let (after, world) = fenced_after(answers).await;
        // Timers count whole milliseconds.
        let expected = TTL.mul_f64(0.8);
        assert!(after.abs_diff(expected) < Duration::from_millis(5), "stopped after {after:?}");
        assert_eq!(world.told(), ["claim job-1"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_fenced_worker_stops_at_the_next_heartbeat_and_reports_nothing() {
    let (after, world) = fenced_after(|| Answer::Says(Directive::Fenced)).await;
    assert!(after < TTL / 2, "stopped after {after:?}");
    assert_eq!(world.told(), ["claim job-1"]);
}

#[tokio::test(start_paused = true)]
async fn one_answered_heartbeat_renews_the_lease() {
    let world = World::with_tasks([task(1)]);
    // Two of three beats are lost.
    for _ in 0..20 {
        world.coordinator.directives.push(Answer::Lost);
        world.coordinator.directives.push(Answer::Lost);
        world.coordinator.directives.push(Answer::Says(Directive::Continue));
    }
    world
        .run(handler(|_| async {
            tokio::time::sleep(TTL * 4).await;
            Ok(result())
        }))
        .await;
    assert_eq!(world.told().last().unwrap(), "complete job-1 1");
}

#[tokio::test(start_paused = true)]
async fn a_report_ends_when_the_lease_does() {
    let world = World::with_tasks([task(1)]);
    for _ in 0..1000 {
        world.coordinator.directives.push(Answer::Lost);
        world.coordinator.reports.push(Answer::Lost);
    }
    let started = Instant::now();
    let running = world.start(handler(|_| async { Ok(result()) }), 1);
    world.until_told(3, "complete").await;
    tokio::time::sleep_until(started + TTL).await;
    let reports = world.told().len();
    tokio::time::sleep(TTL).await;
    assert_eq!(world.told().len(), reports, "reports went on after the lease");
    world.shutdown.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_attempt_stops_and_reports_nothing() {
    let world = World::with_tasks([task(1)]);
    world.coordinator.directives.push(Answer::Says(Directive::Cancel));
    world.run(handler(until_stopped)).await;
    assert_eq!(world.told(), ["claim job-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_drained_attempt_tells_its_last_checkpoint_and_is_handed_back() {
    let world = World::with_tasks([task(1)]);
    let running = world.start(
        handler(|mut context: AttemptContext| async move {
            let reason = context.stop.stopped().await;
            assert_eq!(reason, StopReason::Drain);
            context.progress.update(with_checkpoint("last"));
            Err(StageFailure::Stopped(reason))
        }),
        1,
    );
    world.until_told(1, "claim").await;
    world.shutdown.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(world.told(), ["claim job-1", "hand back job-1"]);
    assert_eq!(world.beats().last().unwrap().1.checkpoint, Some(samples::artifact("last")));
}

#[tokio::test(start_paused = true)]
async fn the_coordinator_can_ask_for_a_drain() {
    let world = World::with_tasks([task(1)]);
    world.coordinator.directives.push(Answer::Says(Directive::Drain));
    world.run(handler(until_stopped)).await;
    assert_eq!(world.told(), ["claim job-1", "hand back job-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_result_that_is_ready_when_the_drain_begins_is_reported() {
    let world = World::with_tasks([task(1)]);
    world.coordinator.directives.push(Answer::Says(Directive::Drain));
    world
        .run(handler(|mut context: AttemptContext| async move {
            context.stop.stopped().await;
            Ok(result())
        }))
        .await;
    assert_eq!(world.told(), ["claim job-1", "complete job-1 1"]);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_does_not_save_its_work_in_time_is_handed_back_all_the_same() {
    let world = World::with_tasks([task(1)]);
    let running = world.start(handler(|_| std::future::pending()), 1);
    world.until_told(1, "claim").await;
    let started = Instant::now();
    world.shutdown.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(world.told(), ["claim job-1", "hand back job-1"]);
    assert!(started.elapsed() < Duration::from_secs(40), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_hangs_after_it_lost_its_lease_is_given_up_and_its_slot_takes_the_next_task() {
    let world = World::with_tasks([task(1), task(2)]);
    world.coordinator.directives.push(Answer::Says(Directive::Fenced));
    let began = Instant::now();
    let run = handler(|context: AttemptContext| async move {
        match context.assignment.job.as_str() {
            "job-1" => std::future::pending().await,
            _ => Ok(result()),
        }
    });
    let worker = world.start(run, 1);
    world.until_told(1, "complete job-2").await;
    assert_eq!(world.told(), ["claim job-1", "claim job-2", "complete job-2 1"]);
    // The heartbeat after 5 s brings the directive; then the handler has 30 s to stop.
    assert_eq!(began.elapsed().as_secs(), 35);
    world.shutdown.cancel();
    worker.await.unwrap().unwrap();
}
