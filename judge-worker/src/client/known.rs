//! What this process found out about endpoints, kept over attempts and shared by all slots.

use std::{collections::HashMap, sync::Arc};

use clara_lifecycle::digest::Digest;
use parking_lot::Mutex;

use super::{Secret, dialect::Dialect, limits::Limits};

/// What this process knows of the endpoints that it calls: what they understand, and how much they take.
/// Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Endpoints(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    limits: HashMap<Digest, Arc<Limits>>,
    dialects: HashMap<(String, String), Arc<Dialect>>,
}

impl Endpoints {
    /// The limits of an endpoint; accounts have limits of their own, so the key counts too.
    pub(super) fn limits(&self, url: &str, key: Option<&Secret>) -> Arc<Limits> {
        let key = key.map_or("", |Secret(key)| key.as_str());
        let account = Digest::of_parts([("url", url.as_bytes()), ("key", key.as_bytes())]);
        Arc::clone(self.0.lock().limits.entry(account).or_default())
    }

    /// What a model at an endpoint understands.
    pub(super) fn dialect(&self, url: &str, model: &str) -> Arc<Dialect> {
        let name = (url.to_owned(), model.to_owned());
        Arc::clone(self.0.lock().dialects.entry(name).or_default())
    }
}
