//! The audit log: who did what, when and why, in chains in which each entry is bound to the one before by its hash.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// One entry of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// The chain that it belongs to: that of an adapter family or of a golden dataset.
    pub chain: String,
    /// Position in the chain, from 1.
    pub number: u64,
    /// RFC 3339.
    pub at: String,
    /// Who.
    pub actor: String,
    /// What, e.g. `adapter.approved`.
    pub action: String,
    /// To what, e.g. an adapter id.
    pub subject: String,
    /// Why.
    pub reason: String,
    /// Hash of the entry before; absent in the first.
    pub previous: Option<Digest>,
    /// Hash over everything above.
    pub hash: Digest,
}

/// The newest entry's number and hash.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AuditHead {
    /// Its number; 0 before the first.
    pub number: u64,
    /// Its hash.
    pub hash: Option<Digest>,
}

/// What happened, before it has a place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditNote {
    /// Who.
    pub actor: String,
    /// What.
    pub action: &'static str,
    /// To what.
    pub subject: String,
    /// Why.
    pub reason: String,
}

impl AuditHead {
    /// Gives `note` the next place in `chain`, whose head this is.
    pub fn append(&mut self, chain: &str, note: AuditNote, at: String) -> AuditEntry {
        let mut entry = AuditEntry {
            chain: chain.to_owned(),
            number: self.number + 1,
            at,
            actor: note.actor,
            action: note.action.to_owned(),
            subject: note.subject,
            reason: note.reason,
            previous: self.hash.take(),
            hash: Digest::of(&[]),
        };
        entry.hash = entry.computed_hash();
        *self = Self { number: entry.number, hash: Some(entry.hash.clone()) };
        entry
    }
}

impl AuditEntry {
    fn computed_hash(&self) -> Digest {
        let number = self.number.to_string();
        Digest::of_parts([
            ("chain", self.chain.as_bytes()),
            ("number", number.as_bytes()),
            ("at", self.at.as_bytes()),
            ("actor", self.actor.as_bytes()),
            ("action", self.action.as_bytes()),
            ("subject", self.subject.as_bytes()),
            ("reason", self.reason.as_bytes()),
            ("previous", self.previous.as_ref().map_or("", Digest::as_str).as_bytes()),
        ])
    }
}

/// Number of the first entry of one chain that does not follow from the one before, if any.
pub fn first_break(entries: &[AuditEntry]) -> Option<u64> {
    let mut previous: Option<&AuditEntry> = None;
    for entry in entries {
        let follows = entry.number == previous.map_or(1, |before| before.number + 1)
            && entry.previous.as_ref() == previous.map(|before| &before.hash)
            && previous.is_none_or(|before| before.chain == entry.chain)
            && entry.hash == entry.computed_hash();
        if !follows {
            return Some(entry.number);
        }
        previous = Some(entry);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_of(reasons: &[&str]) -> Vec<AuditEntry> {
        let mut head = AuditHead::default();
        let note = |reason: &&str| AuditNote {
            actor: "anna".into(),
            action: "adapter.approved",
            subject: "x-lora-v1.0.0".into(),
            reason: (*reason).to_owned(),
        };
        let at = || "2026-01-01T00:00:00Z".to_owned();
        reasons.iter().map(|reason| head.append("x-lora", note(reason), at())).collect()
    }

    #[test]
    fn an_untouched_log_has_no_break() {
        assert_eq!(first_break(&log_of(&["good", "better", "best"])), None);
    }

    #[test]
    fn a_changed_reason_breaks_the_log_where_it_was_changed() {
        let mut log = log_of(&["good", "better", "best"]);
        log[1].reason = "worse".into();
        assert_eq!(first_break(&log), Some(2));
    }

    #[test]
    fn an_entry_moved_to_another_chain_breaks_it() {
        let mut log = log_of(&["good"]);
        log[0].chain = "y-lora".into();
        assert_eq!(first_break(&log), Some(1));
    }

    #[test]
    fn a_removed_entry_breaks_the_log_at_the_next_one() {
        let mut log = log_of(&["good", "better", "best"]);
        log.remove(1);
        assert_eq!(first_break(&log), Some(3));
    }
}
