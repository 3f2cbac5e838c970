//! Reading a ThemisDB of either generation: every route, every mistake of the server, faults, crashes and bad input.
#![forbid(unsafe_code)]
#![expect(clippy::indexing_slicing, reason = "indexing JSON gives null for what is missing")]

mod authority;
mod documents;
mod double;
mod pass;

mod crashes;
mod pipeline;
mod refusals;
mod routes;
mod tls;
