//! Turns sources of documents into training datasets: read, rank, filter, keep golden samples out, chunk, split.
#![forbid(unsafe_code)]

mod broken;
mod chunk;
mod clean;
mod dataset;
mod dedupe;
pub mod error;
pub mod fetch;
mod filter;
mod handler;
mod hashing;
pub mod ingest;
mod leak;
mod overlap;
mod query;
mod selection;
mod share;
pub mod source;
mod split;
mod stop_words;
mod words;

pub use error::IngestError;
pub use handler::IngestHandler;
pub use ingest::{GoldenText, GoldenTexts, IngestObserver, IngestRequest};
pub use leak::{Leak, LeakReport, find_leaks};
