//! What the block kernels need of a processor: sixteen rows at once, in one register of AVX-512 with VNNI, two of AVX2, or plain
//! arrays.

#[cfg(target_arch = "x86_64")]
pub(super) mod raw;

use std::array;

/// Vectors of 64 codes, of sums of code products (words: one or two for each of 16 rows), and of 16 whole or real numbers.
pub(super) trait Isa: Copy {
    type Codes: Copy;
    type Words: Copy;
    type Whole: Copy;
    type Real: Copy;

    /// Asks for the cache line `ahead` bytes behind the start of `bytes`, where the instruction set can.
    #[inline(always)]
    fn prefetch(self, _bytes: &[u8], _ahead: usize) {}
    fn load(self, bytes: &[u8; 64]) -> Self::Codes;
    /// Those bits of each byte from `SHIFT` on that `mask` lets through; `SHIFT` bits below a byte's end must be in `mask` alone.
    fn bits<const SHIFT: u32>(self, bytes: Self::Codes, mask: u8) -> Self::Codes;
    /// Codes of eight bits from their lower and upper halves, where [`Self::add_products`] takes such.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "must be compiled for the instruction set of its caller")]
    fn joined(self, _lower: [Self::Codes; 8], _upper: [Self::Codes; 8]) -> Option<[Self::Codes; 8]> {
        None
    }
    fn zero_words(self) -> Self::Words;
    /// Adds to each word the products of its codes with as many of the four activations in `x`. Codes are below 16 where
    /// [`Self::joined`] gives none.
    fn add_products(self, words: Self::Words, codes: Self::Codes, x: i32) -> Self::Words;
    /// Sums over the words of a row, times `factor`.
    fn whole(self, words: Self::Words, factor: i16) -> Self::Whole;
    fn splat_whole(self, value: i32) -> Self::Whole;
    fn add_whole(self, x: Self::Whole, y: Self::Whole) -> Self::Whole;
    fn real(self, x: Self::Whole) -> Self::Real;
    fn splat(self, value: f32) -> Self::Real;
    /// Widens f16.
    fn halves(self, bytes: &[u8; 32]) -> Self::Real;
    /// Widens i8.
    fn signed(self, bytes: &[u8; 16]) -> Self::Real;
    fn multiply(self, x: Self::Real, y: Self::Real) -> Self::Real;
    fn multiply_add(self, x: Self::Real, y: Self::Real, z: Self::Real) -> Self::Real;
    fn store(self, x: Self::Real) -> [f32; 16];
}

/// Any processor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Portable;

/// f16 to f32 for finite values, without a branch, so that it vectorises.
#[inline(always)]
#[expect(clippy::inline_always, reason = "must be compiled for the instruction set of its caller")]
pub(super) fn widen(bytes: [u8; 2]) -> f32 {
    let bits = u32::from(u16::from_le_bytes(bytes));
    // The exponent's bias differs by 112.
    let magnitude = f32::from_bits((bits & 0x7fff) << 13) * f32::from_bits((127 + 112) << 23);
    f32::from_bits(magnitude.to_bits() | (bits & 0x8000) << 16)
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "must be compiled for the instruction set of its caller")]
fn widen_all(bytes: &[u8; 32]) -> [f32; 16] {
    let mut values = [0.0; 16];
    for (value, pair) in values.iter_mut().zip(bytes.as_chunks::<2>().0) {
        *value = widen(*pair);
    }
    values
}

#[expect(clippy::inline_always, reason = "must be compiled for the instruction set of its caller")]
#[expect(clippy::indexing_slicing, reason = "array lengths are fixed")]
#[expect(clippy::cast_precision_loss, reason = "sums of a run are below 2²⁴")]
impl Isa for Portable {
    type Codes = [u8; 64];
    type Words = [i16; 32];
    type Whole = [i32; 16];
    type Real = [f32; 16];

    #[inline(always)]
    fn load(self, bytes: &[u8; 64]) -> [u8; 64] {
        *bytes
    }

    #[inline(always)]
    fn bits<const SHIFT: u32>(self, bytes: [u8; 64], mask: u8) -> [u8; 64] {
        bytes.map(|byte| byte >> SHIFT & mask)
    }

    #[inline(always)]
    fn zero_words(self) -> [i16; 32] {
        [0; 32]
    }

    #[inline(always)]
    fn add_products(self, words: [i16; 32], codes: [u8; 64], x: i32) -> [i16; 32] {
        let x = x.to_le_bytes().map(|byte| i16::from(byte.cast_signed()));
        array::from_fn(|at| {
            let product = |byte: usize| i16::from(codes[2 * at + byte]) * x[2 * (at & 1) + byte];
            words[at] + product(0) + product(1)
        })
    }

    #[inline(always)]
    fn whole(self, words: [i16; 32], factor: i16) -> [i32; 16] {
        array::from_fn(|at| (i32::from(words[2 * at]) + i32::from(words[2 * at + 1])) * i32::from(factor))
    }

    #[inline(always)]
    fn splat_whole(self, value: i32) -> [i32; 16] {
        [value; 16]
    }

    #[inline(always)]
    fn add_whole(self, x: [i32; 16], y: [i32; 16]) -> [i32; 16] {
        array::from_fn(|at| x[at] + y[at])
    }

    #[inline(always)]
    fn real(self, x: [i32; 16]) -> [f32; 16] {
        x.map(|value| value as f32)
    }

    #[inline(always)]
    fn splat(self, value: f32) -> [f32; 16] {
        [value; 16]
    }

    #[inline(always)]
    fn halves(self, bytes: &[u8; 32]) -> [f32; 16] {
        widen_all(bytes)
    }

    #[inline(always)]
    fn signed(self, bytes: &[u8; 16]) -> [f32; 16] {
        bytes.map(|byte| f32::from(byte.cast_signed()))
    }

    #[inline(always)]
    fn multiply(self, x: [f32; 16], y: [f32; 16]) -> [f32; 16] {
        array::from_fn(|at| x[at] * y[at])
    }

    #[inline(always)]
    fn multiply_add(self, x: [f32; 16], y: [f32; 16], z: [f32; 16]) -> [f32; 16] {
        array::from_fn(|at| x[at] * y[at] + z[at])
    }

    #[inline(always)]
    fn store(self, x: [f32; 16]) -> [f32; 16] {
        x
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) mod x86 {
    //! The same in registers; the tokens of the SIMD library prove that the machine has them.

    use std::arch::x86_64::{__m256, __m256i, __m512, __m512i};

    use pulp::{cast, x86::V3};

    use super::{
        Isa,
        raw::{self, Vnni},
        widen_all,
    };

    /// Bytes in words of eight. Registers are made of these: without optimisation across functions, a cast of the whole would be a call.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "must be compiled for the instruction set of its caller")]
    fn quads<const N: usize>(bytes: &[u8]) -> [i64; N] {
        let mut quads = [0; N];
        for (quad, bytes) in quads.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *quad = i64::from_le_bytes(*bytes);
        }
        quads
    }

    #[expect(clippy::inline_always, reason = "must be compiled for the instruction set of its caller")]
    impl Isa for Vnni {
        type Codes = __m512i;
        type Words = __m512i;
        type Whole = __m512i;
        type Real = __m512;

        #[inline(always)]
        fn prefetch(self, bytes: &[u8], ahead: usize) {
            raw::prefetch(bytes, ahead);
        }

        #[inline(always)]
        fn load(self, bytes: &[u8; 64]) -> __m512i {
            let q = quads::<8>(bytes);
            self.v4.avx512f._mm512_set_epi64(q[7], q[6], q[5], q[4], q[3], q[2], q[1], q[0])
        }

        #[inline(always)]
        fn bits<const SHIFT: u32>(self, bytes: __m512i, mask: u8) -> __m512i {
            let shifted = if SHIFT == 0 { bytes } else { self.v4.avx512bw._mm512_srli_epi16::<SHIFT>(bytes) };
            self.v4.avx512f._mm512_and_si512(shifted, self.v4.avx512f._mm512_set1_epi8(mask.cast_signed()))
        }

        #[inline(always)]
        fn joined(self, mut lower: [__m512i; 8], upper: [__m512i; 8]) -> Option<[__m512i; 8]> {
            for (lower, upper) in lower.iter_mut().zip(upper) {
                *lower =
                    self.v4.avx512f._mm512_or_si512(*lower, self.v4.avx512bw._mm512_slli_epi16::<4>(upper));
            }
            Some(lower)
        }

        #[inline(always)]
        fn zero_words(self) -> __m512i {
            self.v4.avx512f._mm512_setzero_si512()
        }

        #[inline(always)]
        fn add_products(self, words: __m512i, codes: __m512i, x: i32) -> __m512i {
            Vnni::add_products(self, words, codes, self.v4.avx512f._mm512_set1_epi32(x))
        }

        #[inline(always)]
        fn whole(self, words: __m512i, factor: i16) -> __m512i {
            self.v4.avx512f._mm512_mullo_epi32(words, self.v4.avx512f._mm512_set1_epi32(factor.into()))
        }

        #[inline(always)]
        fn splat_whole(self, value: i32) -> __m512i {
            self.v4.avx512f._mm512_set1_epi32(value)
        }

        #[inline(always)]
        fn add_whole(self, x: __m512i, y: __m512i) -> __m512i {
            self.v4.avx512f._mm512_add_epi32(x, y)
        }

        #[inline(always)]
        fn real(self, x: __m512i) -> __m512 {
            self.v4.avx512f._mm512_cvtepi32_ps(x)
        }

        #[inline(always)]
        fn splat(self, value: f32) -> __m512 {
            self.v4.avx512f._mm512_set1_ps(value)
        }

        #[inline(always)]
        fn halves(self, bytes: &[u8; 32]) -> __m512 {
            let [a, b, c, d] = quads(bytes);
            self.v4.avx512f._mm512_cvtph_ps(self.v4.avx._mm256_set_epi64x(d, c, b, a))
        }

        #[inline(always)]
        fn signed(self, bytes: &[u8; 16]) -> __m512 {
            let [a, b] = quads(bytes);
            self.real(self.v4.avx512f._mm512_cvtepi8_epi32(self.v4.sse2._mm_set_epi64x(b, a)))
        }

        #[inline(always)]
        fn multiply(self, x: __m512, y: __m512) -> __m512 {
            self.v4.avx512f._mm512_mul_ps(x, y)
        }

        #[inline(always)]
        fn multiply_add(self, x: __m512, y: __m512, z: __m512) -> __m512 {
            self.v4.avx512f._mm512_fmadd_ps(x, y, z)
        }

        #[inline(always)]
        fn store(self, x: __m512) -> [f32; 16] {
            cast(x)
        }
    }

    #[expect(clippy::inline_always, reason = "must be compiled for the instruction set of its caller")]
    impl Isa for V3 {
        type Codes = [__m256i; 2];
        type Words = [__m256i; 2];
        type Whole = [__m256i; 2];
        type Real = [__m256; 2];

        #[inline(always)]
        fn prefetch(self, bytes: &[u8], ahead: usize) {
            raw::prefetch(bytes, ahead);
        }

        #[inline(always)]
        fn load(self, bytes: &[u8; 64]) -> [__m256i; 2] {
            let q = quads::<8>(bytes);
            [
                self.avx._mm256_set_epi64x(q[3], q[2], q[1], q[0]),
                self.avx._mm256_set_epi64x(q[7], q[6], q[5], q[4]),
            ]
        }

        #[inline(always)]
        fn bits<const SHIFT: u32>(self, bytes: [__m256i; 2], mask: u8) -> [__m256i; 2] {
            let [low, high] = bytes;
            let mask = self.avx._mm256_set1_epi8(mask.cast_signed());
            let (low, high) = (shift::<SHIFT>(self, low), shift::<SHIFT>(self, high));
            [self.avx2._mm256_and_si256(low, mask), self.avx2._mm256_and_si256(high, mask)]
        }

        #[inline(always)]
        fn zero_words(self) -> [__m256i; 2] {
            [self.avx._mm256_setzero_si256(); 2]
        }

        #[inline(always)]
        fn add_products(self, [low, high]: [__m256i; 2], codes: [__m256i; 2], x: i32) -> [__m256i; 2] {
            let x = self.avx._mm256_set1_epi32(x);
            let [codes_low, codes_high] = codes;
            let more_low = self.avx2._mm256_maddubs_epi16(codes_low, x);
            let more_high = self.avx2._mm256_maddubs_epi16(codes_high, x);
            [self.avx2._mm256_add_epi16(low, more_low), self.avx2._mm256_add_epi16(high, more_high)]
        }

        #[inline(always)]
        fn whole(self, words: [__m256i; 2], factor: i16) -> [__m256i; 2] {
            let factor = self.avx._mm256_set1_epi16(factor);
            let [low, high] = words;
            [self.avx2._mm256_madd_epi16(low, factor), self.avx2._mm256_madd_epi16(high, factor)]
        }

        #[inline(always)]
        fn splat_whole(self, value: i32) -> [__m256i; 2] {
            [self.avx._mm256_set1_epi32(value); 2]
        }

        #[inline(always)]
        fn add_whole(self, [low, high]: [__m256i; 2], [y_low, y_high]: [__m256i; 2]) -> [__m256i; 2] {
            [self.avx2._mm256_add_epi32(low, y_low), self.avx2._mm256_add_epi32(high, y_high)]
        }

        #[inline(always)]
        fn real(self, x: [__m256i; 2]) -> [__m256; 2] {
            let [low, high] = x;
            [self.avx._mm256_cvtepi32_ps(low), self.avx._mm256_cvtepi32_ps(high)]
        }

        #[inline(always)]
        fn splat(self, value: f32) -> [__m256; 2] {
            [self.avx._mm256_set1_ps(value); 2]
        }

        #[inline(always)]
        fn halves(self, bytes: &[u8; 32]) -> [__m256; 2] {
            cast(widen_all(bytes))
        }

        #[inline(always)]
        fn signed(self, bytes: &[u8; 16]) -> [__m256; 2] {
            let [a, b] = quads(bytes);
            let low = self.sse2._mm_set_epi64x(b, a);
            let high = self.sse2._mm_srli_si128::<8>(low);
            self.real([self.avx2._mm256_cvtepi8_epi32(low), self.avx2._mm256_cvtepi8_epi32(high)])
        }

        #[inline(always)]
        fn multiply(self, [low, high]: [__m256; 2], [y_low, y_high]: [__m256; 2]) -> [__m256; 2] {
            [self.avx._mm256_mul_ps(low, y_low), self.avx._mm256_mul_ps(high, y_high)]
        }

        #[inline(always)]
        fn multiply_add(
            self,
            [low, high]: [__m256; 2],
            [y_low, y_high]: [__m256; 2],
            [z_low, z_high]: [__m256; 2],
        ) -> [__m256; 2] {
            [self.fma._mm256_fmadd_ps(low, y_low, z_low), self.fma._mm256_fmadd_ps(high, y_high, z_high)]
        }

        #[inline(always)]
        fn store(self, x: [__m256; 2]) -> [f32; 16] {
            cast(x)
        }
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "must be compiled for the instruction set of its caller")]
    fn shift<const BITS: u32>(isa: V3, bytes: __m256i) -> __m256i {
        match BITS {
            0 => bytes,
            1 => isa.avx2._mm256_srli_epi16::<1>(bytes),
            2 => isa.avx2._mm256_srli_epi16::<2>(bytes),
            3 => isa.avx2._mm256_srli_epi16::<3>(bytes),
            4 => isa.avx2._mm256_srli_epi16::<4>(bytes),
            5 => isa.avx2._mm256_srli_epi16::<5>(bytes),
            6 => isa.avx2._mm256_srli_epi16::<6>(bytes),
            _ => isa.avx2._mm256_srli_epi16::<7>(bytes),
        }
    }
}
