// Magnitudes of outputs: what the outputs are multiplied by, and the way there and back.
//
// Launch: `scale_columns` 256 threads, grid x = rows * width / 8 / 256, rounded up, at most 4096; any grid is correct.
// `scale_columns_backward` 256 threads, grid x = width / 256, rounded up, y = rows / 128, rounded up. `add_column_sums` 256
// threads, grid x = width / 256, rounded up. `row_squares` and `magnitude_gains` 256 threads, grid x = rows / 8, rounded up; any
// grid is correct. Widths are multiples of 8.

#define MAGNITUDE_COLUMNS 256
// Rows whose products one thread block sums.
#define MAGNITUDE_ROWS 128
#define MAGNITUDE_LANES (MAGNITUDE_COLUMNS / 8)
#define MAGNITUDE_TEAMS (256 / MAGNITUDE_LANES)

static __device__ Eight magnitude_floats(const float* from) {
    const float4 left = *reinterpret_cast<const float4*>(from), right = *reinterpret_cast<const float4*>(from + 4);
    return {left.x, left.y, left.z, left.w, right.x, right.y, right.z, right.w};
}

// out = gains ⊙ x, plus the bias and the residual where they are not null; out may be either operand.
extern "C" __global__ void scale_columns(bf16* out, int ld_out, const bf16* x, int ld_x, const float* gains, const bf16* bias,
                                         const bf16* residual, int ld_residual, int rows, int width) {
    const int runs = width / 8;
    const long long count = (long long)rows * runs;
    const long long stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride) {
        const long long row = i / runs;
        const int column = (int)(i - row * runs) * 8;
        Eight value = load_eight(x + row * ld_x + column);
        const Eight gain = magnitude_floats(gains + column);
        for (int k = 0; k < 8; k++) value.values[k] *= gain.values[k];
        if (bias) {
            const Eight more = load_eight(bias + column);
            for (int k = 0; k < 8; k++) value.values[k] += more.values[k];
        }
        if (residual) {
            const Eight more = load_eight(residual + row * ld_residual + column);
            for (int k = 0; k < 8; k++) value.values[k] += more.values[k];
        }
        store_eight(out + row * ld_out + column, value);
    }
}
EXPORT(scale_columns)

// d_x = gains ⊙ d, and for each run of rows its sums over d ⊙ x to `partials` [runs, width]; d_x may be d.
extern "C" __global__ void __launch_bounds__(256)
    scale_columns_backward(bf16* d_x, int ld_d_x, const bf16* d, int ld_d, const bf16* x, int ld_x, const float* gains,
                           float* partials, int rows, int width) {
    __shared__ float sums[MAGNITUDE_TEAMS][MAGNITUDE_COLUMNS];
    const int lane = threadIdx.x % MAGNITUDE_LANES, team = threadIdx.x / MAGNITUDE_LANES;
    const int column = blockIdx.x * MAGNITUDE_COLUMNS + lane * 8;
    const long long first = (long long)blockIdx.y * MAGNITUDE_ROWS;
    const long long end = first + MAGNITUDE_ROWS < rows ? first + MAGNITUDE_ROWS : rows;
    Eight sum = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
    if (column < width) {
        const Eight gain = magnitude_floats(gains + column);
#pragma unroll 4
        for (long long row = first + team; row < end; row += MAGNITUDE_TEAMS) {
            Eight gradient = load_eight(d + row * ld_d + column);
            const Eight plain = load_eight(x + row * ld_x + column);
            for (int k = 0; k < 8; k++) {
                sum.values[k] += gradient.values[k] * plain.values[k];
                gradient.values[k] *= gain.values[k];
            }
            store_eight(d_x + row * ld_d_x + column, gradient);
        }
    }
    for (int k = 0; k < 8; k++) sums[team][lane * 8 + k] = sum.values[k];
    __syncthreads();
    const int own = blockIdx.x * MAGNITUDE_COLUMNS + threadIdx.x;
    if (own < width) {
        float total = 0.0f;
        for (int t = 0; t < MAGNITUDE_TEAMS; t++) total += sums[t][threadIdx.x];
        partials[(long long)blockIdx.y * width + own] = total;
    }
}
EXPORT(scale_columns_backward)

// gradients += the sums of all runs over the norms; nothing where a norm is infinite.
extern "C" __global__ void add_column_sums(float* gradients, const float* partials, const float* norms, int runs, int width) {
    const int column = blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= width) return;
    float sum = 0.0f;
    for (int run = 0; run < runs; run++) sum += partials[(long long)run * width + column];
    gradients[column] += sum / norms[column];
}
EXPORT(add_column_sums)

// The sum of squares of each row, by a warp.
extern "C" __global__ void row_squares(float* out, const bf16* x, int ld_x, int rows, int width) {
    const int lane = threadIdx.x % 32, warps = gridDim.x * (blockDim.x / 32);
    for (int row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32; row < rows; row += warps) {
        const bf16* from = x + (long long)row * ld_x;
        float sum = 0.0f;
        for (int column = lane * 8; column < width; column += 256) {
            const Eight eight = load_eight(from + column);
            for (int k = 0; k < 8; k++) sum += eight.values[k] * eight.values[k];
        }
        sum = warp_sum(sum);
        if (lane == 0) out[row] = sum;
    }
}
EXPORT(row_squares)

// For each output the length of its row of W + scale·B·A, and the magnitude over it. A warp takes an output: the length comes from
// `squares` ‖W_j‖², `projected` (W·Aᵀ)_j and `inner` A·Aᵀ, both with rows of `ld` values, and b [rows, rank].
extern "C" __global__ void magnitude_gains(float* gains, float* norms, const float* magnitudes, const float* squares,
                                           const float* b, const float* projected, const float* inner, int ld, int rows, int rank,
                                           float scale) {
    const int lane = threadIdx.x % 32, warps = gridDim.x * (blockDim.x / 32);
    for (int row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32; row < rows; row += warps) {
        const float* own = b + (long long)row * rank;
        float sum = 0.0f;
        for (int r = lane; r < rank; r += 32) {
            float through = 0.0f;
            for (int q = 0; q < rank; q++) through += own[q] * inner[(long long)q * ld + r];
            sum += own[r] * (2.0f * projected[(long long)row * ld + r] + scale * through);
        }
        const float square = squares[row] + scale * warp_sum(sum);
        if (lane == 0) {
            const float norm = sqrtf(fmaxf(square, 0.0f));
            norms[row] = norm;
            gains[row] = magnitudes[row] / norm;
        }
    }
}
EXPORT(magnitude_gains)
