//! Which datasets are listed, how they are named, and what an ingest is given of them.
