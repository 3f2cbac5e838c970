//! The distributed broker: RabbitMQ, quorum queues, publisher confirms.
//!
//! Queues are declared with the least that must never change (quorum, delivery limit, dead letters), since another
//! declaration of an existing queue is refused; everything else, such as lengths and timeouts, belongs into policies.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use lapin::{
    BasicProperties, Channel, Confirmation,
    options::{BasicPublishOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable, ShortString},
};
use parking_lot::Mutex;
use tracing::Instrument;

use super::{Broker, BrokerError, Delivery, QueueDepth, QueueName, Task};
use crate::{
    config::Secret,
    task::Tasks,
    tls::TlsFiles,
    trace::{TRACEPARENT, TraceContext},
};
use link::Link;
use subscription::Subscription;

mod link;
mod subscription;
#[cfg(test)]
mod tests;

/// Deliveries after which a task is set aside; a healthy task needs one, and one more for each crash while it is
/// handed over.
const DELIVERY_LIMIT: i64 = 50;
/// Marks a message as one that survives a restart of the broker.
const PERSISTENT: u8 = 2;

/// Which RabbitMQ, and how it is reached.
#[derive(Debug, Clone)]
pub struct AmqpOptions {
    /// `amqp://user:password@host:port/vhost`, or `amqps://` for TLS.
    pub url: Secret,
    /// Certificates for `amqps://`. Default: the system's authorities, and none of this client.
    pub tls: TlsFiles,
    /// Beginning of every queue's name. Default `clara`.
    pub prefix: String,
    /// How long a connection, a confirm and any other answer may take. Default 10 s.
    pub timeout: Duration,
    /// How long a delivery belongs to its receiver. Default 30 s.
    pub visibility_timeout: Duration,
}

impl AmqpOptions {
    /// The RabbitMQ at `url`, everything else by default.
    pub fn new(url: Secret) -> Self {
        let (prefix, timeout) = ("clara".to_owned(), Duration::from_secs(10));
        let visibility_timeout = Duration::from_secs(30);
        Self { url, tls: TlsFiles::default(), prefix, timeout, visibility_timeout }
    }
}

/// The distributed broker. Its connection is made anew whenever it is lost.
#[derive(Clone)]
pub struct AmqpBroker {
    link: Arc<Link>,
    subscriptions: Arc<Mutex<HashMap<Vec<QueueName>, Subscription>>>,
    tasks: Tasks,
}

impl fmt::Debug for AmqpBroker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("AmqpBroker").field("broker", &self.link.name()).finish_non_exhaustive()
    }
}

impl AmqpBroker {
    /// Connects; its subscriptions are some of `tasks`.
    ///
    /// # Errors
    /// [`BrokerError::Refused`] when the URL, the password or a certificate is wrong, [`BrokerError::Unavailable`] when the broker
    /// cannot be reached: try again.
    pub async fn connect(options: &AmqpOptions, tasks: &Tasks) -> Result<Self, BrokerError> {
        let link = Arc::new(Link::new(options, tasks)?);
        link.publisher().await?;
        Ok(Self { link, subscriptions: Arc::default(), tasks: tasks.clone() })
    }

    fn subscription(&self, queues: &[QueueName]) -> Subscription {
        let mut subscriptions = self.subscriptions.lock();
        if let Some(subscription) = subscriptions.get(queues) {
            return subscription.clone();
        }
        let names = queues.iter().map(|queue| self.link.queue(queue)).collect();
        let number = u32::try_from(subscriptions.len()).unwrap_or(u32::MAX);
        let (subscription, work) = Subscription::new(number, Arc::clone(&self.link), names);
        self.tasks.spawn_until_shutdown("broker.receive", work);
        subscriptions.insert(queues.to_vec(), subscription.clone());
        subscription
    }

    /// The subscription that handed a delivery out.
    fn subscription_of(&self, delivery: &Delivery) -> Option<Subscription> {
        let subscriptions = self.subscriptions.lock();
        subscriptions.values().find(|subscription| subscription.handed_out(&delivery.tag)).cloned()
    }

    async fn publish_once(&self, task: &Task, body: &[u8]) -> Result<Published, BrokerError> {
        let channel = self.link.publisher().await?;
        // A blocked broker confirms nothing; the task waits where it is.
        if let Some(blocked) = self.link.blocked() {
            return Err(blocked);
        }
        let queue = self.link.queue(&QueueName::of(task));
        self.link.declare(&queue).await?;
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let confirmed = async {
            channel
                .basic_publish(ShortString::from(""), queue.clone().into(), options, body, properties(task))
                .await?
                .await
        };
        match tokio::time::timeout(self.link.timeout(), confirmed).await {
            Ok(Ok(Confirmation::Ack(None))) => Ok(Published::Stored),
            Ok(Ok(Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)))) => {
                self.link.forget(&queue);
                Ok(Published::Returned)
            }
            Ok(Ok(Confirmation::Nack(None))) => {
                Err(self.link.unavailable(&"it did not store the task; it may be short of memory or disk"))
            }
            Ok(Ok(Confirmation::NotRequested)) => {
                Err(self.link.unavailable(&"it does not confirm what it stores"))
            }
            Ok(Err(error)) => Err(self.link.broken(&error).await),
            Err(_) => {
                if let Some(blocked) = self.link.blocked() {
                    return Err(blocked);
                }
                self.link.reset().await;
                Err(self.link.unavailable(&"it did not confirm a task in time"))
            }
        }
    }
}

enum Published {
    Stored,
    /// There was no such queue.
    Returned,
}

#[async_trait]
impl Broker for AmqpBroker {
    async fn publish(&self, task: &Task) -> Result<(), BrokerError> {
        let body = serde_json::to_vec(task).map_err(|error| BrokerError::Malformed {
            queue: QueueName::of(task).to_string(),
            reason: error.to_string(),
        })?;
        let span = tracing::debug_span!("broker.publish", job.id = %task.job, stage = %task.stage);
        let twice = async {
            // A queue that was deleted since it was declared is declared anew.
            for _ in 0..2 {
                if let Published::Stored = self.publish_once(task, &body).await? {
                    return Ok(());
                }
            }
            Err(self.link.unavailable(&"it returned a task for which it has no queue"))
        };
        twice.instrument(span).await
    }

    async fn receive(&self, queues: &[QueueName], wait: Duration) -> Result<Option<Delivery>, BrokerError> {
        self.subscription(queues).receive(wait).await
    }

    async fn acknowledge(&self, delivery: &Delivery) -> Result<bool, BrokerError> {
        match self.subscription_of(delivery) {
            Some(subscription) => Ok(subscription.acknowledge(&delivery.tag).await),
            None => Ok(false),
        }
    }

    async fn release(&self, delivery: &Delivery) -> Result<(), BrokerError> {
        if let Some(subscription) = self.subscription_of(delivery) {
            subscription.release(&delivery.tag).await;
        }
        Ok(())
    }

    async fn depth(&self, queue: &QueueName) -> Result<QueueDepth, BrokerError> {
        let ready = self.link.messages(&self.link.queue(queue)).await?;
        let subscriptions: Vec<Subscription> = {
            let subscriptions = self.subscriptions.lock();
            let of = subscriptions.iter().filter(|(queues, _)| queues.contains(queue));
            of.map(|(_, subscription)| subscription.clone()).collect()
        };
        let held = futures::future::join_all(subscriptions.iter().map(Subscription::held)).await;
        Ok(QueueDepth { ready, unacknowledged: held.iter().sum() })
    }

    async fn dead_letters(&self) -> Result<u64, BrokerError> {
        self.link.messages(&self.link.dead_letters()).await
    }

    fn blocked(&self) -> Option<BrokerError> {
        self.link.blocked()
    }
}

fn properties(task: &Task) -> BasicProperties {
    let mut headers = FieldTable::default();
    let trace = TraceContext::of_job(&task.job).to_string();
    headers.insert(TRACEPARENT.into(), AMQPValue::LongString(trace.into()));
    BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_content_type("application/json".into())
        .with_message_id(format!("{}/{}/{}", task.job, task.stage, task.attempt).into())
        .with_headers(headers)
}

/// Declares a durable quorum queue; `dead_letters` names the queue that takes what is set aside. Answers how many
/// messages wait in it.
async fn declare(channel: &Channel, queue: &str, dead_letters: Option<&str>) -> Result<u64, lapin::Error> {
    let mut arguments = FieldTable::default();
    let text = |value: &str| AMQPValue::LongString(value.to_owned().into());
    arguments.insert("x-queue-type".into(), text("quorum"));
    if let Some(dead_letters) = dead_letters {
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(DELIVERY_LIMIT));
        arguments.insert("x-dead-letter-exchange".into(), text(""));
        arguments.insert("x-dead-letter-routing-key".into(), text(dead_letters));
    }
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let found = channel.queue_declare(queue.into(), options, arguments).await?;
    Ok(found.message_count().into())
}
