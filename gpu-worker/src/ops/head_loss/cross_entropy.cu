// Cross entropy of rows of logits, the gradient in place.
//
// Launch: 512 threads (any number up to 1024 is correct), grid x = rows; any grid is correct.

// Runs of eight logits that a thread has under way at once.
#define CROSS_ENTROPY_AHEAD 3
#define CROSS_ENTROPY_LOG2_E 1.44269504f

// Largest of some logits, and the sum of their exponentials relative to it.
struct CrossEntropySum {
    float largest, sum;
};

static __device__ CrossEntropySum cross_entropy_join(CrossEntropySum a, CrossEntropySum b) {
    const float largest = fmaxf(a.largest, b.largest);
    return {largest, a.sum * exp2_approx((a.largest - largest) * CROSS_ENTROPY_LOG2_E) +
                         b.sum * exp2_approx((b.largest - largest) * CROSS_ENTROPY_LOG2_E)};
}

static __device__ CrossEntropySum cross_entropy_join_warp(CrossEntropySum part) {
    for (int distance = 16; distance > 0; distance /= 2) {
        const CrossEntropySum other = {__shfl_xor_sync(0xffffffffu, part.largest, distance),
                                       __shfl_xor_sync(0xffffffffu, part.sum, distance)};
        part = cross_entropy_join(part, other);
    }
    return part;
}

static __device__ void cross_entropy_take(CrossEntropySum& part, const Eight& eight) {
    float largest = part.largest;
    for (int k = 0; k < 8; k++) largest = fmaxf(largest, eight.values[k]);
    float sum = part.sum * exp2_approx((part.largest - largest) * CROSS_ENTROPY_LOG2_E);
    for (int k = 0; k < 8; k++) sum += exp2_approx((eight.values[k] - largest) * CROSS_ENTROPY_LOG2_E);
    part = {largest, sum};
}

extern "C" __global__ void __launch_bounds__(1024)
    cross_entropy(bf16* logits, int ld, const unsigned* __restrict__ labels, float* losses, int rows, int vocab, float scale,
                  int gradient) {
    // Finite, so that threads without logits join as sums of zero.
    const CrossEntropySum none = {-1e38f, 0.0f};
    __shared__ CrossEntropySum parts[33];
    const int thread = threadIdx.x, threads = blockDim.x, lane = thread % 32, runs = vocab / 8;
    for (long long r = blockIdx.x; r < rows; r += gridDim.x) {
        bf16* row = logits + r * ld;
        const int label = (int)labels[r], last = runs * 8 + thread;
        const float target = labels[r] < (unsigned)vocab ? to_float(row[label]) : __uint_as_float(0x7fc00000u);
        CrossEntropySum part = none;
        for (int first = thread; first < runs; first += threads * CROSS_ENTROPY_AHEAD) {
            Eight ahead[CROSS_ENTROPY_AHEAD];
#pragma unroll
            for (int u = 0; u < CROSS_ENTROPY_AHEAD; u++) {
                if (first + u * threads < runs) ahead[u] = load_eight(row + (first + u * threads) * 8);
            }
#pragma unroll
            for (int u = 0; u < CROSS_ENTROPY_AHEAD; u++) {
                if (first + u * threads < runs) cross_entropy_take(part, ahead[u]);
            }
        }
        if (last < vocab) part = cross_entropy_join(part, {to_float(row[last]), 1.0f});
        part = cross_entropy_join_warp(part);
        if (lane == 0) parts[thread / 32] = part;
        __syncthreads();
        if (thread < 32) {
            part = cross_entropy_join_warp(lane < threads / 32 ? parts[lane] : none);
            if (thread == 0) {
                parts[32] = part;
                losses[r] = part.largest - target + logf(part.sum);
            }
        }
        __syncthreads();
        if (!gradient) continue;
        const float largest = parts[32].largest, factor = scale / parts[32].sum;
        auto slope = [&](float logit, int column) {
            const float share = exp2_approx((logit - largest) * CROSS_ENTROPY_LOG2_E) * factor;
            return column == label ? share - scale : share;
        };
        // Last columns first: they are still in the caches.
        if (last < vocab) row[last] = to_bf16(slope(to_float(row[last]), last));
        for (int first = runs - 1 - thread; first >= 0; first -= threads * CROSS_ENTROPY_AHEAD) {
            Eight ahead[CROSS_ENTROPY_AHEAD];
#pragma unroll
            for (int u = 0; u < CROSS_ENTROPY_AHEAD; u++) {
                if (first >= u * threads) ahead[u] = load_eight(row + (first - u * threads) * 8);
            }
#pragma unroll
            for (int u = 0; u < CROSS_ENTROPY_AHEAD; u++) {
                const int run = first - u * threads;
                if (run < 0) continue;
                for (int k = 0; k < 8; k++) ahead[u].values[k] = slope(ahead[u].values[k], run * 8 + k);
                store_eight(row + run * 8, ahead[u]);
            }
        }
    }
}
EXPORT(cross_entropy)
