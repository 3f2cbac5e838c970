//! Servers of documents through the whole program: bad input, kills, full disks, and the databases of UDS3.
#![forbid(unsafe_code)]
#![expect(clippy::indexing_slicing, reason = "indexing JSON gives null for what is missing")]

/// A ThemisDB for tests and what belongs to it; the ingest-worker's own tests read it page by page.
#[path = "../../../ingest-worker/tests/themis"]
#[expect(dead_code, unused_imports, reason = "the ingest-worker's tests need more of it")]
mod themis {
    pub(crate) mod authority;
    pub(crate) mod documents;
    pub(crate) mod double;
}

mod postgres;
mod served;

mod full_disk;
mod killed;
mod refusals;
mod uds3;
