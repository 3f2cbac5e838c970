// Puts the values of adapters, scaled and in bf16, where the products read them.
//
// Launch: 256 threads, grid x = 16, grid y = count, at most 65535; any grid is correct.

// One matrix of an adapter. The launcher writes these 32 bytes.
struct AdapterPart {
    bf16* to;
    long long from;
    int rows, columns, ld;
    float scale;
};

extern "C" __global__ void scatter_adapter(const AdapterPart* parts, int count, const float* values) {
    const long long thread = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    const long long threads = (long long)gridDim.x * blockDim.x;
    for (int p = blockIdx.y; p < count; p += gridDim.y) {
        const AdapterPart part = parts[p];
        const float* source = values + part.from;
        const bool by_eight = (part.columns | part.ld) % 8 == 0 && (unsigned long long)part.to % 16 == 0 &&
                              (unsigned long long)source % 16 == 0;
        const int step = by_eight ? 8 : 1, runs = part.columns / step;
        for (long long i = thread; i < (long long)part.rows * runs; i += threads) {
            const long long row = i / runs;
            const float* from = source + i * step;
            bf16* to = part.to + row * part.ld + (i - row * runs) * step;
            if (by_eight) {
                const float4 left = *reinterpret_cast<const float4*>(from), right = *reinterpret_cast<const float4*>(from + 4);
                Eight eight = {left.x, left.y, left.z, left.w, right.x, right.y, right.z, right.w};
                for (int k = 0; k < 8; k++) eight.values[k] *= part.scale;
                store_eight(to, eight);
            } else {
                *to = to_bf16(*from * part.scale);
            }
        }
    }
}
EXPORT(scatter_adapter)
