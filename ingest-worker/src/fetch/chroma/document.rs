//! Makes documents of the chunks that a request gave.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    DOCUMENT,
    api::Given,
    join::{Part, join},
    listing::{Entry, How, numbered},
};
use crate::fetch::{
    Fetched,
    mapping::{self, Mapping},
};

/// The documents of some entries in their order; one whose chunks are all gone is left out.
pub(super) fn documents(entries: &[Entry], chunks: Vec<Given>, mapping: &Mapping) -> Vec<Fetched> {
    let mut by_document: BTreeMap<String, Vec<Given>> = BTreeMap::new();
    let by_record = entries.first().is_some_and(|entry| entry.how.is_by_record());
    for given in chunks {
        by_document.entry(id_of(&given, by_record, mapping)).or_default().push(given);
    }
    let found = entries.iter().filter_map(|entry| {
        // A record may be called like a document of several chunks.
        let key = if entry.how == How::Chunks { format!("{}\n", entry.id) } else { entry.id.clone() };
        Some(document(&entry.id, by_document.remove(&key)?, mapping))
    });
    found.collect()
}

fn id_of(given: &Given, by_record: bool, mapping: &Mapping) -> String {
    if by_record {
        return numbered(&given.id).map_or_else(|| given.id.clone(), |(document, _)| format!("{document}\n"));
    }
    match mapping::find(&given.metadata, mapping.path("id")) {
        Some(Value::String(id)) => id.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

fn document(id: &str, mut chunks: Vec<Given>, mapping: &Mapping) -> Fetched {
    chunks.sort_by_cached_key(|given| (number(given, mapping), given.id.clone()));
    match parts(&chunks, mapping) {
        Ok(parts) => {
            let mut object = shared(&chunks, mapping);
            object.insert(mapping.path("text").to_owned(), join(&parts).into());
            mapping.record(id, &object)
        }
        Err(problem) => Fetched::Broken { id: id.to_owned(), problem },
    }
}

/// The number of a chunk, by its metadata or its id.
fn number(given: &Given, mapping: &Mapping) -> Option<u64> {
    let path = mapping.path("chunk");
    let by_metadata = mapping::find(&given.metadata, path).and_then(|number| match number {
        Value::Number(_) => whole(number),
        Value::String(text) => text.parse().ok(),
        _ => None,
    });
    by_metadata.or_else(|| numbered(&given.id).map(|(_, number)| number))
}

/// A whole number, which Python may have sent as `3.0`.
fn whole(number: &Value) -> Option<u64> {
    number.as_u64().or_else(|| number.to_string().strip_suffix(".0")?.parse().ok())
}

/// The texts in order, each number once; a gap makes the document broken, since its text would be another one.
fn parts<'a>(chunks: &'a [Given], mapping: &Mapping) -> Result<Vec<Part<'a>>, String> {
    let (mut parts, mut before) = (Vec::with_capacity(chunks.len()), None::<u64>);
    for given in chunks {
        let number = number(given, mapping);
        if number.is_none() && chunks.len() > 1 {
            return Err(format!(
                "its chunk `{}` has no number in `{}`; map it in `fields.chunk`",
                given.id,
                mapping.path("chunk")
            ));
        }
        if number.is_some() && number == before {
            return Err(format!(
                "two chunks have the number {}, `{}` is one of them",
                number.unwrap_or_default(),
                given.id
            ));
        }
        if let (Some(number), Some(expected)) = (number, before.map(|before| before + 1))
            && number != expected
        {
            return Err(format!("its chunk {expected} is missing: the one after it is {number}"));
        }
        before = number;
        let text = text(given, mapping)
            .ok_or_else(|| format!("its chunk `{}` has no text in `{}`", given.id, mapping.path("text")))?;
        let start = mapping::find(&given.metadata, mapping.path("offset")).and_then(whole);
        parts.push(Part { text, start });
    }
    match chunks.first().and_then(|first| number(first, mapping)) {
        // Numbers begin at 0 or 1.
        Some(first) if first > 1 => {
            Err(format!("its first chunks are missing: the numbers begin at {first}"))
        }
        _ => Ok(parts),
    }
}

fn text<'a>(given: &'a Given, mapping: &Mapping) -> Option<&'a str> {
    match mapping.path("text") {
        DOCUMENT => given.text.as_deref(),
        path => mapping::find(&given.metadata, path)?.as_str(),
    }
}

/// What the metadata of all chunks say alike; of mapped fields, what the first says.
fn shared(chunks: &[Given], mapping: &Mapping) -> Map<String, Value> {
    let mut metadata = chunks.first().map(|first| first.metadata.clone()).unwrap_or_default();
    metadata.retain(|name, value| {
        mapping.paths().any(|(_, path)| path == name)
            || chunks.iter().all(|chunk| chunk.metadata.get(name) == Some(value))
    });
    metadata
}
