// What all kernels share: bf16, 16-byte accesses, sums over warps and blocks, and the tensor cores' instructions.
//
// Every `.cu` is compiled with this text before it, by NVRTC for the device and by a C++ compiler for the emulator, which stands in
// for the instructions below.

typedef unsigned short bf16;

__device__ __forceinline__ float to_float(bf16 value) {
    return __uint_as_float(static_cast<unsigned>(value) << 16);
}

__device__ __forceinline__ float infinity() {
    return __uint_as_float(0x7f800000u);
}

// The lower half of a pair is its first value.
__device__ __forceinline__ float first_of(unsigned pair) {
    return __uint_as_float(pair << 16);
}

__device__ __forceinline__ float second_of(unsigned pair) {
    return __uint_as_float(pair & 0xffff0000u);
}

#ifdef CLARA_EMULATED

#define EXPORT(name) static const clara::Registration clara_registration_##name(#name, name);
#define DYNAMIC_SHARED(type, name) type* name = reinterpret_cast<type*>(clara::dynamic_shared())

inline bf16 to_bf16(float value) {
    return clara::round_to_bf16(value);
}

inline unsigned to_bf16_pair(float first, float second) {
    return to_bf16(first) | static_cast<unsigned>(to_bf16(second)) << 16;
}

inline float exp2_approx(float value) {
    return exp2f(value);
}

inline unsigned shared_address(const void* pointer) {
    return clara::shared_offset(pointer);
}

inline void copy_async_16(unsigned to, const void* from, bool valid) {
    clara::copy_async_16(to, from, valid);
}

inline void copy_async_commit() {
    clara::copy_async_commit();
}

template <int pending>
inline void copy_async_wait() {
    clara::copy_async_wait(pending);
}

inline void load_matrices(unsigned (&to)[4], unsigned address) {
    clara::load_matrices(to, address, false);
}

inline void load_matrices_transposed(unsigned (&to)[4], unsigned address) {
    clara::load_matrices(to, address, true);
}

inline void multiply_add(float (&sum)[4], const unsigned (&a)[4], unsigned b_first, unsigned b_second) {
    clara::multiply_add(sum, a, b_first, b_second);
}

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

#else

#define EXPORT(name)
#define DYNAMIC_SHARED(type, name) type* name = reinterpret_cast<type*>(clara_dynamic_shared)

extern __shared__ __align__(1024) unsigned char clara_dynamic_shared[];

__device__ __forceinline__ bf16 to_bf16(float value) {
    bf16 rounded;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(rounded) : "f"(value));
    return rounded;
}

__device__ __forceinline__ unsigned to_bf16_pair(float first, float second) {
    unsigned pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
    return pair;
}

__device__ __forceinline__ float exp2_approx(float value) {
    float result;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(value));
    return result;
}

// Address in the shared window, as the instructions below take it; the pointer must point into dynamic shared memory.
__device__ __forceinline__ unsigned shared_address(const void* pointer) {
    return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}

// Starts a copy of 16 bytes to shared memory; zeros instead where not valid (`from` is not read then, but must be an address).
__device__ __forceinline__ void copy_async_16(unsigned to, const void* from, bool valid) {
    const int bytes = valid ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(__cvta_generic_to_global(from)), "r"(bytes)
                 : "memory");
}

// Closes a group of copies of this thread.
__device__ __forceinline__ void copy_async_commit() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits for this thread's groups but the newest `pending`; a barrier must follow before other threads read.
template <int pending>
__device__ __forceinline__ void copy_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

// Four 8×8 matrices of bf16; lane i gives the address of row i % 8 of matrix i / 8. A lane gets of matrix j, in `to[j]`, the
// values (lane / 4, 2·(lane % 4)) and the next in the row.
__device__ __forceinline__ void load_matrices(unsigned (&to)[4], unsigned address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
}

// The same, each matrix transposed.
__device__ __forceinline__ void load_matrices_transposed(unsigned (&to)[4], unsigned address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
}

// sum [16, 8] += a [16, 16] · b [16, 8]. With g = lane / 4 and t = 2·(lane % 4), a lane holds
// a: (g, t), (g + 8, t), (g, t + 8), (g + 8, t + 8), each with the next in the row; b: (t, g), (t + 8, g), each with the next in
// the column; sum: (g, t), (g, t + 1), (g + 8, t), (g + 8, t + 1).
__device__ __forceinline__ void multiply_add(float (&sum)[4], const unsigned (&a)[4], unsigned b_first, unsigned b_second) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b_first), "r"(b_second));
}

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
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

#endif

// Eight consecutive values of bf16, unpacked; the address is a multiple of 16 bytes.
struct Eight {
    float values[8];
};

__device__ __forceinline__ Eight load_eight(const bf16* from) {
    const uint4 raw = *reinterpret_cast<const uint4*>(from);
    return {first_of(raw.x), second_of(raw.x), first_of(raw.y), second_of(raw.y),
            first_of(raw.z), second_of(raw.z), first_of(raw.w), second_of(raw.w)};
}

__device__ __forceinline__ void store_eight(bf16* to, const Eight& eight) {
    uint4 raw;
    raw.x = to_bf16_pair(eight.values[0], eight.values[1]);
    raw.y = to_bf16_pair(eight.values[2], eight.values[3]);
    raw.z = to_bf16_pair(eight.values[4], eight.values[5]);
    raw.w = to_bf16_pair(eight.values[6], eight.values[7]);
    *reinterpret_cast<uint4*>(to) = raw;
}

// Over a warp, the result in every lane; the order is fixed.
__device__ __forceinline__ float warp_sum(float value) {
    for (int distance = 16; distance > 0; distance /= 2) {
        value += __shfl_xor_sync(0xffffffffu, value, distance);
    }
    return value;
}

__device__ __forceinline__ float warp_max(float value) {
    for (int distance = 16; distance > 0; distance /= 2) {
        value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, distance));
    }
    return value;
}

// Over a block of up to 1,024 threads, the result in every thread; the order is fixed. All threads must call it.
__device__ __forceinline__ float block_sum(float value) {
    __shared__ float partials[32];
    value = warp_sum(value);
    if (threadIdx.x % 32 == 0) {
        partials[threadIdx.x / 32] = value;
    }
    __syncthreads();
    const unsigned lane = threadIdx.x % 32;
    const float total = warp_sum(lane < blockDim.x / 32 ? partials[lane] : 0.0f);
    __syncthreads();
    return total;
}

__device__ __forceinline__ float block_max(float value) {
    __shared__ float partials[32];
    value = warp_max(value);
    if (threadIdx.x % 32 == 0) {
        partials[threadIdx.x / 32] = value;
    }
    __syncthreads();
    const unsigned lane = threadIdx.x % 32;
    const float total = warp_max(lane < blockDim.x / 32 ? partials[lane] : -infinity());
    __syncthreads();
    return total;
}

// A tile [rows, width] of bf16 in shared memory. The 16-byte chunks of a row are permuted so that one column of chunks lies in
// different banks in any eight rows from a multiple of 8 on. A tile begins at a multiple of its row's bytes, so that a column is
// chosen by an exclusive or with the address.
template <int width>
__device__ __forceinline__ unsigned tile_offset(int row, int chunk) {
    static_assert(width == 16 || width == 32 || width == 64 || width == 128 || width == 256, "a width with a permutation");
    const int turn = width >= 64 ? row & 7 : width == 32 ? row >> 1 & 3 : row >> 2 & 1;
    return static_cast<unsigned>(row * width * 2 + ((chunk ^ turn) << 4));
}

// Starts the copy of a tile by all threads of the block; rows from `valid` on become zeros.
template <int width, int rows, int threads>
__device__ __forceinline__ void copy_tile_async(unsigned to, const bf16* from, int ld, int valid) {
    constexpr int chunks = width / 8;
    constexpr int step = threads / chunks;
    static_assert(rows % step == 0 || rows < step, "whole passes");
    const int row = threadIdx.x / chunks;
    const int chunk = threadIdx.x % chunks;
    if (rows < step && row >= rows) {
        return;
    }
    from += static_cast<long long>(row) * ld + chunk * 8;
#pragma unroll
    for (int done = 0; done < rows; done += step) {
        copy_async_16(to + tile_offset<width>(row + done, chunk), from, row + done < valid);
        from += static_cast<long long>(step) * ld;
    }
}

// Where this lane's row of four matrices lies in a tile: as the left factor, or (transposed) as the right factor [k, n].
template <int width>
__device__ __forceinline__ unsigned tile_left_offset() {
    return tile_offset<width>(threadIdx.x % 16, threadIdx.x % 32 / 16);
}

// As the right factor, for two tiles of 8 columns; the tile holds its transpose [n, k].
template <int width>
__device__ __forceinline__ unsigned tile_right_offset() {
    return tile_offset<width>(threadIdx.x % 8 + threadIdx.x % 32 / 16 * 8, threadIdx.x / 8 % 2);
}

// Address for the 16 columns from 16·column on and the rows from `row` on, a multiple of 16.
template <int width>
__device__ __forceinline__ unsigned tile_address(unsigned lane_address, int row, int column) {
    return (lane_address ^ static_cast<unsigned>(column << 5)) + static_cast<unsigned>(row * width * 2);
}

// sums [16·tiles, width] += left [16·tiles, dim] · right [width, dim]ᵀ; the first `in_registers` steps of 16 of the left factor have
// been kept by tile_keep.
template <int dim, int tiles, int width, int in_registers>
__device__ __forceinline__ void tile_product(float (&sums)[tiles][width / 8][4],
                                                 const unsigned (&kept)[tiles][in_registers > 0 ? in_registers : 1][4], unsigned left,
                                                 unsigned right) {
#pragma unroll
    for (int inner = 0; inner < dim / 16; inner++) {
        unsigned a[tiles][4];
#pragma unroll
        for (int tile = 0; tile < tiles; tile++) {
            if (inner < in_registers) {
#pragma unroll
                for (int part = 0; part < 4; part++) {
                    a[tile][part] = kept[tile][inner < in_registers ? inner : 0][part];
                }
            } else {
                load_matrices(a[tile], tile_address<dim>(left, tile * 16, inner));
            }
        }
#pragma unroll
        for (int pair = 0; pair < width / 16; pair++) {
            unsigned b[4];
            load_matrices(b, tile_address<dim>(right, pair * 16, inner));
#pragma unroll
            for (int tile = 0; tile < tiles; tile++) {
                multiply_add(sums[tile][pair * 2], a[tile], b[0], b[1]);
                multiply_add(sums[tile][pair * 2 + 1], a[tile], b[2], b[3]);
            }
        }
    }
}

template <int dim, int tiles, int in_registers>
__device__ __forceinline__ void tile_keep(unsigned (&kept)[tiles][in_registers > 0 ? in_registers : 1][4], unsigned left) {
#pragma unroll
    for (int tile = 0; tile < tiles; tile++) {
#pragma unroll
        for (int inner = 0; inner < in_registers; inner++) {
            load_matrices(kept[tile][inner], tile_address<dim>(left, tile * 16, inner));
        }
    }
}

// sums [16·tiles, dim] += left [16·tiles, 16] · rows of `right` [.., dim] from `row` on, the left factor from to_left_factor.
template <int dim, int tiles>
__device__ __forceinline__ void tile_product_step(float (&sums)[tiles][dim / 8][4], const unsigned (&left)[tiles][4], unsigned right,
                                                  int row) {
#pragma unroll
    for (int pair = 0; pair < dim / 16; pair++) {
        unsigned b[4];
        load_matrices_transposed(b, tile_address<dim>(right, row, pair));
#pragma unroll
        for (int tile = 0; tile < tiles; tile++) {
            multiply_add(sums[tile][pair * 2], left[tile], b[0], b[1]);
            multiply_add(sums[tile][pair * 2 + 1], left[tile], b[2], b[3]);
        }
    }
}

// Of what multiply_add left as sums, the 16 columns from 16·step on as a left factor in bf16.
template <int tiles, int width>
__device__ __forceinline__ void to_left_factor(unsigned (&factor)[tiles][4], const float (&sums)[tiles][width / 8][4], int step) {
#pragma unroll
    for (int tile = 0; tile < tiles; tile++) {
#pragma unroll
        for (int part = 0; part < 4; part++) {
            const float(&from)[4] = sums[tile][step * 2 + part / 2];
            factor[tile][part] = to_bf16_pair(from[part % 2 * 2], from[part % 2 * 2 + 1]);
        }
    }
}

// sums [16·tiles, 8·columns] of a warp, as multiply_add leaves them, times `factor` as bf16 to rows of memory: by way of a tile in
// shared memory, for whole 16-byte stores. `factors` holds one factor for each half of each tile's rows.
template <int width, int tiles>
__device__ __forceinline__ void store_sums(bf16* to, int ld, int valid, unsigned char* tile, const float (&sums)[tiles][width / 8][4],
                                           const float (&factors)[tiles][2]) {
    const int lane = threadIdx.x % 32;
    __syncwarp();
#pragma unroll
    for (int part = 0; part < tiles; part++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int row = part * 16 + half * 8 + lane / 4;
#pragma unroll
            for (int column = 0; column < width / 8; column++) {
                const float first = sums[part][column][half * 2] * factors[part][half];
                const float second = sums[part][column][half * 2 + 1] * factors[part][half];
                *reinterpret_cast<unsigned*>(tile + tile_offset<width>(row, column) + lane % 4 * 4) = to_bf16_pair(first, second);
            }
        }
    }
    __syncwarp();
    constexpr int chunks = width / 8;
#pragma unroll 4
    for (int chunk = lane; chunk < tiles * 16 * chunks; chunk += 32) {
        const int row = chunk / chunks;
        if (row < valid) {
            const uint4 values = *reinterpret_cast<const uint4*>(tile + tile_offset<width>(row, chunk % chunks));
            *reinterpret_cast<uint4*>(to + static_cast<long long>(row) * ld + chunk % chunks * 8) = values;
        }
    }
}

// Of scores [16·tiles, keys] of a warp, sets those to −∞ whose key, from `key` on, comes after the row's query or before the first
// key that it sees. `row` is the first row within the block, which begins at query `block_row`.
template <int tiles, int keys>
__device__ __forceinline__ void attention_mask(float (&scores)[tiles][keys / 8][4], const int* first_keys, int row, int block_row,
                                               int key) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int part = 0; part < tiles * 2; part++) {
        const int own = row + part * 8 + lane / 4;
        const int first = first_keys[own] - key - lane % 4 * 2;
        const int last = block_row + own - key - lane % 4 * 2;
#pragma unroll
        for (int column = 0; column < keys / 4; column++) {
            const int at = column / 2 * 8 + column % 2;
            if (at < first || at > last) {
                scores[part / 2][column / 2][part % 2 * 2 + column % 2] = -infinity();
            }
        }
    }
}

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
