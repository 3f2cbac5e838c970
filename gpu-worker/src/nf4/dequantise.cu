// Weights in four bits back to bf16.
//
// Launch: 256 threads, grid x = rows * columns / 8 / 1024, rounded up, at most 4096; any grid is correct. Columns are a
// multiple of 8, blocks a power of two.

// Runs of eight weights that a thread has under way at once; each is a single store of 16 bytes beside its neighbours'.
#define NF4_AHEAD 4

// As `CODE` in `nf4.rs`.
__constant__ float nf4_codes[16] = {
    -1.0f,       -0.6961928f, -0.52507305f, -0.3949175f, -0.28444138f, -0.18477343f, -0.091050036f, 0.0f,
    0.0795803f,  0.1609302f,  0.2461123f,   0.33791524f, 0.44070983f,  0.562617f,    0.72295684f,   1.0f,
};

extern "C" __global__ void dequantise_nf4(bf16* out, int ld_out, const unsigned char* __restrict__ packed,
                                          const float* __restrict__ scales, int rows, int columns, int block) {
    // Sixteen banks that lanes read without conflict, unlike constant memory.
    __shared__ float codes[16];
    if (threadIdx.x < 16) codes[threadIdx.x] = nf4_codes[threadIdx.x];
    __syncthreads();
    const int runs = columns / 8;
    int shift = 0;
    while (1 << shift < block) shift++;
    const long long count = (long long)rows * runs, threads = (long long)gridDim.x * blockDim.x;
    for (long long first = (long long)blockIdx.x * blockDim.x + threadIdx.x; first < count; first += threads * NF4_AHEAD) {
        // The earlier of two codes is the upper half of their byte, the earlier byte the lower of its word.
        unsigned ahead[NF4_AHEAD];
        float ahead_scales[NF4_AHEAD];
#pragma unroll
        for (int u = 0; u < NF4_AHEAD; u++) {
            const long long run = first + u * threads;
            if (run < count) {
                ahead[u] = reinterpret_cast<const unsigned*>(packed)[run];
                ahead_scales[u] = scales[(run * 8) >> shift];
            }
        }
#pragma unroll
        for (int u = 0; u < NF4_AHEAD; u++) {
            const long long run = first + u * threads;
            if (run < count) {
                const long long row = run / runs;
                Eight eight;
                for (int k = 0; k < 8; k++) {
                    const float scale = block < 8 ? scales[(run * 8 + k) >> shift] : ahead_scales[u];
                    eight.values[k] = codes[ahead[u] >> (k / 2 * 8 + (k % 2 ? 0 : 4)) & 15] * scale;
                }
                store_eight(out + row * ld_out + (run - row * runs) * 8, eight);
            }
        }
    }
}
EXPORT(dequantise_nf4)
