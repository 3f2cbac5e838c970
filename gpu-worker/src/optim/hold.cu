// Parts of flat arrays that an optimiser must leave as they are.
//
// Launch: 256 threads, grid x = 16, grid y = count, at most 65535; any grid is correct.

// One matrix within an array. The launcher writes these 32 bytes.
struct HoldPart {
    long long at, kept;
    int rows, columns, ld, unused;
};

// Sets the parts of `values` to what was kept of them, one part after another; to zero where nothing was.
extern "C" __global__ void hold_parts(float* values, const float* kept, const HoldPart* parts, int count) {
    const long long thread = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    const long long threads = (long long)gridDim.x * blockDim.x;
    for (int p = blockIdx.y; p < count; p += gridDim.y) {
        const HoldPart part = parts[p];
        for (long long i = thread; i < (long long)part.rows * part.columns; i += threads) {
            const long long row = i / part.columns;
            values[part.at + row * part.ld + (i - row * part.columns)] = kept ? kept[part.kept + i] : 0.0f;
        }
    }
}
EXPORT(hold_parts)
