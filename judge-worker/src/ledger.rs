//! What one job asked its judges and paid: every reply is written down as it comes, so that a later attempt asks and
//! pays for none of it again, and later jobs may take it.

mod book;
mod budget;
mod entry;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc};

use clara_lifecycle::{digest::Digest, id::Fence, score::JudgeHealth, spec::JudgeBudget};
use clara_runtime::{
    artifacts::{ArtifactError, ArtifactStore},
    metrics::{self, JudgeOutcome},
};
use futures::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedMutexGuard};

use crate::client::{CallError, Reply};
use book::Book;
use entry::{CachedReply, Entry, Name};

pub(crate) use budget::Hold;
pub(crate) use entry::Tokens;

/// Where replies lie that any job may take.
const CACHE: &str = "judge-cache";

/// Entries that are read at once.
const READ_AT_ONCE: usize = 16;

/// What one job asked its judges. Shared by all calls of an attempt, and read again by the next one.
#[derive(Debug)]
pub(crate) struct Ledger {
    artifacts: ArtifactStore,
    place: String,
    fence: u64,
    terms: Terms,
    book: Mutex<Book>,
    /// A call ended, so that less money is held back.
    settled: Notify,
    /// Who asks which question now.
    asking: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
}

/// On which terms a job asks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Terms {
    /// Whether replies are shared with other jobs.
    pub(crate) is_shared: bool,
    /// What the calls cost and may cost.
    pub(crate) budget: Option<JudgeBudget>,
}

/// What a reply took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paid {
    /// Tokens, as the endpoint tells them or else estimated.
    pub(crate) tokens: Tokens,
    /// How often the call was tried again.
    pub(crate) retries: u32,
    /// Whether the reply says what was asked for.
    pub(crate) is_readable: bool,
}

impl Ledger {
    /// Opens the ledger of a job for the attempt with this fence and reads what earlier attempts wrote.
    ///
    /// # Errors
    /// [`ArtifactError`] when an entry cannot be read or was changed.
    pub(crate) async fn open(
        artifacts: &ArtifactStore,
        job: &str,
        fence: Fence,
        terms: Terms,
    ) -> Result<Self, ArtifactError> {
        let ledger = Self {
            artifacts: artifacts.clone(),
            place: format!("jobs/{job}/judge/replies"),
            fence: fence.0,
            terms,
            book: Mutex::default(),
            settled: Notify::new(),
            asking: Mutex::default(),
        };
        ledger.catch_up().await?;
        Ok(ledger)
    }

    /// Reads the entries that are not known yet: those of earlier attempts, and of one that lost its lease.
    async fn catch_up(&self) -> Result<(), ArtifactError> {
        let names = self.artifacts.notes(&self.place).await?;
        let names: Vec<Name> = names.iter().filter_map(|name| name.parse().ok()).collect();
        let finished = names.iter().filter_map(Name::finished).max();
        let unknown: Vec<Name> = {
            let book = self.book.lock();
            names.into_iter().filter(|name| name.finished().is_none() && !book.knows(name)).collect()
        };
        let read = unknown.into_iter().map(|name| async move {
            let content = self.artifacts.note(&self.place, &name.to_string()).await?;
            Ok::<_, ArtifactError>((name, content))
        });
        let mut read = stream::iter(read).buffered(READ_AT_ONCE);
        while let Some((name, content)) = read.try_next().await? {
            // Of a later version; what it paid is not known here.
            let Some(entry) = content.and_then(|content| serde_json::from_slice::<Entry>(&content).ok())
            else {
                tracing::warn!(entry = %name, "cannot read an entry of the judge's ledger; its cost is not counted");
                continue;
            };
            // A finished judging was for its result; the next one asks anew what gave none, or all without a cache.
            let is_over = finished.is_some_and(|fence| name.fence() <= fence);
            let may_be_taken = !is_over || (self.terms.is_shared && entry.is_readable);
            self.book.lock().enter(name, entry, may_be_taken);
        }
        Ok(())
    }

    /// Waits until nobody else asks the question with this key, so that it is paid for once.
    pub(crate) async fn alone(&self, key: &Digest) -> OwnedMutexGuard<()> {
        let turn = Arc::clone(self.asking.lock().entry(key.clone()).or_default());
        turn.lock_owned().await
    }

    /// The reply to the question with this key, if it was given before.
    pub(crate) async fn find(&self, key: &Digest) -> Option<Reply> {
        let known = self.book.lock().take(key);
        let reply = match known {
            Some(reply) => Some(reply),
            None if self.terms.is_shared => self.shared(key).await,
            None => None,
        };
        if reply.is_some() {
            metrics::judge_requested(JudgeOutcome::Cached);
        }
        reply
    }

    async fn shared(&self, key: &Digest) -> Option<Reply> {
        let found = match self.artifacts.note(&cache_folder(key), key.as_str()).await {
            Ok(found) => found?,
            Err(error) => {
                tracing::warn!("a cached reply cannot be used, so the judge is asked: {error}");
                return None;
            }
        };
        let cached: CachedReply = serde_json::from_slice(&found).ok()?;
        self.book.lock().borrow(key, &cached.reply);
        Some(cached.reply)
    }

    /// Writes a reply down before anything is made of it. What was held back for it becomes what it cost.
    ///
    /// # Errors
    /// [`CallError::Ledger`] when that fails.
    pub(crate) async fn write(
        &self,
        key: &Digest,
        reply: &Reply,
        paid: Paid,
        hold: Hold<'_>,
    ) -> Result<(), CallError> {
        let failed = |error: &dyn std::error::Error, retryable| CallError::Ledger {
            detail: error.to_string(),
            retryable,
        };
        let entry = Entry::new(key, reply, paid);
        let content = serde_json::to_vec(&entry).map_err(|error| failed(&error, false))?;
        let name = loop {
            let name = Name::entry(self.fence, self.book.lock().next_number());
            let put = self.artifacts.put_note(&self.place, &name.to_string(), &content).await;
            if put.map_err(|error| failed(&error, error.is_retryable()))? {
                break name;
            }
        };
        let cost = self.cost(paid.tokens);
        metrics::judge_paid(paid.tokens.prompt, paid.tokens.reply, cost);
        self.book.lock().pay(name, entry);
        drop(hold);
        if self.terms.is_shared && paid.is_readable {
            self.share(key, reply).await;
        }
        Ok(())
    }

    async fn share(&self, key: &Digest, reply: &Reply) {
        let Ok(content) = serde_json::to_vec(&CachedReply::new(reply)) else { return };
        if let Err(error) = self.artifacts.put_note(&cache_folder(key), key.as_str(), &content).await {
            // The job has its reply; only later jobs pay again.
            tracing::warn!("a reply cannot be kept for later jobs: {error}");
        }
    }

    /// Calls that gave no reply were tried so often again.
    pub(crate) fn retried(&self, retries: u32) {
        self.book.lock().retries += u64::from(retries);
    }

    /// From now on nobody asks any more, because of an error that is the same for all.
    pub(crate) fn halt(&self, error: &CallError) {
        self.book.lock().halted.get_or_insert_with(|| error.clone());
    }

    /// The error that ended the asking, if one did.
    pub(crate) fn halted(&self) -> Option<CallError> {
        self.book.lock().halted.clone()
    }

    /// What the job asked and paid over all its attempts. Nothing of judging itself is known here.
    ///
    /// # Errors
    /// [`ArtifactError`] as for [`Ledger::open`].
    pub(crate) async fn health(&self) -> Result<JudgeHealth, ArtifactError> {
        self.catch_up().await?;
        let book = self.book.lock();
        let (tokens, cost_micros) = (book.tokens, self.cost(book.tokens));
        let estimated = book.estimated;
        let warnings = (estimated > 0).then(|| {
            format!("the judge's endpoint told no tokens for {estimated} replies; theirs and their cost are estimated")
        });
        Ok(JudgeHealth {
            calls: book.calls,
            retries: book.retries,
            cached: book.cached,
            prompt_tokens: tokens.prompt,
            reply_tokens: tokens.reply,
            cost_micros,
            warnings: warnings.into_iter().collect(),
            ..JudgeHealth::default()
        })
    }

    /// The judging gave its result: a repetition that somebody asks for may ask the judge anew.
    ///
    /// # Errors
    /// [`ArtifactError`] when that cannot be written down.
    pub(crate) async fn finish(&self) -> Result<(), ArtifactError> {
        let name = Name::finish(self.fence).to_string();
        self.artifacts.put_note(&self.place, &name, b"").await.map(drop)
    }

    fn cost(&self, tokens: Tokens) -> u64 {
        let budget = self.terms.budget.as_ref();
        budget.map_or(0, |budget| budget.cost_micros(tokens.prompt, tokens.reply))
    }
}

fn cache_folder(key: &Digest) -> String {
    let short: String = key.as_str().chars().take(2).collect();
    format!("{CACHE}/{short}")
}
