//! The way to the server, and what it must be like.

use redis::{
    Client, ClientTlsConfig, ConnectionAddr, IntoConnectionInfo, RedisError, TlsCertificates,
    aio::{ConnectionManager, ConnectionManagerConfig},
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};
use std::time::Duration;
use uuid::Uuid;

use super::RedisOptions;
use crate::{
    daemon::with_causes,
    state::StateError,
    tls::{self, ClientTls, TlsFiles},
};

/// Layout of the keys; a server with another one is refused.
const LAYOUT: i64 = 4;
/// When a silent connection is probed, how often, and when it is taken for lost: the other end may be gone without
/// having said so.
const PROBE_AFTER: Duration = Duration::from_secs(10);
const PROBE_EVERY: Duration = Duration::from_secs(5);
const GIVE_UP_AFTER: Duration = Duration::from_secs(20);

/// A server that can be used.
pub(super) struct Server {
    /// Where it is, without its password.
    pub(super) name: String,
    pub(super) client: Client,
    pub(super) connection: ConnectionManager,
    pub(super) generation: String,
}

impl Server {
    pub(super) async fn open(options: &RedisOptions) -> Result<Self, StateError> {
        // Another one that was installed before does as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let refused = |reason: String| StateError::Refused { store: "the given URL".to_owned(), reason };
        let info = options.url.reveal().into_connection_info().map_err(|error| refused(error.to_string()))?;
        let keepalive = TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_EVERY);
        let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
        let info = info.set_tcp_settings(tcp.set_user_timeout(GIVE_UP_AFTER));
        let name = info.addr().to_string();
        let client = match info.addr() {
            ConnectionAddr::TcpTls { .. } => {
                let read = options.tls.read("state").map_err(|error| refused(with_causes(&error)))?;
                Client::build_with_tls(info, certificates(read))
            }
            _ if options.tls != TlsFiles::default() => {
                return Err(refused(
                    "certificates are named for it, but it begins with redis://; let state.url begin with rediss://"
                        .to_owned(),
                ));
            }
            _ => Client::open(info),
        };
        let client = client.map_err(|error| refused(error.to_string()))?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(options.timeout))
            .set_response_timeout(Some(options.timeout))
            .set_number_of_retries(3)
            .set_min_delay(Duration::from_millis(50))
            .set_max_delay(Duration::from_millis(500));
        let connection = ConnectionManager::new_with_config(client.clone(), config).await;
        let mut connection = connection.map_err(|error| unusable(&name, &error))?;
        examine(&mut connection, &name).await?;
        let generation = layout(&mut connection, options, &name).await?;
        Ok(Self { name, client, connection, generation })
    }
}

fn certificates(ClientTls { authority, client, .. }: ClientTls) -> TlsCertificates {
    let client_tls = client.map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
    TlsCertificates { client_tls, root_cert: authority }
}

fn unusable(server: &str, error: &RedisError) -> StateError {
    let (store, reason) = (server.to_owned(), with_causes(error));
    let denied = matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM"))
        || error.kind() == redis::ErrorKind::AuthenticationFailed;
    if denied {
        let reason = format!("{reason}; correct user and password in state.url");
        return StateError::Refused { store, reason };
    }
    match tls::remedy(error, "state") {
        Some(remedy) => StateError::Refused { store, reason: format!("{reason}; {remedy}") },
        None => StateError::Unavailable { store, reason },
    }
}

/// Refuses a server that may drop data by itself, and warns of one that loses it at a restart.
async fn examine(connection: &mut ConnectionManager, server: &str) -> Result<(), StateError> {
    let facts: Result<String, RedisError> = redis::cmd("INFO").arg("memory").query_async(connection).await;
    let facts = facts.map_err(|error| unusable(server, &error))?;
    let policy = fact(&facts, "maxmemory_policy").unwrap_or("noeviction");
    if policy != "noeviction" {
        return Err(StateError::Refused {
            store: server.to_owned(),
            reason: format!(
                "its maxmemory-policy is {policy}, expected noeviction: it may drop jobs when memory is short; \
                 set `maxmemory-policy noeviction`"
            ),
        });
    }
    let facts: Result<String, RedisError> =
        redis::cmd("INFO").arg("persistence").query_async(connection).await;
    let facts = facts.map_err(|error| unusable(server, &error))?;
    if fact(&facts, "aof_enabled") == Some("0") {
        tracing::warn!(
            "the state store at {server} keeps no append-only file, so a restart of it loses jobs; set `appendonly yes`"
        );
    }
    Ok(())
}

fn fact<'a>(facts: &'a str, name: &str) -> Option<&'a str> {
    facts.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// Marks an empty store as ours and answers its generation.
async fn layout(
    connection: &mut ConnectionManager,
    options: &RedisOptions,
    server: &str,
) -> Result<String, StateError> {
    let (layout, generation) = (format!("{}layout", options.prefix), format!("{}generation", options.prefix));
    let mut pipeline = redis::pipe();
    pipeline
        .atomic()
        .cmd("SETNX")
        .arg(&layout)
        .arg(LAYOUT)
        .ignore()
        .cmd("SETNX")
        .arg(&generation)
        .arg(Uuid::new_v4().to_string())
        .ignore()
        .get(&layout)
        .get(&generation);
    let marked: Result<(i64, String), RedisError> = pipeline.query_async(connection).await;
    let (found, generation) = marked.map_err(|error| unusable(server, &error))?;
    if found != LAYOUT {
        return Err(StateError::Layout { store: server.to_owned(), found, expected: LAYOUT });
    }
    Ok(generation)
}
