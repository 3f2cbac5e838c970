//! The connection to RabbitMQ: made when it is needed, dropped when anything about it is odd, made anew.

use std::{
    collections::HashSet,
    env,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{Stream, StreamExt as _};
use lapin::{
    Channel, Connection, ConnectionProperties, ErrorKind, Event,
    options::{ConfirmSelectOptions, QueueDeleteOptions},
    tcp::{AMQPUriTcpExt, RustlsConnector},
    uri::{AMQPScheme, AMQPUri},
};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{AmqpOptions, BrokerError, QueueName, declare};
use crate::{
    backoff::Backoff,
    daemon::{instance, with_causes},
    metrics,
    task::Tasks,
    tls::{self, TlsFiles},
};

/// Seconds after which a silent connection is taken for lost, where the URL says nothing.
const HEARTBEAT_SECONDS: u16 = 10;
/// How long nobody tries again after a connection could not be made, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What everything about one broker shares.
pub(super) struct Link {
    uri: AMQPUri,
    tls: Option<RustlsConnector>,
    prefix: String,
    timeout: Duration,
    visibility_timeout: Duration,
    live: tokio::sync::Mutex<Reach>,
    /// Queues that were declared over the live connection.
    declared: Mutex<HashSet<String>>,
    was_open: AtomicBool,
    blocked: Mutex<Blocked>,
    tasks: Tasks,
}

/// Why the broker takes no tasks over one connection for now.
type Blocked = Arc<Mutex<Option<String>>>;

/// The connection, or what is known about a broker without one.
struct Reach {
    live: Option<Live>,
    /// Why there is none, and when the next try is due.
    failed: Option<(BrokerError, Instant)>,
    pauses: Backoff,
}

#[derive(Clone)]
struct Live {
    connection: Arc<Connection>,
    publisher: Channel,
}

impl Link {
    pub(super) fn new(options: &AmqpOptions, tasks: &Tasks) -> Result<Self, BrokerError> {
        let refused = |reason: String| BrokerError::Refused { broker: "the given URL".to_owned(), reason };
        // The parser's message may hold the password.
        let mut uri: AMQPUri = options.url.reveal().parse().map_err(|_| {
            refused("it is not an AMQP URL; expected amqp://user:password@host:port/vhost".to_owned())
        })?;
        uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
        let tls = match uri.scheme {
            AMQPScheme::AMQPS => {
                let read = options.tls.read("broker").map_err(|error| refused(with_causes(&error)))?;
                Some(RustlsConnector::from(read.config))
            }
            AMQPScheme::AMQP if options.tls != TlsFiles::default() => {
                return Err(refused(
                    "certificates are named for it, but it begins with amqp://; let broker.url begin with amqps://"
                        .to_owned(),
                ));
            }
            AMQPScheme::AMQP => None,
        };
        Ok(Self {
            uri,
            tls,
            prefix: options.prefix.clone(),
            timeout: options.timeout,
            visibility_timeout: options.visibility_timeout,
            live: tokio::sync::Mutex::new(Reach {
                live: None,
                failed: None,
                pauses: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE),
            }),
            declared: Mutex::default(),
            was_open: AtomicBool::new(false),
            blocked: Mutex::default(),
            tasks: tasks.clone(),
        })
    }

    /// Where the broker is, without its password.
    pub(super) fn name(&self) -> String {
        format!("{}:{}", self.uri.authority.host, self.uri.authority.port)
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(super) fn visibility_timeout(&self) -> Duration {
        self.visibility_timeout
    }

    pub(super) fn queue(&self, queue: &QueueName) -> String {
        format!("{}.{}.{}.{}", self.prefix, queue.stage, queue.class, queue.band)
    }

    pub(super) fn dead_letters(&self) -> String {
        format!("{}.dead-letters", self.prefix)
    }

    pub(super) fn unavailable(&self, reason: &dyn std::fmt::Display) -> BrokerError {
        BrokerError::Unavailable { broker: self.name(), reason: reason.to_string() }
    }

    /// Why the broker takes no tasks for now.
    pub(super) fn blocked(&self) -> Option<BrokerError> {
        let reason = self.blocked.lock().lock().clone()?;
        Some(self.unavailable(&format!("it takes no tasks: {reason}; free memory or disk there")))
    }

    /// An error of the connection or of a channel: what was built on it is built anew.
    pub(super) async fn broken(&self, error: &lapin::Error) -> BrokerError {
        self.reset().await;
        self.unavailable(error)
    }

    /// Drops the connection.
    pub(super) async fn reset(&self) {
        self.live.lock().await.live.take();
        self.declared.lock().clear();
    }

    /// The channel that confirms what it publishes.
    pub(super) async fn publisher(&self) -> Result<Channel, BrokerError> {
        Ok(self.live().await?.publisher)
    }

    /// A new channel.
    pub(super) async fn channel(&self) -> Result<Channel, BrokerError> {
        let connection = self.live().await?.connection;
        // RabbitMQ reads nothing more from a connection that it blocks.
        if let Some(blocked) = self.blocked() {
            return Err(blocked);
        }
        match tokio::time::timeout(self.timeout, connection.create_channel()).await {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(error)) => Err(self.broken(&error).await),
            Err(_) => {
                self.reset().await;
                Err(self.unavailable(&"it did not open a channel in time"))
            }
        }
    }

    async fn live(&self) -> Result<Live, BrokerError> {
        let mut reach = self.live.lock().await;
        if let Some(live) = reach.live.as_ref()
            && live.connection.status().connected()
            && live.publisher.status().connected()
        {
            return Ok(live.clone());
        }
        reach.live.take();
        self.declared.lock().clear();
        // All who wait here learn from one try.
        if let Some((error, again_at)) = &reach.failed
            && Instant::now() < *again_at
        {
            return Err(error.clone());
        }
        let opened = match tokio::time::timeout(self.timeout, self.open()).await {
            Ok(opened) => opened.map_err(|error| self.unusable(&error)),
            Err(_) => Err(self.unavailable(&"no connection in time")),
        };
        match opened {
            Ok(opened) => {
                if self.was_open.swap(true, Ordering::Relaxed) {
                    metrics::broker_reconnected();
                }
                reach.failed = None;
                reach.pauses.reset();
                reach.live = Some(opened.clone());
                Ok(opened)
            }
            Err(error) => {
                let again_at = Instant::now() + reach.pauses.next_spread_wait();
                reach.failed = Some((error.clone(), again_at));
                Err(error)
            }
        }
    }

    async fn open(&self) -> Result<Live, lapin::Error> {
        let properties = ConnectionProperties::default().with_connection_name(process_name().into());
        let runtime = lapin::runtime::default_runtime()?;
        let (tls, host) = (self.tls.clone(), self.uri.authority.host.clone());
        let connection = Connection::connector(
            self.uri.clone(),
            runtime,
            async move |uri, runtime| {
                let plain = AMQPUri { scheme: AMQPScheme::AMQP, ..uri }.connect_async(&runtime).await?;
                match &tls {
                    Some(tls) => Ok(plain.into_rustls(tls, &host).await?),
                    None => Ok(plain),
                }
            },
            properties,
        )
        .await?;
        let blocked = Blocked::default();
        *self.blocked.lock() = Arc::clone(&blocked);
        let watched = watch(self.name(), connection.events_listener(), blocked);
        self.tasks.spawn_until_shutdown("broker.watch", watched);
        let publisher = connection.create_channel().await?;
        publisher.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Live { connection: connection.into(), publisher })
    }

    fn unusable(&self, error: &lapin::Error) -> BrokerError {
        let text = with_causes(error);
        if let Some(remedy) = tls::remedy(error, "broker") {
            return BrokerError::Refused { broker: self.name(), reason: format!("{text}; {remedy}") };
        }
        let denied = matches!(error.kind(), ErrorKind::ProtocolError(_))
            && ["ACCESS_REFUSED", "ACCESS-REFUSED", "NOT_ALLOWED", "NOT-ALLOWED"]
                .iter()
                .any(|code| text.contains(code));
        if denied {
            let reason = format!("{text}; correct user, password and virtual host in broker.url");
            return BrokerError::Refused { broker: self.name(), reason };
        }
        if self.tls.is_some() && text.contains("reset") {
            // The reset may overtake the alert that says why.
            return self.unavailable(&format!(
                "{text}; a broker that refuses this client's certificate may end the connection so: see \
                 broker.client_certificate and the broker's log"
            ));
        }
        self.unavailable(&text)
    }

    /// Makes sure that a queue is there, once for each connection.
    pub(super) async fn declare(&self, queue: &str) -> Result<(), BrokerError> {
        if self.declared.lock().contains(queue) {
            return Ok(());
        }
        self.messages(queue).await.map(drop)
    }

    /// Declares a queue anew when it is used next.
    pub(super) fn forget(&self, queue: &str) {
        self.declared.lock().remove(queue);
    }

    /// How many messages wait in a queue, which is made when it is not there.
    pub(super) async fn messages(&self, queue: &str) -> Result<u64, BrokerError> {
        // A refused declaration closes its channel, so it has one of its own.
        let channel = self.channel().await?;
        let dead_letters = self.dead_letters();
        let declared = async {
            let set_aside = declare(&channel, &dead_letters, None).await?;
            if queue == dead_letters {
                Ok(set_aside)
            } else {
                declare(&channel, queue, Some(&dead_letters)).await
            }
        };
        let messages = match tokio::time::timeout(self.timeout, declared).await {
            Ok(Ok(messages)) => messages,
            Ok(Err(error)) if error.to_string().contains("PRECONDITION") => {
                return Err(BrokerError::Refused {
                    broker: self.name(),
                    reason: format!(
                        "queue {queue} is there with other arguments ({error}); remove it, or choose another prefix"
                    ),
                });
            }
            Ok(Err(error)) => return Err(self.broken(&error).await),
            Err(_) => return Err(self.unavailable(&"it did not declare a queue in time")),
        };
        self.declared.lock().insert(queue.to_owned());
        self.close(&channel).await;
        Ok(messages)
    }

    /// Closes a channel that has done its work, which stands however that goes. A broker that does not answer even this
    /// answers nothing over the connection any more: seen when a queue without a leader was removed (RabbitMQ 3.10).
    async fn close(&self, channel: &Channel) {
        let closed = channel.close(200, "done".into());
        if tokio::time::timeout(self.timeout, closed).await.is_err() {
            self.reset().await;
        }
    }

    /// Deletes a queue with what is in it.
    pub(super) async fn remove(&self, queue: &str) -> Result<(), BrokerError> {
        let channel = self.channel().await?;
        let deleted = channel.queue_delete(queue.into(), QueueDeleteOptions::default());
        match tokio::time::timeout(self.timeout, deleted).await {
            Ok(Ok(_)) => {
                self.forget(queue);
                self.close(&channel).await;
                Ok(())
            }
            Ok(Err(error)) => Err(self.unavailable(&error)),
            Err(_) => Err(self.unavailable(&"it did not delete a queue in time")),
        }
    }
}

/// Program and instance, as RabbitMQ's lists of connections show them.
fn process_name() -> String {
    let path = env::current_exe().ok();
    let program = path.as_ref().and_then(|path| path.file_stem()).map(|stem| stem.to_string_lossy());
    format!("{} {}", program.as_deref().unwrap_or("clara"), instance().simple())
}

/// Follows a connection to its end: tells once when the broker begins to take no tasks, and when it takes them again.
async fn watch(broker: String, events: impl Stream<Item = Event>, blocked: Blocked) {
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Event::ConnectionBlocked(reason) => {
                tracing::warn!("the broker at {broker} takes no tasks: {reason}; they wait in the outbox");
                *blocked.lock() = Some(reason);
            }
            Event::ConnectionUnblocked => {
                tracing::info!("the broker at {broker} takes tasks again");
                *blocked.lock() = None;
            }
            // The next connection is blocked anew if need be.
            Event::Error(_) => *blocked.lock() = None,
            _ => {}
        }
    }
}
