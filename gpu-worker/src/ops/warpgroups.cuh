// Products of warpgroups, four warps together, as Hopper has them, and the panels in shared memory that they read; after `tiles.cuh`.
// CLARA_WARPGROUPS says that they are there.

#ifdef CLARA_EMULATED

#define CLARA_WARPGROUPS

inline void publish_shared() {
    clara::publish_shared();
}

template <typename... Operands>
inline void warpgroup_begin(Operands&...) {
    clara::warpgroup_begin();
}

inline void warpgroup_commit() {
    clara::warpgroup_commit();
}

template <int pending, typename... Operands>
inline void warpgroup_wait(Operands&...) {
    clara::warpgroup_wait(pending);
}

template <bool transposed, int columns>
inline void warpgroup_multiply(float (&sums)[columns][4], const unsigned (&a)[4], unsigned long long b, bool accumulate) {
    clara::warpgroup_multiply({&sums[0][0], columns * 8, a, 0, b, transposed, accumulate});
}

template <bool transposed, int columns>
inline void warpgroup_multiply(float (&sums)[columns][4], unsigned long long a, unsigned long long b, bool accumulate) {
    clara::warpgroup_multiply({&sums[0][0], columns * 8, nullptr, a, b, transposed, accumulate});
}

#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)

#define CLARA_WARPGROUPS

// Shows what this thread has written to shared memory, copies that it waited for among it, to warpgroup_multiply; a barrier must follow.
__device__ __forceinline__ void publish_shared() {
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// Keeps the compiler from moving uses of registers across.
template <int columns>
__device__ __forceinline__ void warpgroup_settle(float (&sums)[columns][4]) {
#pragma unroll
    for (int column = 0; column < columns; column++) {
#pragma unroll
        for (int part = 0; part < 4; part++) {
            asm volatile("" : "+f"(sums[column][part])::"memory");
        }
    }
}

template <int steps>
__device__ __forceinline__ void warpgroup_settle(unsigned (&factors)[steps][4]) {
#pragma unroll
    for (int step = 0; step < steps; step++) {
#pragma unroll
        for (int part = 0; part < 4; part++) {
            asm volatile("" : "+r"(factors[step][part])::"memory");
        }
    }
}

// Before products that use registers which other instructions have touched: those registers.
template <typename... Operands>
__device__ __forceinline__ void warpgroup_begin(Operands&... operands) {
    (warpgroup_settle(operands), ...);
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

// Closes a group of products.
__device__ __forceinline__ void warpgroup_commit() {
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

// Waits for this warp's groups but the newest `pending`; their registers, of which those to be used next are given, are free again.
template <int pending, typename... Operands>
__device__ __forceinline__ void warpgroup_wait(Operands&... operands) {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
    (warpgroup_settle(operands), ...);
}

#define CLARA_SUMS_4(sums, column) "+f"(sums[column][0]), "+f"(sums[column][1]), "+f"(sums[column][2]), "+f"(sums[column][3])
#define CLARA_SUMS_32(sums, column)                                                                                          \
    CLARA_SUMS_4(sums, column), CLARA_SUMS_4(sums, column + 1), CLARA_SUMS_4(sums, column + 2), CLARA_SUMS_4(sums, column + 3), \
        CLARA_SUMS_4(sums, column + 4), CLARA_SUMS_4(sums, column + 5), CLARA_SUMS_4(sums, column + 6), CLARA_SUMS_4(sums, column + 7)

// Starts sums [64, 8·columns] (+)= a [64, 16] · b [16, 8·columns] by the four warps of a group. Each holds 16 rows of the sums, and of
// the left factor, as in multiply_add, eight columns after eight; b is a panel_descriptor of the transpose, [8·columns, 16], or
// (transposed) of [16, 8·columns] itself. Sums and a may be touched again after warpgroup_wait.
template <bool transposed, int columns>
__device__ __forceinline__ void warpgroup_multiply(float (&sums)[columns][4], const unsigned (&a)[4], unsigned long long b, bool accumulate) {
    static_assert(columns == 8 || columns == 16, "64 or 128 columns");
    if constexpr (columns == 8) {
        asm volatile(
            "{.reg .pred p; setp.ne.b32 p, %37, 0; "
            "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 "
            "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
            "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
            "{%32, %33, %34, %35}, %36, p, 1, 1, %38;}"
            : CLARA_SUMS_32(sums, 0)
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(accumulate)), "n"(transposed ? 1 : 0));
    } else {
        asm volatile(
            "{.reg .pred p; setp.ne.b32 p, %69, 0; "
            "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "
            "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
            "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
            "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
            "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
            "{%64, %65, %66, %67}, %68, p, 1, 1, %70;}"
            : CLARA_SUMS_32(sums, 0), CLARA_SUMS_32(sums, 8)
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(accumulate)), "n"(transposed ? 1 : 0));
    }
}

// The same, with a panel_descriptor of the left factor [64, 16] in shared memory.
template <bool transposed, int columns>
__device__ __forceinline__ void warpgroup_multiply(float (&sums)[columns][4], unsigned long long a, unsigned long long b, bool accumulate) {
    static_assert(columns == 8 || columns == 16, "64 or 128 columns");
    if constexpr (columns == 8) {
        asm volatile(
            "{.reg .pred p; setp.ne.b32 p, %34, 0; "
            "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 "
            "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
            "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
            "%32, %33, p, 1, 1, 0, %35;}"
            : CLARA_SUMS_32(sums, 0)
            : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)), "n"(transposed ? 1 : 0));
    } else {
        asm volatile(
            "{.reg .pred p; setp.ne.b32 p, %66, 0; "
            "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "
            "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
            "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
            "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
            "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
            "%64, %65, p, 1, 1, 0, %67;}"
            : CLARA_SUMS_32(sums, 0), CLARA_SUMS_32(sums, 8)
            : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)), "n"(transposed ? 1 : 0));
    }
}

#endif

#ifdef CLARA_WARPGROUPS

// For warpgroup_multiply a tile [rows, width] lies in panels of 64 columns, one after another, each like a tile of that width from a
// multiple of 1,024 bytes on.
template <int width, int rows, int threads>
__device__ __forceinline__ void copy_panels_async(unsigned to, const bf16* from, int ld, int valid) {
#pragma unroll
    for (int panel = 0; panel < width / 64; panel++) {
        copy_tile_async<64, rows, threads>(to + panel * rows * 128, from + panel * 64, ld, valid);
    }
}

// Describes such a tile, or the part of it that begins at a row or a chunk, in units of 16 bytes: where it begins, from one panel to
// the next, from eight rows of a panel to the next eight, and the permutation.
__device__ __forceinline__ unsigned long long panel_descriptor(unsigned address, int rows) {
    return static_cast<unsigned long long>(address / 16 | static_cast<unsigned>(rows * 8) << 16) | 64ull << 32 | 1ull << 62;
}

// To the 16 columns from 16·step on.
template <int rows>
__device__ __forceinline__ unsigned panel_step(int step) {
    return static_cast<unsigned>(step / 4 * rows * 8 + step % 4 * 2);
}

// sums [64, 8·columns] = left [64, dim] · right [8·columns, dim]ᵀ, by a warpgroup; the left tile has `left_rows`.
template <int dim, int left_rows, int columns>
__device__ __forceinline__ void panel_product(float (&sums)[columns][4], unsigned long long left, unsigned long long right) {
#pragma unroll
    for (int step = 0; step < dim / 16; step++) {
        warpgroup_multiply<false>(sums, left + panel_step<left_rows>(step), right + panel_step<columns * 8>(step), step > 0);
    }
}

// The same, the left factor in registers.
template <int steps, int columns>
__device__ __forceinline__ void panel_product(float (&sums)[columns][4], const unsigned (&left)[steps][4], unsigned long long right) {
#pragma unroll
    for (int step = 0; step < steps; step++) {
        warpgroup_multiply<false>(sums, left[step], right + panel_step<columns * 8>(step), step > 0);
    }
}

// sums [64, 8·columns] += left [64, 16·steps] · right [16·steps, 8·columns].
template <int steps, int columns>
__device__ __forceinline__ void panel_product_rows(float (&sums)[columns][4], const unsigned (&left)[steps][4], unsigned long long right) {
#pragma unroll
    for (int step = 0; step < steps; step++) {
        warpgroup_multiply<true>(sums, left[step], right + static_cast<unsigned>(step * 128), true);
    }
}

// Of what warpgroup_multiply left as sums, the left factor in bf16.
template <int columns>
__device__ __forceinline__ void to_left_factors(unsigned (&factors)[columns / 2][4], const float (&sums)[columns][4]) {
#pragma unroll
    for (int step = 0; step < columns / 2; step++) {
#pragma unroll
        for (int part = 0; part < 4; part++) {
            const float(&from)[4] = sums[step * 2 + part / 2];
            factors[step][part] = to_bf16_pair(from[part % 2 * 2], from[part % 2 * 2 + 1]);
        }
    }
}

#endif
