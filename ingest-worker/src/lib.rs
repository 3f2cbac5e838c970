//! Turns sources of documents into training datasets: read, rank, filter, keep golden samples out, chunk, split.
#![forbid(unsafe_code)]

mod broken;
pub mod card;
mod chunk;
mod clean;
mod dataset;
mod dedupe;
mod earlier;
pub mod error;
pub mod fetch;
mod figures;
mod filter;
mod handler;
mod hashing;
pub mod ingest;
pub mod inspect;
mod leak;
mod mixture;
mod order;
mod overlap;
mod query;
pub mod reuse;
mod selection;
mod shape;
mod share;
pub mod source;
mod split;
mod stop_words;
mod tokens;
mod words;

pub use clean::language::language_code;
pub use error::IngestError;
pub use figures::{Count, Figures};
pub use handler::IngestHandler;
pub use ingest::{GoldenText, GoldenTexts, IngestObserver, IngestRequest};
pub use leak::{Leak, LeakReport, find_leaks};
pub use query::sought_words;
pub use tokens::TOKENIZER_FILE;
