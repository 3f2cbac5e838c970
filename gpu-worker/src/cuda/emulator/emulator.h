// The language of the kernels for a C++ compiler, and the C interface by which they are run.
//
// The threads of a block are fibers that run in turn; blocks run one after another. Instructions of a whole warp exchange values
// between its 32 fibers as the hardware's layouts say. Dynamic shared memory holds NaN at the start of every block.
#pragma once
#define CLARA_EMULATED 1

#include <cmath>
#include <cstddef>
#include <cstring>
#include <type_traits>
#include <utility>

#define CLARA_INTERFACE extern "C" __attribute__((visibility("default")))

// Runs a kernel; `arguments` points to its arguments' values. Answers 0 when done, 1 for an unknown kernel, 2 for a bad launch: a
// number of threads that is no multiple of 32, more shared memory than a device has or than was asked for, or a barrier or an
// instruction of a whole warp that not all its threads reach.
CLARA_INTERFACE int clara_launch(const char* kernel, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned threads,
                                 unsigned shared_bytes, void** arguments);

// A kernel's parameters, a letter each: p pointer, i int or unsigned, l long long, f float. Null for an unknown kernel.
CLARA_INTERFACE const char* clara_signature(const char* kernel);

// Order of the threads from now on: 0 one warp after another, asynchronous copies as late as allowed; otherwise at random from
// this seed. Results of a right kernel do not depend on it.
CLARA_INTERFACE void clara_schedule(unsigned seed);

// `d = alpha·a·b + c + bias`: a [m, k] and b [k, n] in bf16, row-major with strides in values; `transposed` operands lie in memory as
// [k, m] and [n, k]. Sums in f32, in the order of k. `c` [m, n] (null for none; may be `d`; `c_transposed`: lies as [n, m]) and `d`
// are f32 when `result_f32` is not 0, else bf16. `bias` [n] in bf16, null for none. Pointers as addresses.
CLARA_INTERFACE void clara_multiply(size_t m, size_t n, size_t k, float alpha, const void* a, size_t a_stride, int a_transposed,
                                    const void* b, size_t b_stride, int b_transposed, const void* c, size_t c_stride, int c_transposed, void* d,
                                    size_t d_stride, int result_f32, const void* bias);

#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __shared__ static
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))

struct dim3 {
    unsigned x, y, z;
};
struct __align__(8) uint2 {
    unsigned x, y;
};
struct __align__(16) uint4 {
    unsigned x, y, z, w;
};
struct __align__(8) int2 {
    int x, y;
};
struct __align__(16) int4 {
    int x, y, z, w;
};
struct __align__(8) float2 {
    float x, y;
};
struct __align__(16) float4 {
    float x, y, z, w;
};

inline uint2 make_uint2(unsigned x, unsigned y) {
    return {x, y};
}
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) {
    return {x, y, z, w};
}
inline int2 make_int2(int x, int y) {
    return {x, y};
}
inline int4 make_int4(int x, int y, int z, int w) {
    return {x, y, z, w};
}
inline float2 make_float2(float x, float y) {
    return {x, y};
}
inline float4 make_float4(float x, float y, float z, float w) {
    return {x, y, z, w};
}

extern dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace clara {

typedef void (*Kernel)(void* const* arguments);
// What the last lane to arrive does for the whole warp.
typedef void (*Exchange)(void* const* requests);

void register_kernel(const char* name, const void* function, void (*call)(const void* function, void** arguments),
                     const char* signature);
void* dynamic_shared();
unsigned shared_offset(const void* pointer);
void copy_async_16(unsigned to, const void* from, bool valid);
void copy_async_commit();
void copy_async_wait(int pending);
void load_matrices(unsigned (&to)[4], unsigned address, bool transposed);
void multiply_add(float (&sum)[4], const unsigned (&a)[4], unsigned b_first, unsigned b_second);
void publish_shared();

// What one thread gives for a product of its warpgroup: `a` in registers, or a descriptor.
struct GroupProduct {
    float* sums;
    unsigned columns;
    const unsigned* a;
    unsigned long long a_descriptor, b_descriptor;
    bool transposed, accumulate;
};

void warpgroup_begin();
void warpgroup_commit();
void warpgroup_wait(int pending);
void warpgroup_multiply(const GroupProduct& product);
void block_barrier();
void warp_exchange(Exchange exchange, void* request);

inline unsigned short round_to_bf16(float value) {
    unsigned bits;
    std::memcpy(&bits, &value, 4);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return 0x7fff;
    }
    return static_cast<unsigned short>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

template <typename P>
constexpr char letter() {
    if (std::is_pointer<P>::value) {
        return 'p';
    }
    if (std::is_floating_point<P>::value) {
        return sizeof(P) == 4 ? 'f' : 'd';
    }
    return sizeof(P) == 4 ? 'i' : 'l';
}

struct Registration {
    template <typename... P>
    Registration(const char* name, void (*function)(P...)) {
        static const char signature[] = {letter<P>()..., 0};
        register_kernel(name, reinterpret_cast<const void*>(function), &call<P...>, signature);
    }

    template <typename... P>
    static void call(const void* function, void** arguments) {
        call_with<P...>(reinterpret_cast<void (*)(P...)>(const_cast<void*>(function)), arguments, std::index_sequence_for<P...>());
    }

    template <typename... P, size_t... I>
    static void call_with(void (*function)(P...), void** arguments, std::index_sequence<I...>) {
        function(*static_cast<typename std::remove_cv<P>::type*>(arguments[I])...);
    }
};

template <typename T>
struct Shuffle {
    T value, result;
    unsigned source;
};

template <typename T>
void shuffle(void* const* requests) {
    for (unsigned lane = 0; lane < 32; lane++) {
        Shuffle<T>* request = static_cast<Shuffle<T>*>(requests[lane]);
        request->result = static_cast<Shuffle<T>*>(requests[request->source])->value;
    }
}

template <typename T>
T shuffled(T value, unsigned source) {
    Shuffle<T> request = {value, value, source};
    warp_exchange(&shuffle<T>, &request);
    return request.result;
}

struct Ballot {
    bool vote;
    unsigned result;
};

void ballot(void* const* requests);

}  // namespace clara

inline unsigned clara_lane() {
    return threadIdx.x % 32;
}

template <typename T>
T __shfl_sync(unsigned, T value, int source) {
    return clara::shuffled(value, static_cast<unsigned>(source) % 32);
}

template <typename T>
T __shfl_xor_sync(unsigned, T value, int lane_mask) {
    return clara::shuffled(value, (clara_lane() ^ static_cast<unsigned>(lane_mask)) % 32);
}

template <typename T>
T __shfl_down_sync(unsigned, T value, unsigned distance) {
    return clara::shuffled(value, clara_lane() + distance < 32 ? clara_lane() + distance : clara_lane());
}

template <typename T>
T __shfl_up_sync(unsigned, T value, unsigned distance) {
    return clara::shuffled(value, clara_lane() >= distance ? clara_lane() - distance : clara_lane());
}

inline unsigned __ballot_sync(unsigned, bool vote) {
    clara::Ballot request = {vote, 0};
    clara::warp_exchange(&clara::ballot, &request);
    return request.result;
}

inline bool __any_sync(unsigned mask, bool vote) {
    return __ballot_sync(mask, vote) != 0;
}

inline bool __all_sync(unsigned mask, bool vote) {
    return __ballot_sync(mask, vote) == 0xffffffffu;
}

inline void __syncwarp(unsigned = 0xffffffffu) {
    __ballot_sync(0xffffffffu, true);
}

inline void __syncthreads() {
    clara::block_barrier();
}

template <typename To, typename From>
To clara_bits(From value) {
    static_assert(sizeof(To) == sizeof(From), "the same bits");
    To result;
    std::memcpy(&result, &value, sizeof(To));
    return result;
}

inline float __uint_as_float(unsigned value) {
    return clara_bits<float>(value);
}
inline float __int_as_float(int value) {
    return clara_bits<float>(value);
}
inline unsigned __float_as_uint(float value) {
    return clara_bits<unsigned>(value);
}
inline int __float_as_int(float value) {
    return clara_bits<int>(value);
}

template <typename T>
T __ldg(const T* from) {
    return *from;
}

template <typename A, typename B>
constexpr typename std::common_type<A, B>::type min(A a, B b) {
    return a < b ? a : b;
}
template <typename A, typename B>
constexpr typename std::common_type<A, B>::type max(A a, B b) {
    return a < b ? b : a;
}

inline float rsqrtf(float value) {
    return 1.0f / sqrtf(value);
}
inline float __expf(float value) {
    return expf(value);
}
inline float __logf(float value) {
    return logf(value);
}
inline float __fdividef(float a, float b) {
    return a / b;
}
inline float __fmul_rn(float a, float b) {
    return a * b;
}
inline float __fadd_rn(float a, float b) {
    return a + b;
}
inline float __fmaf_rn(float a, float b, float c) {
    return fmaf(a, b, c);
}
inline int __popc(unsigned value) {
    return __builtin_popcount(value);
}
inline unsigned __umulhi(unsigned a, unsigned b) {
    return static_cast<unsigned>(static_cast<unsigned long long>(a) * b >> 32);
}
