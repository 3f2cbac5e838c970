//! Weights in four bits, as bitsandbytes stores them: `NF4` in blocks of 64, with the blocks' scales in eight bits.
//!
//! Source: Dettmers et al., arXiv 2305.14314, sections 3 and 4; layout of `bitsandbytes.functional.quantize_4bit` with
//! `compress_statistics`. The codes of the weights are equal byte for byte. Those of the scales are the nearest ones; the
//! library's kernel for the CPU takes the neighbour about once in a thousand, and its `offset` may differ in the last bit.

pub mod cuda;

use std::sync::LazyLock;

use rayon::prelude::*;

/// Weights that share a scale.
const BLOCK: usize = 64;
/// Scales that share a scale of their own.
const NESTED_BLOCK: usize = 256;

/// Values of the sixteen codes.
const CODE: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// Halfway between neighbouring codes, as bitsandbytes rounds them; a value above a border has the higher code.
const BORDERS: [f32; 15] = [
    -0.848_096_4,
    -0.610_632_9,
    -0.459_995_3,
    -0.339_679_4,
    -0.234_607_4,
    -0.137_911_7,
    -0.045_525,
    0.039_790_1,
    0.120_255_3,
    0.203_521_3,
    0.292_013_8,
    0.389_312_5,
    0.501_663_4,
    0.642_786_9,
    0.861_478_4,
];

/// Sizes of blocks that bitsandbytes knows, and then some.
const BLOCKS: std::ops::RangeInclusive<usize> = 2..=4096;
/// Values of the 256 codes of scales.
static SCALE_CODES: LazyLock<Vec<f32>> = LazyLock::new(scale_codes);

/// A matrix `[rows, columns]` in four bits.
#[derive(Debug, Clone, PartialEq)]
pub struct Nf4Tensor {
    rows: usize,
    columns: usize,
    /// Weights that share a scale.
    block: usize,
    /// Two codes a byte, the earlier one in the upper half; row-major.
    packed: Vec<u8>,
    scales: Scales,
}

/// The scale of each block of weights, its largest magnitude.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scales {
    /// As they are.
    Plain(Vec<f32>),
    /// In eight bits.
    Nested {
        /// For each block its scale less `offset`, as a code.
        codes: Vec<u8>,
        /// What the 256 codes stand for.
        values: Vec<f32>,
        /// Codes that share a scale of their own.
        block: usize,
        /// For each block of codes what they are multiplied by.
        scales: Vec<f32>,
        /// Mean of all scales.
        offset: f32,
    },
}

impl Scales {
    fn bytes(&self) -> usize {
        match self {
            Self::Plain(values) => size_of_val(values.as_slice()),
            Self::Nested { codes, values, scales, .. } => {
                codes.len() + size_of_val(values.as_slice()) + size_of_val(scales.as_slice())
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Plain(values) => values.len(),
            Self::Nested { codes, block, scales, .. } => codes.len().min(scales.len() * block),
        }
    }

    fn of(&self, index: usize) -> f32 {
        match self {
            Self::Plain(values) => values.get(index).copied().unwrap_or_default(),
            Self::Nested { codes, values, block, scales, offset } => {
                let code = codes.get(index).copied().unwrap_or_default();
                let nested = scales.get(index / block).copied().unwrap_or_default();
                values.get(usize::from(code)).copied().unwrap_or_default() * nested + offset
            }
        }
    }
}

impl Nf4Tensor {
    /// Quantises row-major finite values `[rows, columns]`; a last block may be shorter.
    pub fn quantise(values: &[f32], rows: usize, columns: usize) -> Self {
        let largest = |block: &[f32]| block.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        let scales: Vec<f32> = values.par_chunks(BLOCK).map(largest).collect();
        let packed: Vec<u8> = values
            .par_chunks(BLOCK)
            .zip(&scales)
            .flat_map_iter(|(block, scale)| {
                let inverse = if *scale > 0.0 { 1.0 / scale } else { 0.0 };
                block.chunks(2).map(move |pair| {
                    let code = |at: usize| pair.get(at).map_or(0, |value| code_of(value * inverse));
                    code(0) << 4 | code(1)
                })
            })
            .collect();
        let (codes, scales, offset) = quantise_scales(&scales);
        let scales =
            Scales::Nested { codes, values: SCALE_CODES.clone(), block: NESTED_BLOCK, scales, offset };
        Self { rows, columns, block: BLOCK, packed, scales }
    }

    /// Takes over what bitsandbytes stored: blocks of `block` weights, their codes, and what the sixteen codes stand for.
    pub(crate) fn of_parts(
        [rows, columns]: [usize; 2],
        block: usize,
        (packed, code): (Vec<u8>, &[f32]),
        scales: Scales,
    ) -> Result<Self, String> {
        let differs = |(got, expected): (&f32, &f32)| (got - expected).abs() > 1e-6;
        if code.len() != CODE.len() || code.iter().zip(&CODE).any(differs) {
            return Err("its quant_map is not that of nf4".to_owned());
        }
        if !block.is_power_of_two() || !BLOCKS.contains(&block) {
            return Err(format!("blocks of {block} weights; expected a power of two from 2 to 4096"));
        }
        if let Scales::Nested { values, block, .. } = &scales
            && (values.len() != 256 || !BLOCKS.contains(block))
        {
            return Err(format!(
                "{} codes of scales in blocks of {block}; expected 256, in blocks of 2 to 4096",
                values.len()
            ));
        }
        let weights = rows.saturating_mul(columns);
        let expected = (weights.div_ceil(2), weights.div_ceil(block));
        let got = (packed.len(), scales.len());
        if got != expected {
            return Err(format!("{got:?} bytes of codes and scales, expected {expected:?}"));
        }
        Ok(Self { rows, columns, block, packed, scales })
    }

    /// Rows and columns.
    pub fn shape(&self) -> [usize; 2] {
        [self.rows, self.columns]
    }

    /// Bytes of codes and scales.
    pub fn bytes(&self) -> usize {
        self.packed.len() + self.scales.bytes()
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.rows * self.columns
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The codes, two a byte, the earlier one in the upper half; row-major.
    pub(crate) fn codes(&self) -> &[u8] {
        &self.packed
    }

    /// Weights that share a scale.
    pub(crate) fn block(&self) -> usize {
        self.block
    }

    /// The scale of each block.
    pub(crate) fn plain_scales(&self) -> Vec<f32> {
        (0..self.len().div_ceil(self.block)).map(|block| self.scales.of(block)).collect()
    }

    /// Writes the values `[rows, columns]` that the codes stand for.
    pub fn dequantise(&self, into: &mut [f32]) {
        let per_part = NESTED_BLOCK * self.block;
        into.par_chunks_mut(per_part).enumerate().for_each(|(part, values)| {
            let packed = self.packed.get(part * per_part / 2..).unwrap_or_default();
            for (index, (values, packed)) in
                values.chunks_mut(self.block).zip(packed.chunks(self.block / 2)).enumerate()
            {
                let scale = self.scales.of(part * NESTED_BLOCK + index);
                for (pair, byte) in values.chunks_mut(2).zip(packed) {
                    let codes = [byte >> 4, byte & 15];
                    for (value, code) in pair.iter_mut().zip(codes) {
                        *value = CODE.get(usize::from(code)).copied().unwrap_or_default() * scale;
                    }
                }
            }
        });
    }
}

fn code_of(value: f32) -> u8 {
    BORDERS.iter().map(|border| u8::from(value > *border)).sum()
}

/// Codes of the scales, what the codes are multiplied by, and the offset.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a mean in f32, and codes below 256"
)]
fn quantise_scales(scales: &[f32]) -> (Vec<u8>, Vec<f32>, f32) {
    let sum: f64 = scales.iter().map(|scale| f64::from(*scale)).sum();
    let offset = (sum / scales.len().max(1) as f64) as f32;
    let codes = &*SCALE_CODES;
    let (mut quantised, mut nested_scales) = (Vec::with_capacity(scales.len()), Vec::new());
    for block in scales.chunks(NESTED_BLOCK) {
        let nested = block.iter().fold(0.0_f32, |most, scale| most.max((scale - offset).abs()));
        nested_scales.push(nested);
        for scale in block {
            let value = if nested > 0.0 { (scale - offset) / nested } else { 0.0 };
            let above = codes.partition_point(|code| *code < value).min(codes.len() - 1);
            let below = above.saturating_sub(1);
            let distance = |at: usize| codes.get(at).map_or(f32::MAX, |code| (code - value).abs());
            quantised.push(if distance(below) <= distance(above) { below as u8 } else { above as u8 });
        }
    }
    (quantised, nested_scales, offset)
}

/// The 256 codes of the scales, in order: for each power of ten from 1e-6 to 1 the middles of 1, 2, 4 … 64 equal parts of
/// its upper nine tenths, with both signs; 0 and 1.
fn scale_codes() -> Vec<f32> {
    let mut codes = vec![0.0, 1.0];
    for exponent in 0..7_u8 {
        let parts = 1_u8 << exponent;
        #[expect(clippy::cast_possible_truncation, reason = "the library's table is in f32")]
        let unit = 10.0_f64.powi(i32::from(exponent) - 6) as f32;
        // As torch.linspace rounds them: from both ends to the middle.
        let step = (1.0 - 0.1_f32) / f32::from(parts);
        let border = |at: u8| {
            if at < parts.div_ceil(2) {
                step.mul_add(f32::from(at), 0.1)
            } else {
                (-step).mul_add(f32::from(parts - at), 1.0)
            }
        };
        for part in 0..parts {
            let code = unit * f32::midpoint(border(part), border(part + 1));
            codes.extend([code, -code]);
        }
    }
    codes.sort_by(f32::total_cmp);
    codes
}

#[cfg(test)]
mod tests;
