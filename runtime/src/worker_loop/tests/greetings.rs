//! What a worker does before its first claim, and when its coordinator is another one than before.

use clara_lifecycle::{
    hello::{ProtocolRange, Welcome},
    id::ClassName,
};

use super::*;

fn welcome(oldest: u32, newest: u32) -> Answer<Welcome> {
    let classes = vec![ClassName::default()];
    let build = format!("0.{newest}.0");
    Answer::Says(Welcome { build, protocol: ProtocolRange { oldest, newest }, classes })
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_shares_no_version_with_the_coordinator_refuses_to_work_and_says_what_to_do() {
    let ours = ProtocolRange::OURS;
    for (theirs, older) in [((ours.newest + 1, ours.newest + 2), "worker"), ((0, 0), "coordinator")] {
        let world = World::with_tasks([task(1)]);
        world.coordinator.welcomes.push(welcome(theirs.0, theirs.1));
        let refused = world.start(handler(|_| async { Ok(result()) }), 1).await.unwrap().unwrap_err();
        let text = refused.to_string();
        assert!(
            text.contains(&ours.to_string()) && text.contains(&format!("Clara 0.{}.0", theirs.1)),
            "{text}"
        );
        assert!(text.ends_with(&format!("upgrade the {older}")), "{text}");
        assert!(world.told().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_waits_for_a_coordinator_that_is_not_there_yet() {
    let world = World::with_tasks([task(1)]);
    for _ in 0..3 {
        world.coordinator.welcomes.push(Answer::Lost);
    }
    world.run(handler(|_| async { Ok(result()) })).await;
    assert_eq!(world.told(), ["claim job-1", "complete job-1 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_greeting_that_is_refused_ends_the_worker() {
    let world = World::with_tasks([]);
    world.coordinator.welcomes.push(Answer::Refused);
    let refused = world.start(handler(|_| async { Ok(result()) }), 1).await.unwrap().unwrap_err();
    assert!(matches!(refused, WorkerError::Introduction(IntroductionError::Refused(_))), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_upgraded_beyond_a_worker_gives_it_no_tasks_until_they_agree_again() {
    let world = World::with_tasks([]);
    let newer = ProtocolRange::OURS.newest + 1;
    for versions in [(1, 2), (newer, newer), (newer, newer), (1, newer)] {
        world.coordinator.welcomes.push(welcome(versions.0, versions.1));
    }
    let running = world.start(handler(|_| async { Ok(result()) }), 1);
    tokio::time::sleep(GREET_EVERY * 3 / 2).await;
    // The slot may still look into the queue once.
    world.broker.publish(&task(1)).await.unwrap();
    tokio::time::sleep(GREET_EVERY).await;
    assert!(world.told().is_empty(), "{:?}", world.told());
    world.until_told(1, "complete").await;
    world.shutdown.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_worker_tells_what_it_is_again_and_again() {
    let world = World::with_tasks([]);
    let running = world.start(handler(|_| async { Ok(result()) }), 2);
    tokio::time::sleep(GREET_EVERY * 2).await;
    let hellos = world.coordinator.hellos.lock().clone();
    let first = hellos.first().unwrap();
    assert!(first.worker.as_str().starts_with("test-worker-"));
    assert_eq!((first.stage, first.slots, first.protocol), (Stage::Rollout, 2, ProtocolRange::OURS));
    assert!(hellos.len() >= 2 && hellos.iter().all(|hello| hello == first));
    world.shutdown.cancel();
    running.await.unwrap().unwrap();
}
