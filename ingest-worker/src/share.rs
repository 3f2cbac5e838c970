//! Shares of counts.

/// `part / whole`, 0 to 1 for a part of a whole; 0 when there is no whole.
#[expect(clippy::cast_precision_loss, reason = "counts of documents and n-grams stay far below 2^53")]
pub(crate) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// The part of `whole` that `share` (0–1) makes, rounded to the nearest count.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the share is clamped to 0–1 and counts stay far below 2^53"
)]
pub(crate) fn count_of(share: f64, whole: usize) -> usize {
    (share.clamp(0.0, 1.0) * whole as f64).round() as usize
}
