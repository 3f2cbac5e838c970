//! The relay: what was committed is published, again when nobody knows whether it was.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use clara_lifecycle::{id::ClassName, job::Event, samples, stage::Stage};
use clara_runtime::{
    broker::{Delivery, QueueDepth, QueueName},
    state::StateStore,
};

use super::*;
use crate::testing::{House, claim};

async fn received(house: &House, stage: Stage) -> Option<Delivery> {
    let queues = QueueName::served(stage, &[ClassName::default()]);
    house.broker.receive(&queues, Duration::from_millis(20)).await.unwrap()
}

#[tokio::test]
async fn a_committed_task_is_published_once_and_settled() {
    let house = House::new().await;
    let job = house.submit(samples::spec()).await.id;
    publish_due(house.state.as_ref(), house.broker.as_ref(), &mut Outage::of("publishing tasks"))
        .await
        .unwrap();
    publish_due(house.state.as_ref(), house.broker.as_ref(), &mut Outage::of("publishing tasks"))
        .await
        .unwrap();
    let delivery = received(&house, Stage::Ingest).await.unwrap();
    assert_eq!((delivery.task.job.clone(), delivery.task.stage), (job, Stage::Ingest));
    assert!(house.broker.acknowledge(&delivery).await.unwrap());
    assert_eq!(received(&house, Stage::Ingest).await, None);
}

#[tokio::test]
async fn a_relay_that_died_before_it_settled_publishes_again() {
    let house = House::new().await;
    house.submit(samples::spec()).await;
    let now = house.state.now().await.unwrap();
    let waiting = house.state.outbox(now, 1).await.unwrap();
    house.broker.publish(&waiting[0].task).await.unwrap();
    publish_due(house.state.as_ref(), house.broker.as_ref(), &mut Outage::of("publishing tasks"))
        .await
        .unwrap();
    let (first, second) = (received(&house, Stage::Ingest).await, received(&house, Stage::Ingest).await);
    assert_eq!(first.map(|delivery| delivery.task), second.map(|delivery| delivery.task));
    assert!(house.state.outbox(now, 1).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_repeated_attempt_is_published_after_its_pause() {
    let house = House::new().await;
    let job = house.submit(samples::spec()).await.id;
    publish_due(house.state.as_ref(), house.broker.as_ref(), &mut Outage::of("publishing tasks"))
        .await
        .unwrap();
    let first = received(&house, Stage::Ingest).await.unwrap();
    house.broker.acknowledge(&first).await.unwrap();
    let key = claim(&house.driver, &job, Stage::Ingest).await;
    let failed = Event::Failed { key, message: "the disk was away".to_owned(), retryable: true };
    house.driver.apply(&job, failed).await.unwrap();
    publish_due(house.state.as_ref(), house.broker.as_ref(), &mut Outage::of("publishing tasks"))
        .await
        .unwrap();
    assert_eq!(received(&house, Stage::Ingest).await, None);
    house.clock.advance(samples::spec().retry.pause_after(1) + Duration::from_secs(1));
    publish_due(house.state.as_ref(), house.broker.as_ref(), &mut Outage::of("publishing tasks"))
        .await
        .unwrap();
    assert_eq!(received(&house, Stage::Ingest).await.unwrap().task.attempt, first.task.attempt.next());
}

#[tokio::test]
async fn a_relay_publishes_what_it_is_handed_and_settles_it_together_and_when_it_ends() {
    let house = House::new().await;
    let (relay_of, committed) = Relay::new();
    for _ in 0..3 {
        house.submit(samples::spec()).await;
    }
    let now = house.state.now().await.unwrap();
    let mut entries = house.state.outbox(now, 10).await.unwrap();
    assert_eq!(entries.len(), 3);
    relay_of.publish(Relay::reserve(&mut entries, now));
    let end = CancellationToken::new();
    let (state, broker) = (Arc::clone(&house.state), Arc::clone(&house.broker));
    let relaying = relay(state, broker, committed, end.clone());
    let watching = async {
        for _ in 0..3 {
            assert!(received(&house, Stage::Ingest).await.is_some());
        }
        end.cancel();
    };
    tokio::join!(relaying, watching);
    assert!(house.state.outbox(now, 10).await.unwrap().is_empty());
}

/// A broker over one connection: who publishes waits for a turn at it, first come, first served.
#[derive(Debug)]
struct InTurn {
    inner: Arc<dyn Broker>,
    turn: tokio::sync::Mutex<()>,
    waiting: AtomicUsize,
}

impl InTurn {
    async fn until_waiting(&self, publications: usize) {
        while self.waiting.load(Ordering::Relaxed) < publications {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[async_trait]
impl Broker for InTurn {
    async fn publish(&self, task: &Task) -> Result<(), BrokerError> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _turn = self.turn.lock().await;
        self.inner.publish(task).await
    }

    async fn receive(&self, queues: &[QueueName], wait: Duration) -> Result<Option<Delivery>, BrokerError> {
        self.inner.receive(queues, wait).await
    }

    async fn acknowledge(&self, delivery: &Delivery) -> Result<bool, BrokerError> {
        self.inner.acknowledge(delivery).await
    }

    async fn release(&self, delivery: &Delivery) -> Result<(), BrokerError> {
        self.inner.release(delivery).await
    }

    async fn depth(&self, queue: &QueueName) -> Result<QueueDepth, BrokerError> {
        self.inner.depth(queue).await
    }

    async fn dead_letters(&self) -> Result<u64, BrokerError> {
        self.inner.dead_letters().await
    }

    fn blocked(&self) -> Option<BrokerError> {
        self.inner.blocked()
    }
}

#[tokio::test]
async fn a_look_into_the_outbox_does_not_wait_behind_a_publication_that_stands_still() {
    let house = House::new().await;
    let inner = Arc::clone(&house.broker) as Arc<dyn Broker>;
    let broker =
        Arc::new(InTurn { inner, turn: tokio::sync::Mutex::default(), waiting: AtomicUsize::new(0) });
    house.submit(samples::spec()).await;
    let now = house.state.now().await.unwrap();
    let mut entries = house.state.outbox(now, 1).await.unwrap();
    // The first task is handed over alone, the second one is found alone.
    house.state.settle(&[entries[0].text.clone()]).await.unwrap();
    let (relay_of, committed) = Relay::new();
    let end = CancellationToken::new();
    let relaying = relay(Arc::clone(&house.state) as _, Arc::clone(&broker) as _, committed, end.clone());
    let watching = async {
        let held = broker.turn.lock().await;
        relay_of.publish(Relay::reserve(&mut entries, now));
        broker.until_waiting(1).await;
        let second = house.submit(samples::spec()).await.id;
        broker.until_waiting(2).await;
        drop(held);
        let mut received_of_second = false;
        while !received_of_second {
            received_of_second =
                received(&house, Stage::Ingest).await.is_some_and(|delivery| delivery.task.job == second);
        }
        end.cancel();
    };
    let both = async { futures::join!(relaying, watching) };
    tokio::time::timeout(Duration::from_secs(30), both).await.expect("the relay stands still");
}
