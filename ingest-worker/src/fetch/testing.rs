//! A server of documents in memory, with faults, for tests.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use async_trait::async_trait;
use clara_runtime::config::{HumanDuration, RemoteKind, RemoteSettings};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{FetchError, Fetched, OpenRemote, Page, Reached, Remote, RemoteRequest, Servers};

/// Numbers that follow from a seed.
#[derive(Debug, Clone)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end.max(1)
    }

    /// True in one of `of` cases.
    pub(crate) fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }
}

/// What the servers hold and how they fail.
#[derive(Debug, Clone)]
pub(crate) struct World {
    /// Documents of each server.
    pub(crate) documents: u64,
    /// Longest page.
    pub(crate) page: u64,
    /// One page in so many fails, comes twice with changed documents, or is empty; 0 for none.
    pub(crate) fault_in: u64,
    /// After this document a server hangs.
    pub(crate) hangs_after: Option<u64>,
    /// At its end a server begins anew: `true` with the same cursor, `false` with new ones.
    pub(crate) endless: Option<bool>,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dice: Mutex<Dice>,
    pages: AtomicU64,
    opened: Mutex<Vec<String>>,
    events_left: AtomicU64,
    is_killed: AtomicBool,
    killed: Notify,
    hung: Notify,
}

impl World {
    pub(crate) fn new(documents: u64, seed: u64) -> Self {
        let inner = Inner {
            dice: Mutex::new(Dice(seed)),
            pages: AtomicU64::new(0),
            opened: Mutex::default(),
            events_left: AtomicU64::new(u64::MAX),
            is_killed: AtomicBool::new(false),
            killed: Notify::new(),
            hung: Notify::new(),
        };
        let inner = Arc::new(inner);
        Self { documents, page: 7, fault_in: 0, hangs_after: None, endless: None, inner }
    }

    /// Settings for the servers of these names.
    pub(crate) fn servers(names: &[&str]) -> Servers {
        let settings = RemoteSettings {
            kind: Some(RemoteKind::ThemisDb),
            patience: HumanDuration(std::time::Duration::from_millis(400)),
            ..RemoteSettings::default()
        };
        names.iter().map(|name| ((*name).to_owned(), settings.clone())).collect()
    }

    /// Pages that were asked for so far.
    pub(crate) fn pages(&self) -> u64 {
        self.inner.pages.load(Ordering::SeqCst)
    }

    /// The sources that were opened, in order.
    pub(crate) fn opened(&self) -> Vec<String> {
        self.inner.opened.lock().clone()
    }

    /// Lets the process die after so many events.
    pub(crate) fn kill_after(&self, events: u64) {
        self.inner.is_killed.store(false, Ordering::SeqCst);
        self.inner.events_left.store(events, Ordering::SeqCst);
    }

    /// One event; nothing goes on after the last.
    pub(crate) fn event(&self) {
        if self.inner.events_left.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.inner.is_killed.store(true, Ordering::SeqCst);
            self.inner.killed.notify_one();
        }
    }

    /// Waits for ever once the process is dead.
    pub(crate) async fn live(&self) {
        if self.inner.is_killed.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until the process dies.
    pub(crate) async fn killed(&self) {
        self.inner.killed.notified().await;
    }

    /// Waits until a server hangs.
    pub(crate) async fn hung(&self) {
        self.inner.hung.notified().await;
    }
}

fn documents(from: u64, to: u64, version: u64) -> Vec<Fetched> {
    (from..to).map(|number| document(number, version)).collect()
}

/// A document; every eleventh is broken.
fn document(number: u64, version: u64) -> Fetched {
    let id = format!("doc-{number}");
    if number % 11 == 3 {
        return Fetched::Broken { id, problem: "the body is no JSON".into() };
    }
    let text = format!("Der Bauantrag Nummer {number} ist schriftlich einzureichen, Fassung {version}.");
    let Value::Object(record) = json!({ "id": id, "text": text, "heading": format!("§ {number}") }) else {
        return Fetched::Broken { id, problem: String::new() };
    };
    Fetched::Record(record)
}

impl OpenRemote for World {
    fn open(&self, request: RemoteRequest, reached: Option<Reached>) -> Result<Box<dyn Remote>, FetchError> {
        self.inner.opened.lock().push(request.source.clone());
        let at = reached.and_then(|reached| reached.cursor.as_u64()).unwrap_or_default();
        Ok(Box::new(Server { world: self.clone(), source: request.source, at, last: 0..0 }))
    }
}

#[derive(Debug)]
struct Server {
    world: World,
    source: String,
    at: u64,
    last: std::ops::Range<u64>,
}

impl Server {
    fn page(&self, documents: Vec<Fetched>) -> Page {
        Page { documents, cursor: json!(self.at), keys: None, total: Some(self.world.documents) }
    }
}

#[async_trait]
impl Remote for Server {
    async fn next_page(&mut self) -> Result<Option<Page>, FetchError> {
        self.world.event();
        self.world.live().await;
        self.world.inner.pages.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        let (fault, size) = {
            let mut dice = self.world.inner.dice.lock();
            let fault = (self.world.fault_in > 0 && dice.one_in(self.world.fault_in)).then(|| dice.below(3));
            (fault, 1 + dice.below(self.world.page))
        };
        match fault {
            Some(0) => {
                let problem = "the connection was cut".to_owned();
                return Err(FetchError::Unavailable { source_name: self.source.clone(), problem });
            }
            Some(1) => return Ok(Some(self.page(Vec::new()))),
            Some(_) => return Ok(Some(self.page(documents(self.last.start, self.last.end, 1)))),
            None => {}
        }
        if self.world.hangs_after.is_some_and(|after| self.at >= after) {
            self.world.inner.hung.notify_one();
            std::future::pending::<()>().await;
        }
        if self.at >= self.world.documents {
            match self.world.endless {
                None => return Ok(None),
                Some(true) => return Ok(Some(self.page(documents(0, 3, 0)))),
                Some(false) => {
                    self.at += 1;
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                    return Ok(Some(self.page(documents(0, 3, self.at))));
                }
            }
        }
        let end = (self.at + size).min(self.world.documents);
        self.last = self.at..end;
        self.at = end;
        Ok(Some(self.page(documents(self.last.start, end, 0))))
    }

    fn state(&self) -> Option<Value> {
        Some(json!({ "sequence": self.world.documents }))
    }
}
