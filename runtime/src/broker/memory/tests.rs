//! The broker in memory against the contract, plain and under faults, at its restart and at its delivery limit.

use clara_lifecycle::{
    id::{Attempt, ClassName},
    stage::Stage,
};

use super::*;
use crate::{
    broker::contract,
    faults::{Duplicating, Fault, Faulty, Reordering},
};

const VISIBILITY: Duration = Duration::from_millis(250);

fn task() -> Task {
    Task {
        job: "job-1".parse().unwrap(),
        stage: Stage::Train,
        attempt: Attempt::FIRST,
        priority: 5,
        class: ClassName::default(),
    }
}

async fn next(broker: &MemoryBroker) -> Option<Delivery> {
    let queues = QueueName::served(Stage::Train, &[ClassName::default()]);
    broker.receive(&queues, Duration::ZERO).await.unwrap()
}

#[tokio::test]
async fn the_broker_in_memory_keeps_the_contract() {
    let broker = MemoryBroker::default().with_visibility_timeout(VISIBILITY);
    contract::check(Arc::new(broker), VISIBILITY).await.unwrap();
}

#[tokio::test]
async fn the_broker_in_memory_loses_nothing_under_faults() {
    let broker: Arc<dyn Broker> = Arc::new(MemoryBroker::default().with_visibility_timeout(VISIBILITY));
    let broker: Arc<dyn Broker> = Arc::new(Faulty::new(broker, Fault::Unanswered, 20, 3));
    let broker: Arc<dyn Broker> = Arc::new(Duplicating::new(broker, 20, 4));
    contract::check_under_faults(&Reordering::new(broker, 20, 5), VISIBILITY).await.unwrap();
}

#[tokio::test]
async fn a_restart_gives_back_what_was_not_acknowledged() {
    let broker = MemoryBroker::default();
    broker.publish(&task()).await.unwrap();
    let first = next(&broker).await.unwrap();
    broker.restart();
    let second = next(&broker).await.unwrap();
    assert!(second.redelivered);
    assert!(!broker.acknowledge(&first).await.unwrap());
    assert!(broker.acknowledge(&second).await.unwrap());
    assert_eq!(broker.tasks(), 0);
}

#[tokio::test]
async fn a_task_that_comes_too_often_is_set_aside() {
    let broker = MemoryBroker::default().with_delivery_limit(2);
    broker.publish(&task()).await.unwrap();
    for _ in 0..3 {
        let delivery = next(&broker).await.unwrap();
        broker.release(&delivery).await.unwrap();
    }
    assert_eq!(next(&broker).await, None);
    assert_eq!(broker.dead_letters().await.unwrap(), 1);
}
