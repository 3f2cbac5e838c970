// The optimiser on flat arrays: sums of squares for the global norm, and AdamW.
//
// Launch: `square_sums` 256 threads, grid x = count / 65536, rounded up (one partial each); `sum_partials` 256 threads, grid x = 1;
// `adamw` 256 threads, grid x = count / 4 / 256, rounded up, at most 4096 (any grid is correct).

#define ADAMW_SUM_VALUES 65536
// Values that share a class, hence a learning rate.
#define ADAMW_CLASS_VALUES 256

// Over a block of up to 1,024 threads, the result in every thread; the order is fixed.
static __device__ double adamw_block_sum(double value) {
    __shared__ double partials[32];
    const unsigned lane = threadIdx.x % 32;
    for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(0xffffffffu, value, distance);
    __syncthreads();
    if (lane == 0) partials[threadIdx.x / 32] = value;
    __syncthreads();
    value = lane < blockDim.x / 32 ? partials[lane] : 0.0;
    for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(0xffffffffu, value, distance);
    return value;
}

extern "C" __global__ void __launch_bounds__(256) square_sums(const float* values, long long count, double* partials) {
    for (long long part = blockIdx.x; part * ADAMW_SUM_VALUES < count; part += gridDim.x) {
        const float* own = values + part * ADAMW_SUM_VALUES;
        const long long left = count - part * ADAMW_SUM_VALUES;
        const int end = left < ADAMW_SUM_VALUES ? (int)left : ADAMW_SUM_VALUES, runs = end / 4;
        double sum = 0.0;
#pragma unroll 8
        for (int run = threadIdx.x; run < runs; run += blockDim.x) {
            const float4 four = reinterpret_cast<const float4*>(own)[run];
            sum += (double)four.x * four.x + (double)four.y * four.y + ((double)four.z * four.z + (double)four.w * four.w);
        }
        const int last = runs * 4 + threadIdx.x;
        if (last < end) sum += (double)own[last] * own[last];
        sum = adamw_block_sum(sum);
        if (threadIdx.x == 0) partials[part] = sum;
    }
}
EXPORT(square_sums)

extern "C" __global__ void __launch_bounds__(256) sum_partials(const double* partials, int count, double* out) {
    double sum = 0.0;
    for (int i = threadIdx.x; i < count; i += blockDim.x) sum += partials[i];
    sum = adamw_block_sum(sum);
    if (threadIdx.x == 0) *out = sum;
}
EXPORT(sum_partials)

struct AdamwFactors {
    float clip, blend_1, keep_2, blend_2, root_correction, eps;
};

// The order of `optim::adamw`, in steps that no compiler may fuse.
static __device__ void adamw_value(float& value, float gradient, float& first, float& second, float keep, float step_size,
                                   const AdamwFactors& factors) {
    gradient = __fmul_rn(gradient, factors.clip);
    value = __fmul_rn(value, keep);
    first = __fadd_rn(first, __fmul_rn(__fadd_rn(gradient, -first), factors.blend_1));
    second = __fadd_rn(__fmul_rn(second, factors.keep_2), __fmul_rn(__fmul_rn(gradient, gradient), factors.blend_2));
    const float root = __fadd_rn(sqrtf(second) / factors.root_correction, factors.eps);
    value = __fadd_rn(value, -(__fmul_rn(step_size, first) / root));
}

extern "C" __global__ void adamw(float* values, float* gradients, float* first, float* second, const unsigned char* classes,
                                 long long count, float clip, float keep, float step_size, float b_keep, float b_step_size,
                                 float blend_1, float keep_2, float blend_2, float root_correction, float eps) {
    const AdamwFactors factors = {clip, blend_1, keep_2, blend_2, root_correction, eps};
    const long long stride = (long long)gridDim.x * blockDim.x * 4;
    for (long long i = ((long long)blockIdx.x * blockDim.x + threadIdx.x) * 4; i < count; i += stride) {
        const bool is_b = classes[i / ADAMW_CLASS_VALUES] != 0;
        const float own_keep = is_b ? b_keep : keep, own_step_size = is_b ? b_step_size : step_size;
        if (i + 4 <= count) {
            float4 value = *reinterpret_cast<float4*>(values + i), gradient = *reinterpret_cast<float4*>(gradients + i);
            float4 mean = *reinterpret_cast<float4*>(first + i), square = *reinterpret_cast<float4*>(second + i);
            adamw_value(value.x, gradient.x, mean.x, square.x, own_keep, own_step_size, factors);
            adamw_value(value.y, gradient.y, mean.y, square.y, own_keep, own_step_size, factors);
            adamw_value(value.z, gradient.z, mean.z, square.z, own_keep, own_step_size, factors);
            adamw_value(value.w, gradient.w, mean.w, square.w, own_keep, own_step_size, factors);
            *reinterpret_cast<float4*>(values + i) = value;
            *reinterpret_cast<float4*>(gradients + i) = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
            *reinterpret_cast<float4*>(first + i) = mean;
            *reinterpret_cast<float4*>(second + i) = square;
        } else {
            for (long long at = i; at < count; at++) {
                adamw_value(values[at], gradients[at], first[at], second[at], own_keep, own_step_size, factors);
                gradients[at] = 0.0f;
            }
        }
    }
}
EXPORT(adamw)
