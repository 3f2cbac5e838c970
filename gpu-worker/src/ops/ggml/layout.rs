//! The block formats of GGUF files, and how sixteen rows of blocks lie side by side in memory.
//!
//! Every format says `w = scale · (code − zero) + minimum`, with one scale and minimum for each 32 columns (`Q6_K`: 16).
//! Source: `ggml-common.h` and `ggml-quants.c` of llama.cpp.

/// Columns that a run of codes covers.
pub(super) const RUN: usize = 32;
/// Rows whose runs lie together.
pub(super) const PANEL: usize = 16;
/// Columns of the largest block.
pub(super) const MOST_COLUMNS: usize = 256;
/// Bytes of four lower code bits of a run of a panel.
pub(super) const PLANE_BYTES: usize = PANEL * RUN / 2;

/// A block format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockFormat {
    /// Four bits, a scale for 32 columns.
    Q4_0,
    /// Four bits, a scale and a minimum for 32 columns.
    Q4_1,
    /// Five bits, a scale for 32 columns.
    Q5_0,
    /// Five bits, a scale and a minimum for 32 columns.
    Q5_1,
    /// Eight bits, a scale for 32 columns.
    Q8_0,
    /// Four bits; scales and minima of 32 columns have six bits and share a scale each over 256 columns.
    Q4K,
    /// As `Q4K` with five bits.
    Q5K,
    /// Six bits; scales of 16 columns have eight bits and share a scale over 256 columns.
    Q6K,
}

/// Where the parts of a block of sixteen rows lie.
///
/// A block is `16 scales, [16 minima], runs` with both in f16; a run is `[16 × groups scales], [16 minima], lower codes, upper
/// codes` with one byte for each scale or minimum. Lower codes are four vectors of 64 bytes: byte `4·row + k` of vector `v` has
/// column `4·v + k` in its lower half and column `16 + 4·v + k` in its upper half. Upper codes have `upper_bits` bits for each
/// column in `upper_bits` such vectors: step `s` (columns `4·s …`) lies in vector `s·upper_bits / 8` from bit `s·upper_bits % 8`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// Columns of a block.
    pub(super) columns: usize,
    /// Bytes of a block of one row in a file.
    pub(super) file_bytes: usize,
    /// Whether there are minima.
    pub(super) minimum: bool,
    /// Scales of a run that have eight bits or less; 0 where a block is a run.
    pub(super) groups: usize,
    /// Bits of a code beyond four.
    pub(super) upper_bits: usize,
    /// Code of zero.
    pub(super) zero: u8,
}

impl BlockFormat {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Q4_0, Self::Q4_1, Self::Q5_0, Self::Q5_1, Self::Q8_0, Self::Q4K, Self::Q5K, Self::Q6K];

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "kernels are compiled for each layout")]
    pub(super) const fn layout(self) -> Layout {
        match self {
            Self::Q4_0 => Layout::simple(18, false, 0, 8),
            Self::Q4_1 => Layout::simple(20, true, 0, 0),
            Self::Q5_0 => Layout::simple(22, false, 1, 16),
            Self::Q5_1 => Layout::simple(24, true, 1, 0),
            Self::Q8_0 => Layout::simple(34, false, 4, 128),
            Self::Q4K => Layout::nested(144, true, 1, 0, 0),
            Self::Q5K => Layout::nested(176, true, 1, 1, 0),
            Self::Q6K => Layout::nested(210, false, 2, 2, 32),
        }
    }

    /// Columns of a block; rows are a multiple of it.
    pub fn columns(self) -> usize {
        self.layout().columns
    }

    /// Bytes of a block in a file.
    pub fn file_bytes(self) -> usize {
        self.layout().file_bytes
    }
}

impl Layout {
    const fn simple(file_bytes: usize, minimum: bool, upper_bits: usize, zero: u8) -> Self {
        Self { columns: RUN, file_bytes, minimum, groups: 0, upper_bits, zero }
    }

    const fn nested(file_bytes: usize, minimum: bool, groups: usize, upper_bits: usize, zero: u8) -> Self {
        Self { columns: MOST_COLUMNS, file_bytes, minimum, groups, upper_bits, zero }
    }

    /// Bytes of the scales and minima before the runs.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "kernels are compiled for each layout")]
    pub(super) const fn head_bytes(self) -> usize {
        if self.minimum { 4 * PANEL } else { 2 * PANEL }
    }

    /// Bytes of the scales of a run.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "kernels are compiled for each layout")]
    pub(super) const fn scale_bytes(self) -> usize {
        PANEL * self.groups
    }

    /// Bytes of the minima of a run.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "kernels are compiled for each layout")]
    pub(super) const fn minimum_bytes(self) -> usize {
        if self.minimum && self.groups > 0 { PANEL } else { 0 }
    }

    /// Bytes of a run.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "kernels are compiled for each layout")]
    pub(super) const fn run_bytes(self) -> usize {
        self.scale_bytes() + self.minimum_bytes() + PLANE_BYTES + self.upper_bits * PLANE_BYTES / 4
    }

    /// Bytes of a block of sixteen rows.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "kernels are compiled for each layout")]
    pub(super) const fn block_bytes(self) -> usize {
        self.head_bytes() + self.columns / RUN * self.run_bytes()
    }
}

/// A block of one row, taken apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts {
    /// In f16.
    pub(super) scale: [u8; 2],
    /// In f16.
    pub(super) minimum: [u8; 2],
    /// Of each run and group.
    pub(super) scales: [u8; 16],
    /// Of each run.
    pub(super) minima: [u8; 8],
    /// Of each column.
    pub(super) codes: [u8; MOST_COLUMNS],
}

/// Takes a block of a file apart; `bytes` is as long as the format says.
#[expect(clippy::indexing_slicing, reason = "all places are below the block's length")]
pub(super) fn parse(format: BlockFormat, bytes: &[u8]) -> Parts {
    let mut parts =
        Parts { scale: [0; 2], minimum: [0; 2], scales: [0; 16], minima: [0; 8], codes: [0; MOST_COLUMNS] };
    let half = |at: usize| [bytes[at], bytes[at + 1]];
    parts.scale = if format == BlockFormat::Q6K { half(208) } else { half(0) };
    if format.layout().minimum {
        parts.minimum = half(2);
    }
    match format {
        BlockFormat::Q4_0 => nibbles(&bytes[2..18], &mut parts.codes),
        BlockFormat::Q4_1 => nibbles(&bytes[4..20], &mut parts.codes),
        BlockFormat::Q5_0 => {
            nibbles(&bytes[6..22], &mut parts.codes);
            fifth_bits(&bytes[2..6], &mut parts.codes);
        }
        BlockFormat::Q5_1 => {
            nibbles(&bytes[8..24], &mut parts.codes);
            fifth_bits(&bytes[4..8], &mut parts.codes);
        }
        BlockFormat::Q8_0 => {
            for (code, byte) in parts.codes.iter_mut().zip(&bytes[2..34]) {
                *code = byte ^ 0x80;
            }
        }
        BlockFormat::Q4K => {
            six_bit_scales(&bytes[4..16], &mut parts);
            for (codes, bytes) in parts.codes.chunks_mut(64).zip(bytes[16..].chunks(32)) {
                nibbles(bytes, codes);
            }
        }
        BlockFormat::Q5K => {
            six_bit_scales(&bytes[4..16], &mut parts);
            for (codes, bytes) in parts.codes.chunks_mut(64).zip(bytes[48..].chunks(32)) {
                nibbles(bytes, codes);
            }
            for (run, codes) in parts.codes.chunks_mut(RUN).enumerate() {
                for (code, byte) in codes.iter_mut().zip(&bytes[16..48]) {
                    *code |= (byte >> run & 1) << 4;
                }
            }
        }
        BlockFormat::Q6K => six_bits(bytes, &mut parts),
    }
    parts
}

/// The lower halves of all bytes, then the upper ones.
fn nibbles(bytes: &[u8], codes: &mut [u8]) {
    let (low, high) = codes.split_at_mut(bytes.len());
    for ((low, high), byte) in low.iter_mut().zip(high).zip(bytes) {
        *low = byte & 15;
        *high = byte >> 4;
    }
}

fn fifth_bits(bytes: &[u8], codes: &mut [u8]) {
    for (byte, codes) in bytes.iter().zip(codes.chunks_mut(8)) {
        for (bit, code) in codes.iter_mut().enumerate() {
            *code |= (byte >> bit & 1) << 4;
        }
    }
}

/// Eight scales and eight minima of six bits in twelve bytes.
#[expect(clippy::indexing_slicing, reason = "runs are below 8, bytes below 12")]
fn six_bit_scales(bytes: &[u8], parts: &mut Parts) {
    for run in 0..8 {
        (parts.scales[run], parts.minima[run]) = if run < 4 {
            (bytes[run] & 63, bytes[run + 4] & 63)
        } else {
            let byte = bytes[run + 4];
            (byte & 15 | bytes[run - 4] >> 6 << 4, byte >> 4 | bytes[run] >> 6 << 4)
        };
    }
}

#[expect(clippy::indexing_slicing, reason = "all places are below the 210 bytes of the block")]
fn six_bits(bytes: &[u8], parts: &mut Parts) {
    parts.scales.copy_from_slice(&bytes[192..208]);
    for (half, codes) in parts.codes.chunks_mut(128).enumerate() {
        let (low, high) = (&bytes[64 * half..64 * half + 64], &bytes[128 + 32 * half..160 + 32 * half]);
        nibbles(low, codes);
        for (run, codes) in codes.chunks_mut(RUN).enumerate() {
            for (code, byte) in codes.iter_mut().zip(high) {
                *code |= (byte >> (2 * run) & 3) << 4;
            }
        }
    }
}
