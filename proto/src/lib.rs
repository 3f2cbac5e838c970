//! The wire format `clara.v1` and its conversions to and from the lifecycle.
#![forbid(unsafe_code)]

pub mod convert;

/// The generated messages and services.
#[expect(
    missing_docs,
    clippy::allow_attributes,
    clippy::pedantic,
    reason = "generated; the docs are in the .proto files"
)]
pub mod v1 {
    tonic::include_proto!("clara.v1");
}

/// The compiled descriptors of `clara.v1`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/clara.v1.bin"));
