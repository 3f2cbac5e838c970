//! A shuffle that depends on nothing but its seed and the epoch.

/// Puts `items` in a random order (Fisher and Yates) drawn from `SplitMix64`.
pub(super) fn shuffle<T>(items: &mut [T], seed: u64, epoch: u64) {
    let mut generator = SplitMix64(SplitMix64(seed).next() ^ epoch);
    for last in (1..items.len()).rev() {
        let drawn = generator.below(last as u64 + 1);
        items.swap(last, usize::try_from(drawn).unwrap_or(last));
    }
}

struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`; the bias of at most `limit / 2^64` does not matter for an order of rows.
    fn below(&mut self, limit: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(limit);
        u64::try_from(wide >> 64).unwrap_or_default()
    }
}
