// What all kernels share: bf16, 16-byte accesses, sums over warps and blocks, and the instructions of a warp's tensor core.
//
// Every `.cu` is compiled with this text, `tiles.cuh` and `warpgroups.cuh` before it, by NVRTC for the device and by a C++ compiler for
// the emulator, which stands in for the instructions.

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
