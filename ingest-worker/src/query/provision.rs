//! Finds the documents that are the sections of statutes that a query names, and those that cite them.

#[cfg(test)]
mod tests;

use clara_lifecycle::{
    citation::{Citation, Cited},
    query::{Provision, year_after},
};

use crate::{
    shape::{LAW_FIELDS, SECTION_FIELDS},
    source::Document,
};

/// How a document has to do with a provision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relation {
    /// It is the section.
    Is,
    /// Its text cites it.
    Cites,
}

/// What of a document is looked at for provisions; made once for all provisions of a query.
#[derive(Debug)]
pub(crate) struct Provisions {
    /// Citations of the section itself, in several spellings.
    own: Vec<Cited>,
    /// Names of its law.
    laws: Vec<String>,
    /// Years in these names, as in `EEG 2014`.
    years: Vec<String>,
    text: Cited,
    /// For each citation of the text the year of its law, where one is named.
    text_years: Vec<Option<String>>,
}

impl Provisions {
    /// Reads what a document is and what it cites, where it may be one of the provisions that are asked for.
    pub(super) fn of(document: &Document, asked: &[Provision]) -> Self {
        let named = |fields: &[&str]| -> Vec<String> {
            let values = fields.iter().filter_map(|field| document.metadata.get(*field));
            values.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty()).collect()
        };
        let (mut laws, sections) = (named(&LAW_FIELDS), named(&SECTION_FIELDS));
        let mut own = Vec::new();
        for section in &sections {
            let section = if section.starts_with(|first: char| first.is_ascii_digit()) {
                format!("§ {section}")
            } else {
                section.clone()
            };
            own.push(Cited::of(&section));
            own.extend(laws.iter().map(|law| Cited::of(&format!("{section} {law}"))));
        }
        if sections.is_empty()
            && let Some((law, section)) = named_by_id(&document.id)
        {
            own.push(Cited::of(&format!("{section} {law}")));
            laws.push(law);
        }
        let mut years: Vec<String> = laws.iter().filter_map(|law| year_in(law)).map(str::to_owned).collect();
        for section in &sections {
            let cited = Cited::of(section);
            let year = cited.citations().first().and_then(|citation| year_after(section, citation));
            years.extend(year.map(str::to_owned));
        }
        let body = document.content.texts().join("\n");
        let may_cite = asked.iter().any(|provision| may_stand_in(provision, &body));
        let text = if may_cite { Cited::of(&body) } else { Cited::default() };
        let year = |citation: &Citation| year_after(&body, citation).map(str::to_owned);
        let text_years = text.citations().iter().map(year).collect();
        Self { own, laws, years, text, text_years }
    }

    /// How the document has to do with a provision.
    pub(super) fn relation(&self, provision: &Provision) -> Option<Relation> {
        if self.own.iter().any(|own| own.holds(&provision.is)) && self.may_be_of_its_year(provision) {
            return Some(Relation::Is);
        }
        let cites = self.text.holds(&provision.cites) && !self.cites_other_years(provision);
        (cites || self.cites_within_its_law(provision)).then_some(Relation::Cites)
    }

    /// Whether its law has the provision's year, or one of them names none.
    fn may_be_of_its_year(&self, provision: &Provision) -> bool {
        provision.year.as_ref().is_none_or(|year| self.years.is_empty() || self.years.contains(year))
    }

    /// Whether it cites sections of this number, but always of laws with another year.
    fn cites_other_years(&self, provision: &Provision) -> bool {
        let Some(year) = &provision.year else { return false };
        let Citation { kind, number, .. } = &provision.cited;
        let mut found = self
            .text
            .citations()
            .iter()
            .zip(&self.text_years)
            .filter(|(found, _)| found.kind == *kind && found.number == *number && found.statute.is_some())
            .peekable();
        found.peek().is_some() && found.all(|(_, found)| found.as_ref().is_some_and(|found| found != year))
    }

    /// Whether it cites the provision as sections of one law cite each other: without naming the law.
    fn cites_within_its_law(&self, provision: &Provision) -> bool {
        let Citation { kind, number, parts, .. } = &provision.cited;
        let is_meant = |found: &&Citation| {
            found.statute.is_none()
                && found.kind == *kind
                && found.number == *number
                && parts
                    .iter()
                    .all(|(part, values)| found.parts.get(part).is_some_and(|found| values.is_subset(found)))
        };
        self.text.citations().iter().any(|found| is_meant(&found))
            && self.is_of_its_law(provision)
            && self.may_be_of_its_year(provision)
    }

    fn is_of_its_law(&self, provision: &Provision) -> bool {
        let sign = provision.cited.provision();
        let sign = sign.split(' ').next().unwrap_or_default();
        let number = &provision.cited.number;
        self.laws.iter().any(|law| Cited::of(&format!("{sign} {number} {law}")).holds(&provision.is))
    }
}

/// The year of a short name such as `EEG 2014` or, in an id, `EEG_2014`.
fn year_in(law: &str) -> Option<&str> {
    let (name, year) = law.split_once([' ', '_', '-'])?;
    let text = format!("§ 1 {name} {year}");
    let cited = Cited::of(&text);
    year_after(&text, cited.citations().first()?).filter(|found| *found == year).map(|_| year)
}

/// A quick look that spares reading most texts: the provision's number stands there, or a list or range may hold it.
fn may_stand_in(provision: &Provision, text: &str) -> bool {
    let lists = ["§§", "§ §", "Art", "art", "aragra"];
    text.contains(&provision.cited.number) || lists.iter().any(|opening| text.contains(opening))
}

/// Law and section of an id such as `baugb-35` or `gg-art14`; the law in capitals, so that it reads as a name.
fn named_by_id(id: &str) -> Option<(String, String)> {
    let (law, section) = id.rsplit_once('-')?;
    let (sign, number) = match section.strip_prefix("art") {
        Some(number) => ("Art.", number),
        None => ("§", section),
    };
    let is_number = number.starts_with(|first: char| first.is_ascii_digit()) && number.len() <= 5;
    let is_law = law.len() >= 2 && law.chars().all(|letter| letter.is_alphanumeric() || letter == '_');
    (is_number && is_law).then(|| (law.to_uppercase(), format!("{sign} {number}")))
}
