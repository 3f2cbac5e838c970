//! Tests of the registry rules.
