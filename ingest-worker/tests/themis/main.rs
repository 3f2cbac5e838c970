//! Reading a ThemisDB of either generation: every route, every mistake of the server, faults, crashes and bad input.
#![forbid(unsafe_code)]

mod double;
mod pass;

mod crashes;
mod refusals;
mod routes;
mod tls;
