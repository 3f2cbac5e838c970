//! Two instructions of x86-64 that the SIMD library lacks.

#![expect(unsafe_code, reason = "the standard library asks for it")]
#![expect(clippy::inline_always, reason = "must be compiled for the instruction set of its caller")]

use std::arch::x86_64::{__m512i, _MM_HINT_T0, _mm_prefetch, _mm512_dpbusd_epi32};

use pulp::{NullaryFnOnce, core_arch::x86::Avx512vnni, x86::V4};

/// AVX-512 with the instruction that sums four products of bytes in 32 bits. Processors with AVX-512 that lack it are served by
/// AVX2: they are older, and each kernel is compiled for every instruction set.
#[derive(Debug, Clone, Copy)]
pub(in crate::ops::ggml) struct Vnni {
    pub(super) v4: V4,
    /// Kept private: proves that [`Vnni::try_new`] made this.
    _vnni: Avx512vnni,
}

impl Vnni {
    /// Nothing on a machine without it.
    #[inline]
    pub(in crate::ops::ggml) fn try_new() -> Option<Self> {
        Some(Self { v4: V4::try_new()?, _vnni: Avx512vnni::try_new()? })
    }

    /// Runs `work` compiled for this instruction set.
    #[inline]
    #[expect(clippy::unused_self, reason = "proves that the machine has it")]
    pub(in crate::ops::ggml) fn vectorize<F: NullaryFnOnce>(self, work: F) -> F::Output {
        #[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vnni,bmi1,bmi2,lzcnt")]
        fn with_vnni<F: NullaryFnOnce>(work: F) -> F::Output {
            work.call()
        }
        // SAFETY: `try_new` found all of these.
        unsafe { with_vnni(work) }
    }

    /// Adds to each 32 bits of `sums` the products of four unsigned `codes` with four signed bytes of `x`.
    #[inline(always)]
    #[expect(clippy::unused_self, reason = "proves that the machine has it")]
    pub(super) fn add_products(self, sums: __m512i, codes: __m512i, x: __m512i) -> __m512i {
        // SAFETY: `try_new` found the instruction.
        unsafe { _mm512_dpbusd_epi32(sums, codes, x) }
    }
}

/// Asks for the cache line `ahead` bytes behind the start of `bytes`, which may lie beyond their end.
#[inline(always)]
pub(super) fn prefetch(bytes: &[u8], ahead: usize) {
    let line = bytes.as_ptr().cast::<i8>().wrapping_add(ahead);
    // SAFETY: reads and writes nothing; an address that cannot be read is passed over.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(line) };
}
