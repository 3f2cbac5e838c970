//! The sandbox in which whole-pipeline tests run: a fresh home, the real command, small data, a scripted judge.
#![forbid(unsafe_code)]
