//! Seeded initial values of adapters: the same seed gives the same bytes everywhere.

/// Fills `values` with uniform numbers in [-bound, bound) from the stream `stream` of `seed`.
///
/// The generator is `SplitMix64` (Steele, Lea and Flood, OOPSLA 2014). Each stream has its own, seeded by one output of a
/// generator that starts at `seed` xor `stream` times an odd constant, so no stream depends on another's length. A number
/// is made of the upper 24 bits of an output.
#[expect(clippy::cast_precision_loss, reason = "24 bits fit f32 exactly")]
pub(crate) fn fill_uniform(values: &mut [f32], bound: f32, seed: u64, stream: u64) {
    let mut seeding = SplitMix64(seed ^ stream.wrapping_mul(0xD1B5_4A32_D192_ED03));
    let mut generator = SplitMix64(seeding.next());
    for value in values {
        let unit = (generator.next() >> 40) as f32 / (1_u32 << 24) as f32;
        *value = bound * (2.0 * unit - 1.0);
    }
}

struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests;
