//! What the tests of all servers share: reading to the end, and going on from every page.

use serde_json::{Map, Value};

use super::{FetchError, Fetched, Page, Remote};

/// All pages up to the end.
pub(super) async fn pages(remote: &mut dyn Remote) -> Result<Vec<Page>, FetchError> {
    let mut pages = Vec::new();
    while let Some(page) = remote.next_page().await? {
        pages.push(page);
    }
    assert!(remote.next_page().await?.is_none(), "an ended source stays at its end");
    Ok(pages)
}

/// All documents up to the end.
pub(super) async fn documents(remote: &mut dyn Remote) -> Result<Vec<Fetched>, FetchError> {
    Ok(pages(remote).await?.into_iter().flat_map(|page| page.documents).collect())
}

/// Reads to the end once, then goes on from the cursor of each page as another process would: nothing may be lost or repeated.
pub(super) async fn goes_on_from_every_page<R: Remote>(
    open: impl Fn(Option<&Value>) -> Result<R, FetchError>,
) -> Result<Vec<Fetched>, FetchError> {
    let whole = pages(&mut open(None)?).await?;
    for taken in 1..=whole.len() {
        let written = whole[taken - 1].cursor.to_string();
        let cursor: Value = serde_json::from_str(&written).expect("a cursor is JSON");
        let rest = pages(&mut open(Some(&cursor))?).await?;
        let rest: Vec<&Fetched> = rest.iter().flat_map(|page| &page.documents).collect();
        let expected: Vec<&Fetched> = whole[taken..].iter().flat_map(|page| &page.documents).collect();
        assert_eq!(rest, expected, "after page {taken} of {}", whole.len());
    }
    Ok(whole.into_iter().flat_map(|page| page.documents).collect())
}

/// The record of a document that is not broken.
pub(super) fn record(document: &Fetched) -> &Map<String, Value> {
    match document {
        Fetched::Record(record) => record,
        Fetched::Broken { id, problem } => panic!("{id} is broken: {problem}"),
    }
}

/// The ids in their order; those of broken documents too.
pub(super) fn ids(documents: &[Fetched]) -> Vec<String> {
    let id = |document: &Fetched| match document {
        Fetched::Record(record) => record["id"].as_str().expect("an id is a text").to_owned(),
        Fetched::Broken { id, .. } => id.clone(),
    };
    documents.iter().map(id).collect()
}
