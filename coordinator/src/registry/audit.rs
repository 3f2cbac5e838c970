//! The audit log as users read and verify it.

use clara_lifecycle::audit::{AuditEntry, ChainBreak, find_break};
use clara_runtime::state::{Order, Page};
use serde::Serialize;

use crate::{
    driver::{Driver, DriverError},
    records::{AUDIT_CHAINS, audit_chain, audit_stream},
};

/// What a verification of the whole audit log found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct AuditVerification {
    /// Chains that were followed.
    pub(crate) chains: usize,
    /// Their entries.
    pub(crate) entries: usize,
    /// The first break of every chain that is broken.
    pub(crate) breaks: Vec<ChainBreak>,
}

impl Driver {
    /// The audit log, oldest entry first, optionally of one subject; and the first chain that is broken, with the place.
    pub(crate) async fn audit_log(
        &self,
        subject: Option<&str>,
    ) -> Result<(Vec<AuditEntry>, Option<(String, u64)>), DriverError> {
        let chains = match subject {
            Some(subject) => vec![audit_chain(subject)],
            None => self.audit_chains().await?,
        };
        let mut log = Vec::new();
        let mut broken = None;
        for chain in chains {
            let (entries, found) = self.follow_chain(&chain).await?;
            broken = broken.or_else(|| found.map(|found| (chain, found.number)));
            log.extend(entries);
        }
        if let Some(subject) = subject {
            log.retain(|entry| entry.subject == subject);
        }
        // Entries of one chain have the order of their numbers whatever the clock did.
        log.sort_by_cached_key(|entry| entry.at.parse::<jiff::Timestamp>().ok());
        Ok((log, broken))
    }

    /// Follows every chain from its first entry to its newest.
    pub(crate) async fn verify_audit(&self) -> Result<AuditVerification, DriverError> {
        let mut found = AuditVerification::default();
        for chain in self.audit_chains().await? {
            let (entries, broken) = self.follow_chain(&chain).await?;
            found.chains += 1;
            found.entries += entries.len();
            found.breaks.extend(broken);
        }
        Ok(found)
    }

    async fn follow_chain(&self, chain: &str) -> Result<(Vec<AuditEntry>, Option<ChainBreak>), DriverError> {
        // Entries that are written meanwhile are beyond the head, so the head comes first.
        let head = self.records.audit_head(chain).await?.value;
        let mut entries: Vec<AuditEntry> = self.records.events(&audit_stream(chain), 0).await?;
        let newer = entries.iter().position(|entry| entry.number > head.number);
        let later = newer.map(|first| entries.split_off(first)).unwrap_or_default();
        let broken = find_break(chain, &entries, &head);
        entries.extend(later);
        Ok((entries, broken))
    }

    async fn audit_chains(&self) -> Result<Vec<String>, DriverError> {
        let mut page = Page { after: None, limit: 1000, order: Order::Ascending };
        let mut chains = Vec::new();
        loop {
            let found = self.records.state.members(AUDIT_CHAINS, &page).await?;
            let is_last = found.len() < page.limit;
            page.after = found.last().cloned();
            chains.extend(found);
            if is_last {
                return Ok(chains);
            }
        }
    }
}
