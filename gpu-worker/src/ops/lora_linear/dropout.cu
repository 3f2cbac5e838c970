// Dropout before the low-rank updates: the masks of `dropout.rs`, made of a key and the place of a value.
//
// Launch: 256 threads, grid x = rows * width / 8 / 256, rounded up, at most 4096; any grid is correct. Widths are multiples of 8.
// The key lies in memory, so that a recorded pass can be repeated with another.

// The output function of SplitMix64 (Steele, Lea and Flood, 2014).
static __device__ unsigned long long dropout_mix(unsigned long long state) {
    unsigned long long z = (state ^ (state >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static __device__ unsigned long long dropout_stream(const unsigned long long* key, int stream) {
    return dropout_mix(*key ^ static_cast<unsigned long long>(stream) * 0xd1b54a32d192ed03ull);
}

// Multiplies eight values from place `at` on by zero or by `scale`; four places share 64 bits.
static __device__ void dropout_apply(Eight& eight, unsigned long long key, long long at, int threshold, float scale) {
    for (int half = 0; half < 2; half++) {
        const unsigned long long place = static_cast<unsigned long long>(at / 4 + half);
        const unsigned long long bits = dropout_mix(key + place * 0x9e3779b97f4a7c15ull);
        for (int k = 0; k < 4; k++) {
            const bool kept = static_cast<int>(bits >> (16 * k) & 0xffff) >= threshold;
            eight.values[half * 4 + k] *= kept ? scale : 0.0f;
        }
    }
}

// out = x with the zeroes in place.
extern "C" __global__ void drop_rows(bf16* out, int ld_out, const bf16* x, int ld_x, const unsigned long long* key, int stream,
                                     int threshold, float scale, int rows, int width) {
    const unsigned long long own_key = dropout_stream(key, stream);
    const int runs = width / 8;
    const long long count = (long long)rows * runs;
    const long long stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride) {
        const long long row = i / runs;
        const int column = (int)(i - row * runs) * 8;
        Eight eight = load_eight(x + row * ld_x + column);
        dropout_apply(eight, own_key, i * 8, threshold, scale);
        store_eight(out + row * ld_out + column, eight);
    }
}
EXPORT(drop_rows)

// into += d with the same zeroes in place.
extern "C" __global__ void add_dropped_rows(bf16* into, int ld_into, const bf16* d, int ld_d, const unsigned long long* key,
                                            int stream, int threshold, float scale, int rows, int width) {
    const unsigned long long own_key = dropout_stream(key, stream);
    const int runs = width / 8;
    const long long count = (long long)rows * runs;
    const long long stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride) {
        const long long row = i / runs;
        const int column = (int)(i - row * runs) * 8;
        Eight eight = load_eight(d + row * ld_d + column);
        dropout_apply(eight, own_key, i * 8, threshold, scale);
        bf16* at = into + row * ld_into + column;
        const Eight before = load_eight(at);
        for (int k = 0; k < 8; k++) eight.values[k] += before.values[k];
        store_eight(at, eight);
    }
}
EXPORT(add_dropped_rows)
