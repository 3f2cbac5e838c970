// Copies, sums and random values of rows.
//
// Launch: 256 threads, grid x = rows * width / 8 / 256, rounded up, at most 4096; any grid is correct.

extern "C" __global__ void copy_rows(bf16* out, int ld_out, const bf16* x, int ld_x, int rows, int width) {
    const int runs = width / 8;
    const long long count = (long long)rows * runs;
    const long long stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride) {
        const long long row = i / runs;
        const int column = (int)(i - row * runs) * 8;
        *reinterpret_cast<uint4*>(out + row * ld_out + column) = *reinterpret_cast<const uint4*>(x + row * ld_x + column);
    }
}
EXPORT(copy_rows)

extern "C" __global__ void add_rows(bf16* out, int ld_out, const bf16* x, int ld_x, int rows, int width) {
    const int runs = width / 8;
    const long long count = (long long)rows * runs;
    const long long stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride) {
        const long long row = i / runs;
        const int column = (int)(i - row * runs) * 8;
        bf16* at = out + row * ld_out + column;
        Eight sum = load_eight(at);
        const Eight more = load_eight(x + row * ld_x + column);
        for (int k = 0; k < 8; k++) sum.values[k] += more.values[k];
        store_eight(at, sum);
    }
}
EXPORT(add_rows)

// Uniform in [-1, 1), from the SplitMix64 stream of `seed` at place `at` (Steele, Lea and Flood, 2014).
static __device__ float rows_uniform(unsigned long long seed, unsigned long long at) {
    unsigned long long z = seed + (at + 1) * 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    z ^= z >> 31;
    return (float)((int)(z >> 40) - (1 << 23)) * (1.0f / (1 << 23));
}

extern "C" __global__ void fill_uniform(bf16* out, int ld_out, int rows, int columns, long long seed, float bound) {
    const int runs = (columns + 7) / 8;
    const long long count = (long long)rows * runs;
    const long long stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride) {
        const long long row = i / runs;
        const int column = (int)(i - row * runs) * 8;
        const unsigned long long first = (unsigned long long)(row * columns + column);
        bf16* at = out + row * ld_out + column;
        Eight eight;
        for (int k = 0; k < 8; k++) eight.values[k] = bound * rows_uniform((unsigned long long)seed, first + k);
        if (column + 8 <= columns) {
            store_eight(at, eight);
            continue;
        }
#pragma unroll
        for (int k = 0; k < 8; k++) {
            if (column + k < columns) at[k] = to_bf16(eight.values[k]);
        }
    }
}
EXPORT(fill_uniform)
