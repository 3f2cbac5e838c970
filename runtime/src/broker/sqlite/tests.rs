//! The SQLite broker against the contract, under faults, across handles and with an unreadable message.

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

fn open(folder: &tempfile::TempDir) -> SqliteBroker {
    SqliteBroker::open(folder.path().join("clara.db")).unwrap().with_visibility_timeout(VISIBILITY)
}

fn served() -> Vec<QueueName> {
    QueueName::served(Stage::Train, &[ClassName::default()])
}

fn task() -> Task {
    Task {
        job: "job-1".parse().unwrap(),
        stage: Stage::Train,
        attempt: Attempt::FIRST,
        priority: 5,
        class: ClassName::default(),
    }
}

#[tokio::test]
async fn the_broker_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    contract::check(Arc::new(open(&folder)), VISIBILITY).await.unwrap();
}

#[tokio::test]
async fn nothing_is_lost_under_faults() {
    let folder = tempfile::tempdir().unwrap();
    let inner: Arc<dyn Broker> = Arc::new(open(&folder));
    let slow = Fault::Slow(Duration::from_millis(5));
    let wrapped: [Arc<dyn Broker>; 5] = [
        Arc::new(Faulty::new(inner.clone(), Fault::Flaky, 30, 1)),
        Arc::new(Faulty::new(inner.clone(), Fault::Unanswered, 20, 2)),
        Arc::new(Faulty::new(inner.clone(), slow, 30, 3)),
        Arc::new(Duplicating::new(inner.clone(), 40, 4)),
        Arc::new(Reordering::new(inner.clone(), 40, 5)),
    ];
    for broker in wrapped {
        contract::check_under_faults(broker.as_ref(), VISIBILITY).await.unwrap();
    }
}

#[tokio::test]
async fn a_task_outlives_the_broker_that_took_it() {
    let folder = tempfile::tempdir().unwrap();
    open(&folder).publish(&task()).await.unwrap();
    let reopened = open(&folder);
    let received = reopened.receive(&served(), Duration::ZERO).await.unwrap().unwrap();
    assert_eq!(received.task, task());
}

#[tokio::test]
async fn a_receiver_gets_what_another_handle_publishes() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (open(&folder), open(&folder));
    let queues = served();
    let receive = one.receive(&queues, Duration::from_secs(10));
    let (received, published) = futures::future::join(receive, async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        two.publish(&task()).await
    })
    .await;
    published.unwrap();
    assert_eq!(received.unwrap().unwrap().task, task());
}

#[tokio::test]
async fn of_many_receivers_one_gets_the_task() {
    let folder = tempfile::tempdir().unwrap();
    let brokers = [open(&folder), open(&folder)];
    brokers[0].publish(&task()).await.unwrap();
    let receivers = (0..8).map(|n| {
        let broker = brokers[n % 2].clone().with_visibility_timeout(Duration::from_secs(30));
        async move { broker.receive(&served(), Duration::from_millis(300)).await.unwrap() }
    });
    let received = futures::future::join_all(receivers).await;
    assert_eq!(received.iter().flatten().count(), 1);
}

#[tokio::test]
async fn an_unreadable_message_is_reported_once_and_does_not_block_the_queue() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(&folder);
    broker.publish(&Task { priority: 9, ..task() }).await.unwrap();
    broker.publish(&task()).await.unwrap();
    broker
        .call(|session| {
            session.write(|transaction, _| {
                transaction.execute("UPDATE tasks SET body = '{' WHERE queue LIKE '%.high'", []).map(drop)
            })
        })
        .await
        .unwrap();
    let queue = served();
    let first = broker.receive(&queue, Duration::ZERO).await;
    assert!(matches!(first, Err(BrokerError::Malformed { .. })), "{first:?}");
    let second = broker.receive(&queue, Duration::ZERO).await.unwrap().unwrap();
    assert_eq!(second.task, task());
    assert!(broker.acknowledge(&second).await.unwrap());
    assert_eq!(
        broker.depth(&QueueName::of(&task())).await.unwrap(),
        QueueDepth { ready: 0, unacknowledged: 0 }
    );
}
