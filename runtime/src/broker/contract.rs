//! The rules that every broker obeys; each implementation runs them, plain and under faults.

use std::{
    collections::BTreeSet,
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use clara_lifecycle::{
    id::{Attempt, ClassName, JobId},
    resources::PriorityBand,
    stage::Stage,
};
use uuid::Uuid;

use super::{Broker, BrokerError, Delivery, QueueName, Task};
use crate::contract::{Broken, Finding, ensure, insist, judge, unexpected};

/// How long a rule waits for something that must happen.
const DEADLINE: Duration = Duration::from_secs(20);

/// Runs every rule against `broker`, whose queues must be empty and used by nobody else, and whose deliveries
/// belong to their receiver for `visibility_timeout`, which should be short.
///
/// # Errors
/// [`Broken`] names the first rule that does not hold.
pub async fn check(broker: Arc<dyn Broker>, visibility_timeout: Duration) -> Result<(), Broken> {
    let broker = broker.as_ref();
    judge("an empty queue gives nothing, after the wait", empty_queue(broker).await)?;
    judge("a published task is delivered once and gone when acknowledged", deliver_once(broker).await)?;
    judge("a waiting receiver gets what is published", wakes_receiver(broker).await)?;
    judge("queues are apart", queues_are_apart(broker).await)?;
    judge("higher bands come first, tasks of one band in order", priorities(broker).await)?;
    judge("a released task is delivered again at once", release(broker).await)?;
    let lost = lost_delivery(broker, visibility_timeout).await;
    judge("an unacknowledged task is delivered again, and its old delivery is lost", lost)?;
    judge("a cancelled receiver loses no task", cancelled_receiver(broker).await)?;
    judge("the depth counts ready and unacknowledged tasks", depth(broker).await)?;
    check_under_faults(broker, visibility_timeout).await
}

/// Runs the rules that hold even where deliveries are lost or doubled on the way: nothing published is lost, and
/// what was acknowledged ends.
///
/// # Errors
/// [`Broken`] names the rule that does not hold.
pub async fn check_under_faults(broker: &dyn Broker, visibility_timeout: Duration) -> Result<(), Broken> {
    judge("every published task arrives and the queue ends empty", no_loss(broker, visibility_timeout).await)
}

async fn again<T, F: Future<Output = Result<T, BrokerError>>>(call: impl FnMut() -> F) -> Result<T, String> {
    insist(BrokerError::is_retryable, call).await.map_err(unexpected)
}

fn task(stage: Stage, priority: u8) -> Result<Task, String> {
    let job: JobId = format!("job-{}", Uuid::new_v4()).parse().map_err(unexpected)?;
    Ok(Task { job, stage, attempt: Attempt::FIRST, priority, class: ClassName::default() })
}

async fn receive(broker: &dyn Broker, stage: Stage, wait: Duration) -> Result<Option<Delivery>, String> {
    let queues = QueueName::served(stage, &[ClassName::default()]);
    again(|| broker.receive(&queues, wait)).await
}

async fn must_receive(broker: &dyn Broker, stage: Stage) -> Result<Delivery, String> {
    receive(broker, stage, DEADLINE).await?.ok_or_else(|| format!("nothing came within {DEADLINE:?}"))
}

async fn acknowledge(broker: &dyn Broker, delivery: &Delivery) -> Finding {
    let ours = again(|| broker.acknowledge(delivery)).await?;
    ensure(ours, || format!("the delivery {delivery:?} was lost though nothing happened to it"))
}

async fn expect_empty(broker: &dyn Broker, stage: Stage) -> Finding {
    let found = receive(broker, stage, Duration::ZERO).await?;
    ensure(found.is_none(), || format!("the queue still gave {found:?}"))
}

async fn empty_queue(broker: &dyn Broker) -> Finding {
    let wait = Duration::from_millis(50);
    let started = Instant::now();
    let found = receive(broker, Stage::Train, wait).await?;
    ensure(found.is_none(), || format!("an empty queue gave {found:?}"))?;
    ensure(started.elapsed() >= wait, || format!("it gave up after {:?} of {wait:?}", started.elapsed()))
}

async fn deliver_once(broker: &dyn Broker) -> Finding {
    let task = task(Stage::Train, 5)?;
    again(|| broker.publish(&task)).await?;
    let delivery = must_receive(broker, Stage::Train).await?;
    ensure(delivery.task == task, || format!("published {task:?}, received {:?}", delivery.task))?;
    ensure(!delivery.redelivered, || "the first delivery says that it is not the first".to_owned())?;
    expect_empty(broker, Stage::Train).await?;
    acknowledge(broker, &delivery).await?;
    let twice = again(|| broker.acknowledge(&delivery)).await?;
    ensure(!twice, || "a delivery could be acknowledged twice".to_owned())?;
    expect_empty(broker, Stage::Train).await
}

async fn wakes_receiver(broker: &dyn Broker) -> Finding {
    let task = task(Stage::Ingest, 5)?;
    let publish = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        again(|| broker.publish(&task)).await
    };
    let (received, published) = futures::future::join(must_receive(broker, Stage::Ingest), publish).await;
    published?;
    let delivery = received?;
    ensure(delivery.task == task, || format!("received {delivery:?}"))?;
    acknowledge(broker, &delivery).await
}

async fn queues_are_apart(broker: &dyn Broker) -> Finding {
    let task = task(Stage::Judge, 5)?;
    again(|| broker.publish(&task)).await?;
    expect_empty(broker, Stage::Generate).await?;
    let delivery = must_receive(broker, Stage::Judge).await?;
    acknowledge(broker, &delivery).await
}

async fn priorities(broker: &dyn Broker) -> Finding {
    let tasks = [2, 9, 5, 8, 0, 9].into_iter().map(|rank| task(Stage::Train, rank));
    let tasks = tasks.collect::<Result<Vec<Task>, String>>()?;
    for task in &tasks {
        again(|| broker.publish(task)).await?;
    }
    let mut wanted = tasks;
    // A stable sort: tasks of one band keep the order of publication.
    wanted.sort_by_key(|task| std::cmp::Reverse(PriorityBand::of(task.priority)));
    for task in wanted {
        let delivery = must_receive(broker, Stage::Train).await?;
        ensure(delivery.task == task, || format!("wanted {task:?}, received {:?}", delivery.task))?;
        acknowledge(broker, &delivery).await?;
    }
    Ok(())
}

async fn release(broker: &dyn Broker) -> Finding {
    let task = task(Stage::Train, 5)?;
    again(|| broker.publish(&task)).await?;
    let first = must_receive(broker, Stage::Train).await?;
    again(|| broker.release(&first)).await?;
    let second = receive(broker, Stage::Train, Duration::from_millis(100)).await?;
    let second = second.ok_or_else(|| "the released task did not come again".to_owned())?;
    ensure(second.task == task && second.redelivered, || format!("received {second:?}"))?;
    let old = again(|| broker.acknowledge(&first)).await?;
    ensure(!old, || "the delivery that was given back could be acknowledged".to_owned())?;
    acknowledge(broker, &second).await
}

async fn lost_delivery(broker: &dyn Broker, visibility_timeout: Duration) -> Finding {
    let task = task(Stage::Train, 5)?;
    again(|| broker.publish(&task)).await?;
    let started = Instant::now();
    let first = must_receive(broker, Stage::Train).await?;
    let second = must_receive(broker, Stage::Train).await?;
    let waited = started.elapsed();
    // Times are kept in whole milliseconds.
    let in_time = waited + Duration::from_millis(2) >= visibility_timeout;
    ensure(in_time, || format!("delivered again after {waited:?}, before {visibility_timeout:?}"))?;
    ensure(second.task == task && second.redelivered, || format!("received {second:?}"))?;
    let old = again(|| broker.acknowledge(&first)).await?;
    ensure(!old, || "the lost delivery could be acknowledged".to_owned())?;
    // Giving back what is lost must not take it from its new owner.
    again(|| broker.release(&first)).await?;
    acknowledge(broker, &second).await
}

async fn cancelled_receiver(broker: &dyn Broker) -> Finding {
    let task = task(Stage::Train, 5)?;
    {
        let waiting = receive(broker, Stage::Train, DEADLINE);
        drop(tokio::time::timeout(Duration::from_millis(20), waiting).await);
    }
    again(|| broker.publish(&task)).await?;
    let delivery = must_receive(broker, Stage::Train).await?;
    ensure(delivery.task == task, || format!("received {delivery:?}"))?;
    acknowledge(broker, &delivery).await
}

async fn depth(broker: &dyn Broker) -> Finding {
    let queue = QueueName::of(&task(Stage::Generate, 5)?);
    for _ in 0..3 {
        let task = task(Stage::Generate, 5)?;
        again(|| broker.publish(&task)).await?;
    }
    let held = must_receive(broker, Stage::Generate).await?;
    let depth = again(|| broker.depth(&queue)).await?;
    ensure((depth.ready, depth.unacknowledged) == (2, 1), || format!("3 published, 1 held: {depth:?}"))?;
    acknowledge(broker, &held).await?;
    for _ in 0..2 {
        let delivery = must_receive(broker, Stage::Generate).await?;
        acknowledge(broker, &delivery).await?;
    }
    let depth = again(|| broker.depth(&queue)).await?;
    ensure((depth.ready, depth.unacknowledged) == (0, 0), || format!("after all acknowledged: {depth:?}"))
}

async fn no_loss(broker: &dyn Broker, visibility_timeout: Duration) -> Finding {
    let tasks = (0..24).map(|n| task(Stage::Judge, n % 10)).collect::<Result<Vec<Task>, String>>()?;
    for task in &tasks {
        again(|| broker.publish(task)).await?;
    }
    let mut missing: BTreeSet<String> = tasks.iter().map(|task| task.job.to_string()).collect();
    let give_up = Instant::now() + DEADLINE;
    let quiet = visibility_timeout * 2 + Duration::from_millis(300);
    loop {
        // Quiet for longer than a delivery can be held: whatever was not acknowledged came again before.
        match receive(broker, Stage::Judge, quiet).await? {
            Some(delivery) => {
                missing.remove(delivery.task.job.as_str());
                // A delivery that was lost meanwhile comes again, which is allowed.
                again(|| broker.acknowledge(&delivery)).await?;
            }
            None => return ensure(missing.is_empty(), || format!("never arrived: {missing:?}")),
        }
        ensure(Instant::now() < give_up, || format!("no end of deliveries; missing {missing:?}"))?;
    }
}
