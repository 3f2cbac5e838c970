//! The coordinators that a process may talk to: one is used while it answers, then the next.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tonic::{
    Code, Response, Status,
    transport::{Endpoint, Error},
};

#[cfg(test)]
mod tests;

/// How long a connection may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// How often an open connection is probed, also while it is idle, and how long the answer may take: a peer that is gone
/// without a word is noticed well within a lease.
const PROBE_EVERY: Duration = Duration::from_secs(2);
const PROBE_WITHIN: Duration = Duration::from_secs(3);

/// Coordinators over one state store, so that each of them can answer every call.
#[derive(Debug, Clone)]
pub struct Peers<C> {
    first: Arc<Peer<C>>,
    others: Arc<[Peer<C>]>,
    /// Position of the one in use; 0 is the first.
    in_use: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Peer<C> {
    url: String,
    client: C,
}

/// Why a call has no answer.
#[derive(Debug)]
pub struct Failed {
    /// Where the call went; every URL when it went to all of them.
    pub url: String,
    /// What the last one said.
    pub status: Status,
}

/// The URLs of a list with commas.
pub fn urls(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim)
}

/// How the coordinator at `url` is reached.
///
/// # Errors
/// When `url` is not one.
pub fn endpoint(url: &str) -> Result<Endpoint, Error> {
    let endpoint = Endpoint::from_shared(url.to_owned())?;
    Ok(endpoint
        .connect_timeout(CONNECT_WITHIN)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PROBE_EVERY)
        .keep_alive_timeout(PROBE_WITHIN)
        .keep_alive_while_idle(true))
}

impl<C: Clone> Peers<C> {
    /// Clients with their URLs, in the order in which they are used; `None` when there are none.
    pub fn of(clients: impl IntoIterator<Item = (String, C)>) -> Option<Self> {
        let mut peers = clients.into_iter().map(|(url, client)| Peer { url, client });
        let first = Arc::new(peers.next()?);
        Some(Self { first, others: peers.collect(), in_use: Arc::default() })
    }

    /// One alone.
    pub fn one(url: &str, client: C) -> Self {
        let first = Arc::new(Peer { url: url.to_owned(), client });
        Self { first, others: Arc::default(), in_use: Arc::default() }
    }

    /// The URL of the one in use.
    pub fn url(&self) -> &str {
        &self.at(self.in_use.load(Ordering::Relaxed)).url
    }

    /// The client of the one in use.
    pub fn client(&self) -> C {
        self.at(self.in_use.load(Ordering::Relaxed)).client.clone()
    }

    /// Lets the next calls go to the next coordinator.
    pub fn turn(&self) {
        self.leave(self.in_use.load(Ordering::Relaxed));
    }

    /// Makes a call that is safe to repeat: while coordinators cannot be reached, or say that they cannot work, it goes
    /// to the next one, to as many as there are.
    ///
    /// # Errors
    /// [`Failed`] when none of them gave an answer, or one refused the call.
    pub async fn call<R, F>(&self, call: impl Fn(C) -> F) -> Result<R, Failed>
    where
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let mut left_to_try = self.others.len();
        loop {
            let index = self.in_use.load(Ordering::Relaxed);
            let peer = self.at(index);
            let status = match call(peer.client.clone()).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => status,
            };
            if !may_succeed_elsewhere(status.code()) {
                return Err(Failed { url: peer.url.clone(), status });
            }
            self.leave(index);
            if left_to_try == 0 {
                return Err(Failed { url: self.every_url(), status });
            }
            left_to_try -= 1;
            tracing::debug!("the coordinator at {} gave no answer: {status}; asking the next", peer.url);
        }
    }

    fn at(&self, index: usize) -> &Peer<C> {
        index.checked_sub(1).and_then(|index| self.others.get(index)).unwrap_or(&self.first)
    }

    /// Goes on to the next coordinator, unless another call did so already.
    fn leave(&self, index: usize) {
        let next = (index + 1) % (self.others.len() + 1);
        let left = self.in_use.compare_exchange(index, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if left && next != index {
            let (from, to) = (&self.at(index).url, &self.at(next).url);
            tracing::info!("turned from the coordinator at {from} to the one at {to}");
        }
    }

    fn every_url(&self) -> String {
        let others = self.others.iter().map(|peer| peer.url.as_str());
        let urls: Vec<&str> = std::iter::once(self.first.url.as_str()).chain(others).collect();
        urls.join(", ")
    }
}

/// Whether the same call may succeed when repeated, here or elsewhere: it did not arrive, was not answered in time, or
/// the coordinator could not carry it out. The others are refusals.
pub fn may_succeed_elsewhere(code: Code) -> bool {
    !matches!(code, Code::InvalidArgument | Code::Unimplemented | Code::FailedPrecondition | Code::NotFound)
}
