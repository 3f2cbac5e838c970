//! A TCP proxy that breaks the network between two processes as a test wants: cut, silent or slow.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use parking_lot::Mutex;
use tokio::{
    net::{TcpListener, TcpSocket, ToSocketAddrs, lookup_host},
    runtime::{Builder, Handle, Runtime},
    sync::watch,
    task::JoinSet,
};

mod connection;
#[cfg(test)]
mod tests;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// A way through the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From whoever connected to the proxy towards the target.
    ToTarget,
    /// From the target back.
    ToClient,
}

/// What happens to bytes on their way in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Path {
    /// They pass at once.
    #[default]
    Open,
    /// They pass so much later.
    Delayed(Duration),
    /// They are accepted and stay here until the path is another.
    Silent,
}

/// One direction: what happens on it, and how many bytes passed.
#[derive(Debug, Default)]
struct Way {
    path: watch::Sender<Path>,
    forwarded: AtomicU64,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    to_target: Way,
    to_client: Way,
    accepted: AtomicU64,
    connections: Mutex<JoinSet<()>>,
}

/// A proxy on a loopback port, in a thread of its own, so that it goes on while a test blocks; it ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Mutex<JoinSet<()>>,
    /// Bound and never listening: it keeps the port for this proxy while connections to it are refused.
    _reservation: TcpSocket,
    runtime: Option<Runtime>,
}

impl Proxy {
    /// Starts on a free port and forwards to `target`, which need not be there yet.
    ///
    /// # Errors
    /// When `target` has no address, or there is no port or no thread.
    pub async fn start(target: impl ToSocketAddrs) -> Result<Self> {
        let target = lookup_host(target).await?.next().context("the target of the proxy has no address")?;
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let reservation = reusable(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let proxy = Self {
            address: reservation.local_addr()?,
            shared: Arc::new(Shared {
                target,
                to_target: Way::default(),
                to_client: Way::default(),
                accepted: AtomicU64::new(0),
                connections: Mutex::new(JoinSet::new()),
            }),
            acceptor: Mutex::new(JoinSet::new()),
            _reservation: reservation,
            runtime: Some(runtime),
        };
        proxy.listen()?;
        Ok(proxy)
    }

    /// Where to connect instead of to the target.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes every connection and refuses new ones until [`Proxy::heal`], as when the target's process ended.
    pub async fn cut(&self) {
        let mut acceptor = std::mem::take(&mut *self.acceptor.lock());
        acceptor.shutdown().await;
        self.hang_up().await;
    }

    /// Closes every connection once; new ones are accepted.
    pub async fn hang_up(&self) {
        let mut connections = std::mem::take(&mut *self.shared.connections.lock());
        connections.shutdown().await;
    }

    /// From now on nothing arrives in one direction, and nobody is told: connections stay open, bytes and ends of
    /// streams are accepted and kept until [`Proxy::heal`], as TCP would send them again after a lost route came back.
    /// A connection made while nothing goes towards the target is accepted and reaches the target after healing.
    pub fn silence(&self, direction: Direction) {
        self.shared.way(direction).path.send_replace(Path::Silent);
    }

    /// [`Proxy::silence`] in both directions: a partition that leaves connections half-open.
    pub fn partition(&self) {
        self.silence(Direction::ToTarget);
        self.silence(Direction::ToClient);
    }

    /// From now on bytes in one direction arrive so much later; order and throughput stay.
    pub fn delay(&self, direction: Direction, by: Duration) {
        self.shared.way(direction).path.send_replace(Path::Delayed(by));
    }

    /// Ends every fault: what was kept or delayed arrives at once, and connections are accepted again.
    ///
    /// # Errors
    /// When the port cannot be listened on again.
    pub fn heal(&self) -> Result<()> {
        for direction in [Direction::ToTarget, Direction::ToClient] {
            self.shared.way(direction).path.send_replace(Path::Open);
        }
        self.listen()
    }

    /// Bytes that passed in one direction since the start.
    pub fn forwarded(&self, direction: Direction) -> u64 {
        self.shared.way(direction).forwarded.load(Ordering::Relaxed)
    }

    /// Connections accepted since the start.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Accepts connections, unless it does so already.
    fn listen(&self) -> Result<()> {
        let mut acceptor = self.acceptor.lock();
        let Some(runtime) = self.runtime.as_ref().filter(|_| acceptor.is_empty()) else {
            return Ok(());
        };
        let _entered = runtime.enter();
        let listener = reusable(self.address)?.listen(BACKLOG)?;
        let (shared, handle) = (Arc::clone(&self.shared), runtime.handle().clone());
        acceptor.spawn_on(accept(listener, shared, handle), runtime.handle());
        Ok(())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Waiting for the thread, as dropping does, is forbidden in async code.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Shared {
    fn way(&self, direction: Direction) -> &Way {
        match direction {
            Direction::ToTarget => &self.to_target,
            Direction::ToClient => &self.to_client,
        }
    }
}

/// A socket whose port others of the same kind may share while none of them listens.
fn reusable(address: SocketAddr) -> Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address).with_context(|| format!("the proxy cannot bind {address}"))?;
    Ok(socket)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, handle: Handle) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                shared.accepted.fetch_add(1, Ordering::Relaxed);
                let mut connections = shared.connections.lock();
                while connections.try_join_next().is_some() {}
                connections.spawn_on(connection::carry(client, Arc::clone(&shared)), &handle);
            }
            // Such as too many open files: others must end first.
            Err(error) => {
                eprintln!("the proxy cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
