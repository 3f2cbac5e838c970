//! The connection to RabbitMQ: made when it is needed, dropped when anything about it is odd, made anew.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use lapin::{
    Channel, Connection, ConnectionProperties, ErrorKind,
    options::ConfirmSelectOptions,
    tcp::{AMQPUriTcpExt, RustlsConnector},
    uri::{AMQPScheme, AMQPUri},
};
use parking_lot::Mutex;

use super::{AmqpOptions, BrokerError, QueueName, declare};
use crate::{
    daemon::with_causes,
    metrics,
    tls::{self, TlsFiles},
};

/// Seconds after which a silent connection is taken for lost, where the URL says nothing.
const HEARTBEAT_SECONDS: u16 = 10;

/// What everything about one broker shares.
pub(super) struct Link {
    uri: AMQPUri,
    tls: Option<RustlsConnector>,
    prefix: String,
    timeout: Duration,
    visibility_timeout: Duration,
    live: tokio::sync::Mutex<Option<Live>>,
    /// Queues that were declared over the live connection.
    declared: Mutex<HashSet<String>>,
    was_open: AtomicBool,
}

#[derive(Clone)]
struct Live {
    connection: std::sync::Arc<Connection>,
    publisher: Channel,
}

impl Link {
    pub(super) fn new(options: &AmqpOptions) -> Result<Self, BrokerError> {
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
            live: tokio::sync::Mutex::new(None),
            declared: Mutex::default(),
            was_open: AtomicBool::new(false),
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

    /// An error of the connection or of a channel: what was built on it is built anew.
    pub(super) async fn broken(&self, error: &lapin::Error) -> BrokerError {
        self.reset().await;
        self.unavailable(error)
    }

    /// Drops the connection.
    pub(super) async fn reset(&self) {
        self.live.lock().await.take();
        self.declared.lock().clear();
    }

    /// The channel that confirms what it publishes.
    pub(super) async fn publisher(&self) -> Result<Channel, BrokerError> {
        Ok(self.live().await?.publisher)
    }

    /// A new channel.
    pub(super) async fn channel(&self) -> Result<Channel, BrokerError> {
        let connection = self.live().await?.connection;
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
        let mut live = self.live.lock().await;
        if let Some(live) = live.as_ref()
            && live.connection.status().connected()
            && live.publisher.status().connected()
        {
            return Ok(live.clone());
        }
        live.take();
        self.declared.lock().clear();
        let connected = tokio::time::timeout(self.timeout, self.open()).await;
        let opened = connected.map_err(|_| self.unavailable(&"no connection in time"))?;
        let opened = opened.map_err(|error| self.unusable(&error))?;
        if self.was_open.swap(true, Ordering::Relaxed) {
            metrics::broker_reconnected();
        }
        *live = Some(opened.clone());
        Ok(opened)
    }

    async fn open(&self) -> Result<Live, lapin::Error> {
        let name = format!("clara {}", std::process::id());
        let properties = ConnectionProperties::default().with_connection_name(name.into());
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
        // The declaration stands; whether the channel closes well does not matter.
        drop(channel.close(200, "done".into()).await);
        Ok(messages)
    }
}
