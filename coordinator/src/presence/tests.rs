//! Who is there, who was, and who is forgotten.

use super::*;
use crate::testing::{House, hello};

async fn names(house: &House) -> Vec<String> {
    house.driver.present().await.unwrap().into_iter().map(|present| present.worker.into()).collect()
}

#[tokio::test]
async fn a_worker_is_there_while_it_greets_and_forgotten_when_it_is_long_gone() {
    let house = House::empty();
    for worker in ["worker-1", "worker-2"] {
        house.driver.heard_of(&hello(worker, Stage::Train, 1), &[ClassName::default()]).await.unwrap();
    }
    assert_eq!(names(&house).await, ["worker-1", "worker-2"]);
    house.clock.advance(LATELY);
    house.driver.heard_of(&hello("worker-2", Stage::Train, 1), &[ClassName::default()]).await.unwrap();
    house.clock.advance(GREET_EVERY);
    assert_eq!(names(&house).await, ["worker-2"]);
    let kept = || async { house.driver.records.all::<Presence>(WORKER).await.unwrap().len() };
    house.driver.forget_workers().await.unwrap();
    assert_eq!(kept().await, 2);
    house.clock.advance(FORGOTTEN_AFTER);
    house.driver.heard_of(&hello("worker-2", Stage::Train, 1), &[ClassName::default()]).await.unwrap();
    house.driver.forget_workers().await.unwrap();
    assert_eq!((kept().await, names(&house).await), (1, vec!["worker-2".to_owned()]));
}

#[tokio::test]
async fn a_worker_serves_the_queues_of_its_stage_and_classes() {
    let house = House::empty();
    let classes: [ClassName; 1] = ["gpu80".parse().unwrap()];
    for stage in [Stage::Train, Stage::Judge] {
        house.driver.heard_of(&hello(stage.as_str(), stage, 1), &classes).await.unwrap();
    }
    let serving = |stage, class: &str| {
        let band = clara_lifecycle::resources::PriorityBand::High;
        let queue = QueueName { stage, class: class.parse().unwrap(), band };
        let driver = house.driver.clone();
        async move { driver.present().await.unwrap().iter().filter(|present| present.serves(&queue)).count() }
    };
    assert_eq!((serving(Stage::Train, "gpu80").await, serving(Stage::Train, "default").await), (1, 0));
    // Stages that need no class have one queue for all.
    assert_eq!((serving(Stage::Judge, "gpu80").await, serving(Stage::Judge, "default").await), (0, 1));
}
