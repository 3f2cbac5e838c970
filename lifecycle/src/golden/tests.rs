//! Tests of golden datasets.
