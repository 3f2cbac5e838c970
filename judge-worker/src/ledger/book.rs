//! The ledger in memory: replies by question, and the sums.

use std::collections::{HashMap, HashSet};

use clara_lifecycle::digest::Digest;

use super::entry::{Entry, Name, Tokens};
use crate::client::{CallError, Reply};

/// Replies by question, and the sums.
#[derive(Debug, Default)]
pub(super) struct Book {
    names: HashSet<Name>,
    replies: HashMap<Digest, Kept>,
    numbers: u64,
    /// Replies that were paid for.
    pub(super) calls: u64,
    pub(super) retries: u64,
    /// Questions that were answered without a call.
    pub(super) cached: u64,
    pub(super) tokens: Tokens,
    /// Replies without tokens.
    pub(super) estimated: u64,
    /// Money that calls on their way may cost, in millionths.
    pub(super) held_micros: u64,
    pub(super) halted: Option<CallError>,
}

#[derive(Debug)]
struct Kept {
    reply: Reply,
    /// The call stands among those that were paid for, and nothing was made of its reply in this attempt yet.
    is_first_use: bool,
}

impl Book {
    pub(super) fn knows(&self, name: &Name) -> bool {
        self.names.contains(name)
    }

    /// A number that no other entry of this attempt has.
    pub(super) fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Enters what was read from the store.
    pub(super) fn enter(&mut self, name: Name, entry: Entry, may_be_taken: bool) {
        if !self.count(name, &entry) || !may_be_taken {
            return;
        }
        self.replies.entry(entry.key).or_insert(Kept { reply: entry.reply, is_first_use: true });
    }

    /// Enters what was just paid for, and is used at once.
    pub(super) fn pay(&mut self, name: Name, entry: Entry) {
        if self.count(name, &entry) {
            self.replies.insert(entry.key, Kept { reply: entry.reply, is_first_use: false });
        }
    }

    /// Whether it is counted here for the first time.
    fn count(&mut self, name: Name, entry: &Entry) -> bool {
        if !self.names.insert(name) {
            return false;
        }
        if let Name::Entry { number, .. } = name {
            self.numbers = self.numbers.max(number);
        }
        self.calls += 1;
        self.retries += u64::from(entry.retries);
        self.tokens.prompt += entry.tokens.prompt;
        self.tokens.reply += entry.tokens.reply;
        self.estimated += u64::from(entry.tokens.is_estimated);
        true
    }

    /// Enters a reply that another job paid for.
    pub(super) fn borrow(&mut self, key: &Digest, reply: &Reply) {
        self.cached += 1;
        self.replies.insert(key.clone(), Kept { reply: reply.clone(), is_first_use: false });
    }

    /// The known reply to a question.
    pub(super) fn take(&mut self, key: &Digest) -> Option<Reply> {
        let kept = self.replies.get_mut(key)?;
        if !std::mem::take(&mut kept.is_first_use) {
            self.cached += 1;
        }
        Some(kept.reply.clone())
    }
}
