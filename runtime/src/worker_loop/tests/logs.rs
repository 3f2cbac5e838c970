//! What attempts log reaches the coordinator, and never harms them.

use tracing_subscriber::layer::SubscriberExt;

use super::*;

/// These tests run on one thread, so that it is enough to collect on it.
fn collecting() -> tracing::subscriber::DefaultGuard {
    tracing::subscriber::set_default(tracing_subscriber::registry().with(crate::log_capture::layer()))
}

/// Says one line at its beginning and one after three seconds.
async fn talking(_: AttemptContext) -> Result<clara_lifecycle::results::StageResult, StageFailure> {
    tracing::info!("first");
    tokio::time::sleep(Duration::from_secs(3)).await;
    tracing::info!("last");
    Ok(result())
}

#[tokio::test(start_paused = true)]
async fn lines_are_sent_while_the_attempt_runs_and_before_it_is_reported() {
    let _collecting = collecting();
    let world = World::with_tasks([task(1)]);
    world.run(handler(talking)).await;
    assert_eq!(world.lines(), [["first"], ["last"]]);
    assert_eq!(world.told(), ["claim job-1", "complete job-1 1"]);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_says_nothing_costs_no_call() {
    let _collecting = collecting();
    let world = World::with_tasks([task(1)]);
    world.run(handler(|_| async { Ok(result()) })).await;
    assert!(world.lines().is_empty(), "{:?}", world.lines());
}

#[tokio::test(start_paused = true)]
async fn why_an_attempt_failed_is_its_last_line() {
    let _collecting = collecting();
    let world = World::with_tasks([task(1)]);
    world.run(handler(|_| async { Err(StageFailure::permanent("rank 0")) })).await;
    let lines = world.lines().concat();
    assert!(lines.last().is_some_and(|line| line.contains("failed: rank 0")), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn lines_without_an_answer_are_sent_again() {
    let _collecting = collecting();
    let world = World::with_tasks([task(1)]);
    world.coordinator.kept.push(Answer::Lost);
    world.run(handler(talking)).await;
    assert_eq!(world.lines(), [vec!["first"], vec!["first"], vec!["last"]]);
}

#[tokio::test(start_paused = true)]
async fn an_older_coordinator_is_asked_once_and_the_attempt_goes_on() {
    let _collecting = collecting();
    let world = World::with_tasks([task(1)]);
    world.coordinator.kept.push(Answer::Refused);
    world.run(handler(talking)).await;
    assert_eq!(world.lines(), [["first"]]);
    assert_eq!(world.told().last().unwrap(), "complete job-1 1");
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_never_answers_about_lines_delays_the_report_little() {
    let _collecting = collecting();
    let world = World::with_tasks([task(1)]);
    (0..10).for_each(|_| world.coordinator.kept.push(Answer::Never));
    let started = Instant::now();
    world.run(handler(talking)).await;
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    assert_eq!(world.told().last().unwrap(), "complete job-1 1");
}
