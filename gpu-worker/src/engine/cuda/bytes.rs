//! Numbers as they lie in a device's memory, 32 bits each.

/// Bytes of an f32 and of a u32.
pub(super) const WORD: usize = 4;

/// A size as a kernel reads it. Sizes stay far below 2³²: there is no such memory.
pub(super) fn number(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

/// Little-endian bytes of u32 values.
pub(super) fn number_bytes(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Little-endian bytes of f32 values.
pub(super) fn float_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The f32 values of little-endian bytes.
pub(super) fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes))
}
