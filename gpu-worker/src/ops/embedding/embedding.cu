// Embedding rows of tokens.
//
// Launch: 256 threads, grid x = rows * width / 8 / 256, rounded up, at most 4096; any grid is correct.

extern "C" __global__ void embed(bf16* out, int ld_out, const bf16* __restrict__ table,
                                 const unsigned* __restrict__ tokens, int rows, int width, float scale) {
    const int runs = width / 8;
    const long long count = (long long)rows * runs;
    const long long stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride) {
        const long long row = i / runs;
        const int column = (int)(i - row * runs) * 8;
        Eight eight = load_eight(table + (long long)tokens[row] * width + column);
        for (int k = 0; k < 8; k++) eight.values[k] *= scale;
        store_eight(out + row * ld_out + column, eight);
    }
}
EXPORT(embed)
