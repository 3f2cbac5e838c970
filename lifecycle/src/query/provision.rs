//! The sections of statutes that a query names.

use crate::citation::{Citation, Cited, RequiredCitation};

/// A provision that a query names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provision {
    /// What a text must cite, with paragraph and sentence where the query names them.
    pub cites: RequiredCitation,
    /// What a section must be.
    pub is: RequiredCitation,
    /// As it was cited.
    pub cited: Citation,
}

impl Provision {
    /// A single provision such as `§ 35 Abs. 1 BauGB`; `None` when the text names none.
    pub fn parse(text: &str) -> Option<Self> {
        let cited = Cited::of(text).citations().first()?.clone();
        Some(Self { cites: text.parse().ok()?, is: cited.provision().parse().ok()?, cited })
    }
}
