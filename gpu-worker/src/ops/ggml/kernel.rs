//! Products of sixteen rows of blocks with rows of activations of eight bits.
//!
//! No closure touches a register here: it would be compiled without the caller's instruction set.

#![expect(clippy::inline_always, reason = "must be compiled for the instruction set of its caller")]

use super::{
    activations::Rows,
    isa::Isa,
    layout::{Layout, PANEL, PLANE_BYTES, RUN},
};

/// How far ahead weights are asked for, in bytes: processors guess what comes next within a page only. Sixteen rows over
/// 100 MB of weights, in a loop on each of two cores, ran 1.35 times as fast so, and nearly that with half or a quarter of it.
const AHEAD: usize = 2560;

/// The products of all rows of a panel with up to `R` rows of activations; `R` is 1 for one row alone.
#[inline(always)]
pub(super) fn panel<I: Isa, const R: usize>(
    isa: I,
    layout: Layout,
    panel: &[u8],
    x: Rows<'_>,
) -> [[f32; PANEL]; R] {
    let mut sums = [isa.splat(0.0); R];
    let runs = layout.columns / RUN;
    for (block, bytes) in panel.chunks_exact(layout.block_bytes()).enumerate() {
        let (head, rest) = bytes.split_at(layout.head_bytes());
        let (scale, minimum) = head.split_at(2 * PANEL);
        let scale = isa.halves(fixed(scale));
        let minimum = if layout.minimum { isa.halves(fixed(minimum)) } else { isa.splat(0.0) };
        // Minima of runs are what is taken away.
        let minimum =
            if layout.minimum_bytes() > 0 { isa.multiply(minimum, isa.splat(-1.0)) } else { minimum };
        for (run, bytes) in rest.chunks_exact(layout.run_bytes()).enumerate() {
            // A row alone waits for memory whatever it asks for.
            if R > 1 {
                for line in (0..layout.run_bytes()).step_by(64) {
                    isa.prefetch(bytes, AHEAD + line);
                }
            }
            let (scales, rest) = bytes.split_at(layout.scale_bytes());
            let (minima, codes) = rest.split_at(layout.minimum_bytes());
            let codes = Codes::new(isa, layout, codes);
            let minimum = if layout.minimum_bytes() > 0 {
                isa.multiply(minimum, isa.signed(fixed(minima)))
            } else {
                minimum
            };
            let scales = if layout.groups == 0 {
                [scale; 2]
            } else {
                let (first, second) = scales.split_at(PANEL);
                let first = isa.multiply(scale, isa.signed(fixed(first)));
                if layout.groups == 1 {
                    [first; 2]
                } else {
                    [first, isa.multiply(scale, isa.signed(fixed(second)))]
                }
            };
            for (sum, x) in sums.iter_mut().zip(x.iter()) {
                let x = x.run(block * runs + run);
                *sum = codes.add(isa, layout, *sum, (scales, minimum), x);
            }
        }
    }
    let mut stored = [[0.0; PANEL]; R];
    for (stored, sum) in stored.iter_mut().zip(sums) {
        *stored = isa.store(sum);
    }
    stored
}

/// A run of activations: 32 codes, four in a word, their scale, `scale · Σ codes`, and the sums of either half of the codes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run<'a> {
    pub(super) words: &'a [i32; 8],
    pub(super) scale: f32,
    pub(super) sum: f32,
    pub(super) sums: [i32; 2],
}

/// The codes of a run of a panel: for each four columns those of sixteen rows.
struct Codes<I: Isa> {
    /// Their lower four bits, or all of them.
    lower: [I::Codes; 8],
    /// The bits that `lower` lacks.
    upper: Option<[I::Codes; 8]>,
}

impl<I: Isa> Codes<I> {
    #[inline(always)]
    fn new(isa: I, layout: Layout, bytes: &[u8]) -> Self {
        let (lower, upper) = bytes.split_at(PLANE_BYTES);
        let lower = halves(isa, vectors(isa, lower));
        let upper = match layout.upper_bits {
            0 => return Self { lower, upper: None },
            1 => {
                let [bits] = vectors(isa, upper);
                [
                    isa.bits::<0>(bits, 1),
                    isa.bits::<1>(bits, 1),
                    isa.bits::<2>(bits, 1),
                    isa.bits::<3>(bits, 1),
                    isa.bits::<4>(bits, 1),
                    isa.bits::<5>(bits, 1),
                    isa.bits::<6>(bits, 1),
                    isa.bits::<7>(bits, 1),
                ]
            }
            2 => {
                let [first, second] = vectors(isa, upper);
                [
                    isa.bits::<0>(first, 3),
                    isa.bits::<2>(first, 3),
                    isa.bits::<4>(first, 3),
                    isa.bits::<6>(first, 3),
                    isa.bits::<0>(second, 3),
                    isa.bits::<2>(second, 3),
                    isa.bits::<4>(second, 3),
                    isa.bits::<6>(second, 3),
                ]
            }
            _ => halves(isa, vectors(isa, upper)),
        };
        match isa.joined(lower, upper) {
            Some(whole) => Self { lower: whole, upper: None },
            None => Self { lower, upper: Some(upper) },
        }
    }

    /// Adds `Σ w·x` of the run to `sum`.
    #[inline(always)]
    fn add(
        &self,
        isa: I,
        layout: Layout,
        sum: I::Real,
        ([scale, second_scale], minimum): ([I::Real; 2], I::Real),
        x: Run<'_>,
    ) -> I::Real {
        let [first, second] = products(isa, layout, &self.lower, x.words);
        let mut wholes = [isa.whole(first, 1), isa.whole(second, 1)];
        if let Some(upper) = &self.upper {
            for (sum, upper) in wholes.iter_mut().zip(products(isa, layout, upper, x.words)) {
                *sum = isa.add_whole(*sum, isa.whole(upper, 16));
            }
        }
        let ([first, second], [first_sum, second_sum]) = (wholes, x.sums);
        let x_scale = isa.splat(x.scale);
        let sum = if layout.groups < 2 {
            let products = centred(isa, layout, second, first_sum + second_sum);
            isa.multiply_add(products, isa.multiply(scale, x_scale), sum)
        } else {
            let products = centred(isa, layout, first, first_sum);
            let sum = isa.multiply_add(products, isa.multiply(scale, x_scale), sum);
            let products = centred(isa, layout, second, second_sum);
            isa.multiply_add(products, isa.multiply(second_scale, x_scale), sum)
        };
        if layout.minimum { isa.multiply_add(minimum, isa.splat(x.sum), sum) } else { sum }
    }
}

/// Sums of products of the first sixteen columns, and of the others or of all.
#[inline(always)]
fn products<I: Isa>(isa: I, layout: Layout, codes: &[I::Codes; 8], x: &[i32; 8]) -> [I::Words; 2] {
    // Sixteen products of codes below 16 with activations up to 127 are below 2¹⁵, and 32 of codes below 256 are below 2²⁰: neither
    // words of 16 bits nor those of 32 overflow.
    let ((early, late), (early_x, late_x)) = (codes.split_at(4), x.split_at(4));
    let mut first = isa.zero_words();
    for (codes, x) in early.iter().zip(early_x) {
        first = isa.add_products(first, *codes, *x);
    }
    let mut second = if layout.groups < 2 { first } else { isa.zero_words() };
    for (codes, x) in late.iter().zip(late_x) {
        second = isa.add_products(second, *codes, *x);
    }
    [first, second]
}

/// `Σ (code − zero)·x` from `Σ code·x` and `Σ x`.
#[inline(always)]
fn centred<I: Isa>(isa: I, layout: Layout, sum: I::Whole, x_sum: i32) -> I::Real {
    if layout.zero == 0 {
        return isa.real(sum);
    }
    isa.real(isa.add_whole(sum, isa.splat_whole(-i32::from(layout.zero) * x_sum)))
}

#[inline(always)]
fn vectors<I: Isa, const N: usize>(isa: I, bytes: &[u8]) -> [I::Codes; N] {
    let (all, _) = bytes.as_chunks::<64>();
    let mut vectors = [isa.load(&[0; 64]); N];
    for (vector, bytes) in vectors.iter_mut().zip(all) {
        *vector = isa.load(bytes);
    }
    vectors
}

/// The lower halves of all bytes, then the upper ones.
#[inline(always)]
fn halves<I: Isa>(isa: I, [a, b, c, d]: [I::Codes; 4]) -> [I::Codes; 8] {
    [
        isa.bits::<0>(a, 15),
        isa.bits::<0>(b, 15),
        isa.bits::<0>(c, 15),
        isa.bits::<0>(d, 15),
        isa.bits::<4>(a, 15),
        isa.bits::<4>(b, 15),
        isa.bits::<4>(c, 15),
        isa.bits::<4>(d, 15),
    ]
}

/// The first `N` bytes; layouts make sure that there are so many.
#[inline(always)]
fn fixed<const N: usize>(bytes: &[u8]) -> &[u8; N] {
    bytes.first_chunk().unwrap_or(&[0; N])
}
