// RMS norms, forward and backward. A row of up to 8192 columns is read once and stays in registers.
//
// Launch: 256 threads, grid x = rows / rows per block, rounded up; any grid is correct. Rows per block: 8 for widths up to
// 1024, 2 up to 2048, else 1.

static __device__ uint4 rms_norm_load(const bf16* from) {
    return *reinterpret_cast<const uint4*>(from);
}

static __device__ Eight rms_norm_unpack(const uint4& raw) {
    return {first_of(raw.x), second_of(raw.x), first_of(raw.y), second_of(raw.y),
            first_of(raw.z), second_of(raw.z), first_of(raw.w), second_of(raw.w)};
}

static __device__ Eight rms_norm_weights(const float* from) {
    const float4 left = *reinterpret_cast<const float4*>(from), right = *reinterpret_cast<const float4*>(from + 4);
    return {left.x, left.y, left.z, left.w, right.x, right.y, right.z, right.w};
}

// Sums over the TEAM threads that share a row. Every thread of the block takes part.
template <int TEAM, int COUNT>
static __device__ void rms_norm_sum(float (&sums)[COUNT]) {
    for (int k = 0; k < COUNT; k++) sums[k] = warp_sum(sums[k]);
    if (TEAM == 32) return;
    __shared__ float partials[COUNT][8];
    const int warp = threadIdx.x / 32, first = threadIdx.x / TEAM * (TEAM / 32);
    __syncthreads();
    if (threadIdx.x % 32 == 0) {
        for (int k = 0; k < COUNT; k++) partials[k][warp] = sums[k];
    }
    __syncthreads();
    for (int k = 0; k < COUNT; k++) {
        sums[k] = 0.0f;
        for (int i = 0; i < TEAM / 32; i++) sums[k] += partials[k][first + i];
    }
}

// A thread keeps KEPT runs of eight columns in registers, and reads what is beyond them twice.
template <int TEAM, int KEPT, bool ADD>
static __device__ void rms_norm_rows(bf16* out, int ld_out, const bf16* residual, int ld_residual, const bf16* x, int ld_x,
                                     const float* __restrict__ weight, const unsigned* __restrict__ index, int rows, int width,
                                     float eps) {
    const int lane = threadIdx.x % TEAM, runs = width / 8, rows_per_block = blockDim.x / TEAM;
    for (long long first = (long long)blockIdx.x * rows_per_block; first < rows;
         first += (long long)gridDim.x * rows_per_block) {
        const long long row = first + threadIdx.x / TEAM;
        const int end = row < rows ? runs : 0;
        const bf16* source = x + (end && index ? (long long)index[row] : row) * ld_x;
        const bf16* before = residual + row * ld_residual;
        uint4 kept[KEPT], kept_before[KEPT];
#pragma unroll
        for (int u = 0; u < KEPT; u++) {
            const int run = lane + u * TEAM;
            kept[u] = make_uint4(0, 0, 0, 0);
            if (run < end) kept[u] = rms_norm_load(source + run * 8);
            if (ADD && run < end) kept_before[u] = rms_norm_load(before + run * 8);
        }
        float sums[1] = {0.0f};
        auto square = [&](const uint4& packed) {
            const Eight values = rms_norm_unpack(packed);
            for (int k = 0; k < 8; k++) sums[0] += values.values[k] * values.values[k];
        };
#pragma unroll
        for (int u = 0; u < KEPT; u++) square(kept[u]);
#pragma unroll 1
        for (int run = lane + KEPT * TEAM; run < end; run += TEAM) square(rms_norm_load(source + run * 8));
        rms_norm_sum<TEAM>(sums);
        const float inverse = 1.0f / sqrtf(sums[0] / width + eps);
        auto finish = [&](int run, const uint4& packed, const uint4& packed_before) {
            Eight normal = rms_norm_unpack(packed);
            const Eight weights = rms_norm_weights(weight + run * 8);
            for (int k = 0; k < 8; k++) normal.values[k] *= inverse * weights.values[k];
            if (ADD) {
                const Eight befores = rms_norm_unpack(packed_before);
                for (int k = 0; k < 8; k++) normal.values[k] += befores.values[k];
            }
            store_eight(out + row * ld_out + run * 8, normal);
        };
#pragma unroll
        for (int u = 0; u < KEPT; u++) {
            if (lane + u * TEAM < end) finish(lane + u * TEAM, kept[u], kept_before[u]);
        }
#pragma unroll 1
        for (int run = lane + KEPT * TEAM; run < end; run += TEAM) {
            finish(run, rms_norm_load(source + run * 8), ADD ? rms_norm_load(before + run * 8) : kept[0]);
        }
    }
}

template <bool ADD>
static __device__ void rms_norm_any(bf16* out, int ld_out, const bf16* residual, int ld_residual, const bf16* x, int ld_x,
                                    const float* weight, const unsigned* index, int rows, int width, float eps) {
    if (width <= 1024) {
        rms_norm_rows<32, 4, ADD>(out, ld_out, residual, ld_residual, x, ld_x, weight, index, rows, width, eps);
    } else if (width <= 2048) {
        rms_norm_rows<128, 2, ADD>(out, ld_out, residual, ld_residual, x, ld_x, weight, index, rows, width, eps);
    } else if (width <= 4096) {
        rms_norm_rows<256, 2, ADD>(out, ld_out, residual, ld_residual, x, ld_x, weight, index, rows, width, eps);
    } else {
        rms_norm_rows<256, 4, ADD>(out, ld_out, residual, ld_residual, x, ld_x, weight, index, rows, width, eps);
    }
}

extern "C" __global__ void __launch_bounds__(256, 4)
    rms_norm(bf16* out, int ld_out, const bf16* x, int ld_x, const float* weight, const unsigned* index, int rows, int width,
             float eps) {
    rms_norm_any<false>(out, ld_out, 0, 0, x, ld_x, weight, index, rows, width, eps);
}
EXPORT(rms_norm)

extern "C" __global__ void __launch_bounds__(256, 4)
    rms_norm_add(bf16* out, int ld_out, const bf16* residual, int ld_residual, const bf16* x, int ld_x, const float* weight,
                 int rows, int width, float eps) {
    rms_norm_any<true>(out, ld_out, residual, ld_residual, x, ld_x, weight, 0, rows, width, eps);
}
EXPORT(rms_norm_add)

template <int TEAM, int KEPT>
static __device__ void rms_norm_gradient(bf16* dx, int ld_dx, const bf16* x, int ld_x, const float* __restrict__ weight,
                                         const bf16* dy, int ld_dy, const unsigned* __restrict__ index, int rows, int width,
                                         float eps, int accumulate) {
    const int lane = threadIdx.x % TEAM, runs = width / 8, rows_per_block = blockDim.x / TEAM;
    for (long long first = (long long)blockIdx.x * rows_per_block; first < rows;
         first += (long long)gridDim.x * rows_per_block) {
        const long long row = first + threadIdx.x / TEAM;
        const int end = row < rows ? runs : 0;
        const long long place = end && index ? (long long)index[row] : row;
        const bf16* source = x + place * ld_x;
        const bf16* gradient = dy + row * ld_dy;
        bf16* to = dx + place * ld_dx;
        const uint4 zero = make_uint4(0, 0, 0, 0);
        uint4 kept[KEPT], kept_gradient[KEPT], kept_before[KEPT];
#pragma unroll
        for (int u = 0; u < KEPT; u++) {
            const int run = lane + u * TEAM;
            kept_before[u] = zero;
            if (run < end) {
                kept[u] = rms_norm_load(source + run * 8);
                kept_gradient[u] = rms_norm_load(gradient + run * 8);
                if (accumulate) kept_before[u] = rms_norm_load(to + run * 8);
            }
        }
        float sums[2] = {0.0f, 0.0f};
        auto sum = [&](int run, const uint4& packed, const uint4& packed_gradient) {
            const Eight values = rms_norm_unpack(packed), gradients = rms_norm_unpack(packed_gradient);
            const Eight weights = rms_norm_weights(weight + run * 8);
            for (int k = 0; k < 8; k++) {
                sums[0] += values.values[k] * values.values[k];
                sums[1] += values.values[k] * weights.values[k] * gradients.values[k];
            }
        };
#pragma unroll
        for (int u = 0; u < KEPT; u++) {
            if (lane + u * TEAM < end) sum(lane + u * TEAM, kept[u], kept_gradient[u]);
        }
#pragma unroll 1
        for (int run = lane + KEPT * TEAM; run < end; run += TEAM) {
            sum(run, rms_norm_load(source + run * 8), rms_norm_load(gradient + run * 8));
        }
        rms_norm_sum<TEAM>(sums);
        const float inverse = 1.0f / sqrtf(sums[0] / width + eps);
        const float along = sums[1] * inverse * inverse * inverse / width;
        auto finish = [&](int run, const uint4& packed, const uint4& packed_gradient, const uint4& packed_before) {
            const Eight values = rms_norm_unpack(packed), gradients = rms_norm_unpack(packed_gradient);
            const Eight weights = rms_norm_weights(weight + run * 8);
            Eight result = rms_norm_unpack(packed_before);
            for (int k = 0; k < 8; k++) {
                result.values[k] += gradients.values[k] * weights.values[k] * inverse - values.values[k] * along;
            }
            store_eight(to + run * 8, result);
        };
#pragma unroll
        for (int u = 0; u < KEPT; u++) {
            if (lane + u * TEAM < end) finish(lane + u * TEAM, kept[u], kept_gradient[u], kept_before[u]);
        }
#pragma unroll 1
        for (int run = lane + KEPT * TEAM; run < end; run += TEAM) {
            finish(run, rms_norm_load(source + run * 8), rms_norm_load(gradient + run * 8),
                   accumulate ? rms_norm_load(to + run * 8) : zero);
        }
    }
}

extern "C" __global__ void __launch_bounds__(256, 3)
    rms_norm_backward(bf16* dx, int ld_dx, const bf16* x, int ld_x, const float* weight, const bf16* dy, int ld_dy,
                      const unsigned* index, int rows, int width, float eps, int accumulate) {
    if (width <= 1024) {
        rms_norm_gradient<32, 4>(dx, ld_dx, x, ld_x, weight, dy, ld_dy, index, rows, width, eps, accumulate);
    } else if (width <= 2048) {
        rms_norm_gradient<128, 2>(dx, ld_dx, x, ld_x, weight, dy, ld_dy, index, rows, width, eps, accumulate);
    } else if (width <= 4096) {
        rms_norm_gradient<256, 2>(dx, ld_dx, x, ld_x, weight, dy, ld_dy, index, rows, width, eps, accumulate);
    } else {
        rms_norm_gradient<256, 4>(dx, ld_dx, x, ld_x, weight, dy, ld_dy, index, rows, width, eps, accumulate);
    }
}
EXPORT(rms_norm_backward)
