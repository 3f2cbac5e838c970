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

/// Where a chain is broken, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainBreak {
    /// The chain.
    pub chain: String,
    /// The first entry that does not follow from the one before; one more than the last when entries are cut off.
    pub number: u64,
    /// What was done to it.
    pub tampering: Tampering,
}

/// What was done to a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tampering {
    /// The content of the entry is not what its hash was made of.
    Changed,
    /// The entry before it was removed, or its place was taken by another.
    Removed,
    /// The entry was written for another chain.
    Moved,
    /// Entries at the end are missing.
    CutOff,
}

impl ChainBreak {
    /// What happened, in a sentence.
    pub fn sentence(&self) -> String {
        let Self { chain, number, tampering } = self;
        match tampering {
            Tampering::Changed => format!("entry {number} of chain {chain} was changed after it was written"),
            Tampering::Removed => {
                format!(
                    "entry {number} of chain {chain} does not follow from the one before: an entry was removed or replaced"
                )
            }
            Tampering::Moved => format!("entry {number} of chain {chain} was written for another chain"),
            Tampering::CutOff => {
                format!("chain {chain} ends before entry {number}: entries at its end were removed")
            }
        }
    }
}

/// The first place at which one chain, whose newest entry `head` names, is broken.
pub fn find_break(chain: &str, entries: &[AuditEntry], head: &AuditHead) -> Option<ChainBreak> {
    let broken = |number, tampering| Some(ChainBreak { chain: chain.to_owned(), number, tampering });
    let mut before = AuditHead::default();
    for entry in entries {
        if entry.hash != entry.computed_hash() {
            return broken(entry.number, Tampering::Changed);
        }
        if entry.chain != chain {
            return broken(entry.number, Tampering::Moved);
        }
        if entry.number != before.number + 1 || entry.previous != before.hash {
            return broken(entry.number, Tampering::Removed);
        }
        before = AuditHead { number: entry.number, hash: Some(entry.hash.clone()) };
    }
    if before != *head {
        return broken(before.number + 1, Tampering::CutOff);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_of(reasons: &[&str]) -> (Vec<AuditEntry>, AuditHead) {
        let mut head = AuditHead::default();
        let note = |reason: &&str| AuditNote {
            actor: "anna".into(),
            action: "adapter.approved",
            subject: "x-lora-v1.0.0".into(),
            reason: (*reason).to_owned(),
        };
        let at = || "2026-01-01T00:00:00Z".to_owned();
        let log = reasons.iter().map(|reason| head.append("x-lora", note(reason), at())).collect();
        (log, head)
    }

    fn broken(log: &[AuditEntry], head: &AuditHead) -> Option<(u64, Tampering)> {
        find_break("x-lora", log, head).map(|found| (found.number, found.tampering))
    }

    #[test]
    fn an_untouched_log_has_no_break() {
        let (log, head) = log_of(&["good", "better", "best"]);
        assert_eq!(broken(&log, &head), None);
    }

    #[test]
    fn a_changed_reason_breaks_the_log_where_it_was_changed() {
        let (mut log, head) = log_of(&["good", "better", "best"]);
        log[1].reason = "worse".into();
        assert_eq!(broken(&log, &head), Some((2, Tampering::Changed)));
    }

    #[test]
    fn a_changed_entry_with_a_hash_made_afresh_breaks_the_log_at_the_next_one() {
        let (mut log, head) = log_of(&["good", "better", "best"]);
        log[1].reason = "worse".into();
        log[1].hash = log[1].computed_hash();
        assert_eq!(broken(&log, &head), Some((3, Tampering::Removed)));
    }

    #[test]
    fn an_entry_moved_to_another_chain_breaks_it() {
        let (log, head) = log_of(&["good"]);
        let found = find_break("y-lora", &log, &head).unwrap();
        assert_eq!((found.number, found.tampering), (1, Tampering::Moved));
        assert!(found.sentence().contains("another chain"));
    }

    #[test]
    fn a_removed_entry_breaks_the_log_at_the_next_one_and_a_removed_end_at_the_end() {
        let (mut log, head) = log_of(&["good", "better", "best"]);
        let last = log.pop().unwrap();
        assert_eq!(broken(&log, &head), Some((3, Tampering::CutOff)));
        log.push(last);
        log.remove(1);
        assert_eq!(broken(&log, &head), Some((3, Tampering::Removed)));
    }
}
