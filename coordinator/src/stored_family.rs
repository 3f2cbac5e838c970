//! Stores a family: which versions it has and where its aliases point with every change, each version when it changes, as a
//! part of its own, so that what is written does not grow with a family.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use clara_lifecycle::{
    adapter::{AdapterVersion, Alias, Family},
    id::Domain,
    spec::Method,
};
use clara_runtime::state::{Body, Record, Write};
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::{
    driver::DriverError,
    records::{FAMILY, Stored, family_key, from_json, part, to_json},
};

#[cfg(test)]
mod tests;

/// A family without what its versions are.
#[derive(Debug, Serialize, Deserialize)]
struct Outline<'a> {
    domain: Cow<'a, Domain>,
    method: Method,
    /// Newest first; a part that is not named here is none of the family's.
    versions: Vec<Cow<'a, Version>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    aliases: Cow<'a, BTreeMap<Alias, String>>,
    #[serde(default, skip_serializing_if = "<[String]>::is_empty")]
    former_champions: Cow<'a, [String]>,
}

/// What stores a family, which was `before`, over the version that it was loaded with.
pub(crate) fn write(before: Option<&Family>, stored: &Stored<Family>) -> Result<Write, DriverError> {
    let family = &stored.value;
    let key = family_key(&family.family_id);
    let outline = Outline {
        domain: Cow::Borrowed(&family.domain),
        method: family.method,
        versions: family.versions.iter().map(|version| Cow::Borrowed(&version.version)).collect(),
        aliases: Cow::Borrowed(&family.aliases),
        former_champions: Cow::Borrowed(&family.former_champions),
    };
    let body = to_json(&key, &outline)?;
    let mut parts = Vec::new();
    let known = before.map(|before| before.versions.as_slice()).unwrap_or_default();
    let known: HashMap<&Version, &AdapterVersion> =
        known.iter().map(|version| (&version.version, version)).collect();
    for version in &family.versions {
        if known.get(&version.version) != Some(&version) {
            parts.push((part_of(&version.version), to_json(&key, version)?));
        }
    }
    Ok(Write { key, expected: stored.version, body: Body::Put { body, parts } })
}

/// The family that a record holds.
pub(crate) fn family_of(record: &Record) -> Result<Stored<Family>, DriverError> {
    let outline: Outline = from_json(&format!("{FAMILY}/{}", record.id), &record.body)?;
    let version = |version: &Cow<'_, Version>| part::<AdapterVersion>(FAMILY, record, &part_of(version));
    let value = Family {
        family_id: record.id.clone(),
        domain: outline.domain.into_owned(),
        method: outline.method,
        versions: outline.versions.iter().map(version).collect::<Result<_, _>>()?,
        aliases: outline.aliases.into_owned(),
        former_champions: outline.former_champions.into_owned(),
    };
    Ok(Stored { version: Some(record.version), value })
}

fn part_of(version: &Version) -> String {
    format!("version.{version}")
}
