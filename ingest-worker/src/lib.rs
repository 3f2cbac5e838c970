//! Turns sources of documents into training datasets: read, rank, filter, keep golden samples out, chunk, split.
#![forbid(unsafe_code)]

mod broken;
pub mod card;
mod chunk;
mod dataset;
mod dedupe;
mod earlier;
pub mod error;
pub mod fetch;
mod figures;
mod filter;
mod handler;
pub mod ingest;
pub mod inspect;
mod leak;
mod overlap;
mod query;
pub mod reuse;
mod selection;
mod share;
pub mod source;
mod split;

pub use error::IngestError;
pub use figures::{Count, Figures};
pub use handler::IngestHandler;
pub use ingest::{GoldenText, GoldenTexts, IngestObserver, IngestRequest};
pub use leak::{Leak, LeakReport, find_leaks};
