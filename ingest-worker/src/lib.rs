//! Turns sources of documents into training datasets: read, rank, filter, keep golden samples out, chunk, split.
#![forbid(unsafe_code)]

mod broken;
mod chunk;
mod dataset;
mod dedupe;
pub mod error;
pub mod fetch;
mod filter;
mod handler;
pub mod ingest;
mod leak;
mod mixture;
mod order;
mod overlap;
mod query;
mod selection;
mod shape;
mod share;
pub mod source;
mod split;
mod tokens;

pub use error::IngestError;
pub use handler::IngestHandler;
pub use ingest::{GoldenText, GoldenTexts, IngestObserver, IngestRequest};
pub use leak::{Leak, LeakReport, find_leaks};
pub use query::sought_words;
