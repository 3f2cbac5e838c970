//! Dropout before the low-rank updates: which inputs are zeroed follows from a key alone, so that nothing need be kept.

use rayon::prelude::*;

/// Zeroes a share of the values and scales the others up, so that the mean stays.
///
/// Source: Srivastava et al., JMLR 15 (2014), in the "inverted" form that PEFT applies to the input of `A`. The layers of a
/// group share one mask. Every four values take 16 bits each of one output of `SplitMix64` (Steele, Lea and Flood,
/// OOPSLA 2014), whose state is the key plus the place; the share is therefore rounded to 1/65,536.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    pub(super) key: u64,
    /// Values whose 16 bits are below are zeroed.
    pub(super) threshold: u16,
    /// Factor of the others.
    pub(super) scale: f32,
}

/// Values per piece of work; a multiple of four.
const PIECE: usize = 1 << 14;

impl Dropout {
    /// Zeroes `share` (0 to below 1) of the values; `None` for a share that rounds to nothing.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to the range of 16 bits"
    )]
    pub fn new(share: f32, key: u64) -> Option<Self> {
        let threshold = (share * 65_536.0).round().clamp(0.0, 65_535.0) as u16;
        let kept = 1.0 - f32::from(threshold) / 65_536.0;
        (threshold > 0).then(|| Self { key: mix(key), threshold, scale: 1.0 / kept })
    }

    /// The same share from another stream.
    #[must_use]
    pub fn stream(self, stream: u64) -> Self {
        Self { key: mix(self.key ^ stream.wrapping_mul(0xD1B5_4A32_D192_ED03)), ..self }
    }

    /// Writes `x` with the zeroes in place to `into`, as long as both are.
    pub fn apply(self, x: &[f32], into: &mut [f32]) {
        let pieces = x.par_chunks(PIECE).zip(into.par_chunks_mut(PIECE)).enumerate();
        pieces.for_each(|(piece, (x, into))| {
            self.factors(piece, x.len(), |index, factor| {
                if let (Some(into), Some(x)) = (into.get_mut(index), x.get(index)) {
                    *into = x * factor;
                }
            });
        });
    }

    /// Adds `d`, the gradient after the zeroes, to `into`, the gradient before them.
    pub fn add_backward(self, d: &[f32], into: &mut [f32]) {
        let pieces = d.par_chunks(PIECE).zip(into.par_chunks_mut(PIECE)).enumerate();
        pieces.for_each(|(piece, (d, into))| {
            self.factors(piece, d.len(), |index, factor| {
                if let (Some(into), Some(d)) = (into.get_mut(index), d.get(index)) {
                    *into += d * factor;
                }
            });
        });
    }

    fn factors(self, piece: usize, length: usize, mut each: impl FnMut(usize, f32)) {
        let first = (piece * PIECE / 4) as u64;
        for (place, start) in (first..).zip((0..length).step_by(4)) {
            let bits = mix(self.key.wrapping_add(place.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
            let bits = bits.to_le_bytes();
            for (offset, bits) in bits.as_chunks().0.iter().enumerate() {
                let is_kept = u16::from_le_bytes(*bits) >= self.threshold;
                each(start + offset, if is_kept { self.scale } else { 0.0 });
            }
        }
    }
}

/// The output function of `SplitMix64`.
fn mix(state: u64) -> u64 {
    let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests;
