// Norms and rotary embedding of heads, forward and backward.
//
// Launch: 256 threads, grid x = rows * (query_heads + 2 * key_heads) * dim / 16 / 256, rounded up, at most 4096; any grid is
// correct.

// A thread's share of a head: RUN values of its left half and those they rotate with, in the right half. Runs of eight ask for
// halves of whole runs, aligned; runs of four take any half and are zero beyond it.
template <int RUN>
struct RopePairs {
    float left[RUN], right[RUN];
};

template <int RUN>
static __device__ RopePairs<RUN> rope_load(const bf16* head, int at, int half) {
    RopePairs<RUN> pairs;
    if (RUN == 8) {
        const Eight left = load_eight(head + at), right = load_eight(head + half + at);
        for (int k = 0; k < RUN; k++) {
            pairs.left[k] = left.values[k];
            pairs.right[k] = right.values[k];
        }
    } else {
        for (int k = 0; k < RUN; k++) {
            pairs.left[k] = at + k < half ? to_float(head[at + k]) : 0.0f;
            pairs.right[k] = at + k < half ? to_float(head[half + at + k]) : 0.0f;
        }
    }
    return pairs;
}

template <int RUN>
static __device__ void rope_store(bf16* head, int at, int half, const RopePairs<RUN>& pairs) {
    if (RUN == 8) {
        Eight left, right;
        for (int k = 0; k < RUN; k++) {
            left.values[k] = pairs.left[k];
            right.values[k] = pairs.right[k];
        }
        store_eight(head + at, left);
        store_eight(head + half + at, right);
    } else {
        for (int k = 0; k < RUN; k++) {
            if (at + k < half) {
                head[at + k] = to_bf16(pairs.left[k]);
                head[half + at + k] = to_bf16(pairs.right[k]);
            }
        }
    }
}

// RUN values of a table or weight in f32; zero beyond `half`.
template <int RUN>
static __device__ void rope_floats(float (&to)[RUN], const float* from, int at, int half) {
    if (RUN == 8) {
        for (int k = 0; k < RUN; k += 4) {
            const float4 part = *reinterpret_cast<const float4*>(from + at + k);
            to[k] = part.x;
            to[k + 1] = part.y;
            to[k + 2] = part.z;
            to[k + 3] = part.w;
        }
    } else {
        for (int k = 0; k < RUN; k++) to[k] = at + k < half ? from[at + k] : 0.0f;
    }
}

// Rotates by the angles of a position, given their sines times 1, or back with -1.
template <int RUN>
static __device__ void rope_rotate(RopePairs<RUN>& pairs, const float* cosines, const float* sines, int at, int half, float sign) {
    float cosine[RUN], sine[RUN];
    rope_floats(cosine, cosines, at, half);
    rope_floats(sine, sines, at, half);
    for (int k = 0; k < RUN; k++) {
        const float left = pairs.left[k], right = pairs.right[k], signed_sine = sine[k] * sign;
        pairs.left[k] = left * cosine[k] - right * signed_sine;
        pairs.right[k] = right * cosine[k] + left * signed_sine;
    }
}

// Sum over the `lanes` neighbours that share a head, a power of two. The whole warp takes part.
static __device__ float rope_sum(float value, int lanes) {
    for (int distance = lanes / 2; distance > 0; distance /= 2) value += __shfl_xor_sync(0xffffffffu, value, distance);
    return value;
}

// Threads that share a head: a power of two, some of which may have nothing to do.
static __device__ int rope_lanes(int half, int run) {
    int lanes = 1;
    while (lanes * run < half) lanes *= 2;
    return lanes;
}

template <int RUN>
static __device__ void rope_forward(bf16* out, int ld_out, const bf16* x, int ld_x, const float* cosines, const float* sines,
                                    const unsigned* positions, const float* query_weight, const float* key_weight, int rows,
                                    int query_heads, int key_heads, int dim, float eps) {
    const int half = dim / 2, lanes = rope_lanes(half, RUN), heads_per_block = blockDim.x / lanes;
    const int at = threadIdx.x % lanes * RUN, rotated = query_heads + key_heads;
    const int heads = out == x ? rotated : rotated + key_heads;
    const long long count = (long long)rows * heads;
    for (long long first = (long long)blockIdx.x * heads_per_block; first < count;
         first += (long long)gridDim.x * heads_per_block) {
        const long long i = first + threadIdx.x / lanes, row = i / heads;
        const int head = (int)(i - row * heads);
        const bool has_work = i < count && at < half;
        const float* weight = head < query_heads ? query_weight : key_weight;
        RopePairs<RUN> pairs = {};
        if (has_work) pairs = rope_load<RUN>(x + row * ld_x + (long long)head * dim, at, half);
        if (query_weight) {
            float sum = 0.0f;
            for (int k = 0; k < RUN; k++) sum += pairs.left[k] * pairs.left[k] + pairs.right[k] * pairs.right[k];
            const float inverse = 1.0f / sqrtf(rope_sum(sum, lanes) / dim + eps);
            if (has_work && head < rotated) {
                float left[RUN], right[RUN];
                rope_floats(left, weight, at, half);
                rope_floats(right, weight + half, at, half);
                for (int k = 0; k < RUN; k++) {
                    pairs.left[k] *= inverse * left[k];
                    pairs.right[k] *= inverse * right[k];
                }
            }
        }
        if (has_work) {
            if (head < rotated) {
                const long long angles = (long long)positions[row] * half;
                rope_rotate(pairs, cosines + angles, sines + angles, at, half, 1.0f);
            }
            rope_store(out + row * ld_out + (long long)head * dim, at, half, pairs);
        }
    }
}

template <int RUN>
static __device__ void rope_backward(bf16* d, int ld_d, const bf16* x, int ld_x, const float* cosines, const float* sines,
                                     const unsigned* positions, const float* query_weight, const float* key_weight, int rows,
                                     int query_heads, int key_heads, int dim, float eps) {
    const int half = dim / 2, lanes = rope_lanes(half, RUN), heads_per_block = blockDim.x / lanes;
    const int at = threadIdx.x % lanes * RUN, heads = query_heads + key_heads;
    const long long count = (long long)rows * heads;
    for (long long first = (long long)blockIdx.x * heads_per_block; first < count;
         first += (long long)gridDim.x * heads_per_block) {
        const long long i = first + threadIdx.x / lanes, row = i / heads;
        const int head = (int)(i - row * heads);
        const bool has_work = i < count && at < half;
        const float* weight = head < query_heads ? query_weight : key_weight;
        RopePairs<RUN> pairs = {}, raw = {};
        if (has_work) {
            const long long angles = (long long)positions[row] * half;
            pairs = rope_load<RUN>(d + row * ld_d + (long long)head * dim, at, half);
            rope_rotate(pairs, cosines + angles, sines + angles, at, half, -1.0f);
        }
        if (query_weight) {
            float squares = 0.0f, dot = 0.0f;
            if (has_work) {
                float left[RUN], right[RUN];
                raw = rope_load<RUN>(x + row * ld_x + (long long)head * dim, at, half);
                rope_floats(left, weight, at, half);
                rope_floats(right, weight + half, at, half);
                for (int k = 0; k < RUN; k++) {
                    pairs.left[k] *= left[k];
                    pairs.right[k] *= right[k];
                    squares += raw.left[k] * raw.left[k] + raw.right[k] * raw.right[k];
                    dot += raw.left[k] * pairs.left[k] + raw.right[k] * pairs.right[k];
                }
            }
            const float inverse = 1.0f / sqrtf(rope_sum(squares, lanes) / dim + eps);
            const float along = rope_sum(dot, lanes) * inverse * inverse * inverse / dim;
            for (int k = 0; k < RUN; k++) {
                pairs.left[k] = pairs.left[k] * inverse - raw.left[k] * along;
                pairs.right[k] = pairs.right[k] * inverse - raw.right[k] * along;
            }
        }
        if (has_work) rope_store(d + row * ld_d + (long long)head * dim, at, half, pairs);
    }
}

extern "C" __global__ void __launch_bounds__(256)
    head_norm_rope(bf16* out, int ld_out, const bf16* x, int ld_x, const float* cosines, const float* sines,
                   const unsigned* positions, const float* query_weight, const float* key_weight, int rows, int query_heads,
                   int key_heads, int dim, float eps) {
    if (dim % 16 == 0) {
        rope_forward<8>(out, ld_out, x, ld_x, cosines, sines, positions, query_weight, key_weight, rows, query_heads, key_heads,
                        dim, eps);
    } else {
        rope_forward<4>(out, ld_out, x, ld_x, cosines, sines, positions, query_weight, key_weight, rows, query_heads, key_heads,
                        dim, eps);
    }
}
EXPORT(head_norm_rope)

extern "C" __global__ void __launch_bounds__(256)
    head_norm_rope_backward(bf16* d, int ld_d, const bf16* x, int ld_x, const float* cosines, const float* sines,
                            const unsigned* positions, const float* query_weight, const float* key_weight, int rows,
                            int query_heads, int key_heads, int dim, float eps) {
    if (dim % 16 == 0) {
        rope_backward<8>(d, ld_d, x, ld_x, cosines, sines, positions, query_weight, key_weight, rows, query_heads, key_heads, dim,
                         eps);
    } else {
        rope_backward<4>(d, ld_d, x, ld_x, cosines, sines, positions, query_weight, key_weight, rows, query_heads, key_heads, dim,
                         eps);
    }
}
EXPORT(head_norm_rope_backward)
