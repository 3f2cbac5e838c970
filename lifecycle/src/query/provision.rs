//! The sections of statutes that a query names.

use std::ops::RangeInclusive;

use crate::citation::{Citation, Cited, RequiredCitation};

const YEAR_DIGITS: usize = 4;
/// Other numbers of four digits are no years of laws.
const YEARS: RangeInclusive<u32> = 1800..=2199;

/// A provision that a query names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provision {
    /// What a text must cite, with paragraph and sentence where the query names them.
    pub cites: RequiredCitation,
    /// What a section must be.
    pub is: RequiredCitation,
    /// As it was cited.
    pub cited: Citation,
    /// The year in the name of its law, as in `EEG 2014`.
    pub year: Option<String>,
}

impl Provision {
    /// A single provision such as `§ 35 Abs. 1 BauGB` or `§ 10b EEG 2014`; `None` when the text names none.
    pub fn parse(text: &str) -> Option<Self> {
        let cited = Cited::of(text).citations().first()?.clone();
        let year = year_after(text, &cited).map(str::to_owned);
        Some(Self { cites: text.parse().ok()?, is: cited.provision().parse().ok()?, cited, year })
    }
}

/// The year that stands behind the law of a citation in `text`, as in `§ 10b EEG 2014`.
pub fn year_after<'a>(text: &'a str, citation: &Citation) -> Option<&'a str> {
    citation.statute.as_ref()?;
    let behind = text.get(citation.place.end..)?;
    let (year, rest) = behind.trim_start().split_at_checked(YEAR_DIGITS)?;
    let is_alone = behind.starts_with(char::is_whitespace) && !rest.starts_with(char::is_alphanumeric);
    let is_year = year.parse().is_ok_and(|year: u32| YEARS.contains(&year));
    (is_alone && is_year).then_some(year)
}
