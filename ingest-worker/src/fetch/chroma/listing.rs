//! Which documents a collection holds, and how to ask for their chunks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::api::{Collection, Given};
use crate::fetch::{
    FetchError,
    http::Http,
    mapping::{self, Mapping},
};

/// What stands between document and number in the ids that UDS3 gives to chunks.
const CHUNK: &str = "::chunk::";
/// So often a listing begins anew because records before it were deleted.
const MOST_LISTINGS: u32 = 10;

/// How the chunks of a document are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum How {
    /// By the text in their metadata.
    Text,
    /// By the number in their metadata.
    Number,
    /// By ids of the form `document::chunk::0`.
    Chunks,
    /// It is one record, of the same id.
    Record,
}

/// One document of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) how: How,
    /// Its records; the highest number and one, where ids name them.
    pub(super) chunks: usize,
}

/// How a collection is listed.
pub(super) struct Listing<'a> {
    pub(super) collection: &'a Collection,
    pub(super) mapping: &'a Mapping,
    pub(super) filter: Option<&'a Value>,
    pub(super) page: usize,
}

impl How {
    /// Whether ids of records are asked for, not metadata.
    pub(super) fn is_by_record(self) -> bool {
        match self {
            Self::Text | Self::Number => false,
            Self::Chunks | Self::Record => true,
        }
    }
}

impl Listing<'_> {
    /// All documents in the order of their ids.
    pub(super) async fn all(&self, http: &Http) -> Result<Vec<Entry>, FetchError> {
        for _ in 0..MOST_LISTINGS {
            if let Some(found) = self.once(http).await? {
                return Ok(found.into_iter().map(|((id, how), chunks)| Entry { id, how, chunks }).collect());
            }
            tracing::warn!("the collection changed while it was listed; it is listed anew");
        }
        Err(http.refused(format!(
            "the collection changed each of {MOST_LISTINGS} times while it was listed; repeat the stage when nothing deletes from it"
        )))
    }

    /// One listing; `None` when records went meanwhile. Each page begins with the last record of the one before, which tells whether
    /// the offsets still mean the same.
    async fn once(&self, http: &Http) -> Result<Option<BTreeMap<(String, How), usize>>, FetchError> {
        let mut found: BTreeMap<(String, How), usize> = BTreeMap::new();
        let (mut offset, mut last) = (0, None::<String>);
        loop {
            let overlap = usize::from(last.is_some());
            let limit = self.page + overlap;
            let mut asked = json!({ "include": ["metadatas"], "limit": limit, "offset": offset - overlap });
            add_where(&mut asked, self.filter.cloned());
            let Some(page) = self.collection.get(http, &asked).await? else {
                return Err(http.refused("a page of metadata is too long; lower `page`"));
            };
            let is_end = page.len() < limit;
            let mut records = page.into_iter();
            if last.is_some() && records.next().map(|first| first.id) != last {
                return Ok(None);
            }
            for given in records {
                offset += 1;
                let (key, chunks) = self.document_of(&given);
                let known = found.entry(key).or_default();
                *known = match chunks {
                    Some(chunks) => (*known).max(chunks),
                    None => *known + 1,
                };
                last = Some(given.id);
            }
            http.news();
            if is_end {
                return Ok(Some(found));
            }
        }
    }

    /// The document that a record belongs to, and how many chunks that has at least, where its id tells.
    fn document_of(&self, given: &Given) -> ((String, How), Option<usize>) {
        match mapping::find(&given.metadata, self.mapping.path("id")) {
            Some(Value::String(id)) => return ((id.clone(), How::Text), None),
            Some(Value::Number(id)) => return ((id.to_string(), How::Number), None),
            _ => {}
        }
        match numbered(&given.id) {
            Some((id, number)) => (
                (id.to_owned(), How::Chunks),
                Some(usize::try_from(number).unwrap_or(usize::MAX).saturating_add(1)),
            ),
            None => ((given.id.clone(), How::Record), None),
        }
    }
}

/// The request for all chunks of some documents, which are all found by metadata or all by record.
pub(super) fn request(entries: &[Entry], id_path: &str, filter: Option<&Value>) -> Value {
    let mut asked = json!({ "include": ["documents", "metadatas"] });
    let (mut texts, mut numbers, mut records) = (Vec::new(), Vec::new(), Vec::new());
    for Entry { id, how, chunks } in entries {
        match how {
            How::Text => texts.push(Value::from(id.as_str())),
            How::Number => numbers.extend(serde_json::from_str::<Value>(id)),
            How::Record => records.push(Value::from(id.as_str())),
            How::Chunks => {
                records.extend((0..*chunks).map(|number| Value::from(format!("{id}{CHUNK}{number}"))));
            }
        }
    }
    if !records.is_empty() {
        add(&mut asked, "ids", records.into());
    }
    let mut either: Vec<Value> = [texts, numbers]
        .into_iter()
        .filter(|ids| !ids.is_empty())
        .map(|ids| json!({ id_path: { "$in": ids } }))
        .collect();
    let by_metadata = if either.len() > 1 { Some(json!({ "$or": either })) } else { either.pop() };
    let condition = match (by_metadata, filter) {
        (Some(own), Some(filter)) => Some(json!({ "$and": [own, filter] })),
        (own, filter) => own.or_else(|| filter.cloned()),
    };
    add_where(&mut asked, condition);
    asked
}

/// Chroma refuses an empty `where`.
fn add_where(asked: &mut Value, condition: Option<Value>) {
    if let Some(condition) = condition {
        add(asked, "where", condition);
    }
}

fn add(asked: &mut Value, name: &str, value: Value) {
    if let Some(asked) = asked.as_object_mut() {
        asked.insert(name.to_owned(), value);
    }
}

/// The number of a chunk by its id, and the document that the id names.
pub(super) fn numbered(id: &str) -> Option<(&str, u64)> {
    let (document, number) = id.rsplit_once(CHUNK)?;
    Some((document, number.parse().ok()?))
}
