//! Tests of the job specification.
