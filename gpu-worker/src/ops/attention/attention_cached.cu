// Attention of new tokens over the keys and values that their sequences have gathered.
//
// A sequence's cache holds [layers][2][capacity, key heads · dim]: of each layer its keys, then its values.

// Where a row's sequence has its cache, and the row's position in it. The launcher writes these 16 bytes.
struct CachedRow {
    bf16* cache;
    int capacity, position;
};

static __device__ __forceinline__ bf16* cached_keys(const CachedRow& row, int layer, int width) {
    return row.cache + static_cast<long long>(layer) * 2 * row.capacity * width;
}

static __device__ __forceinline__ bf16* cached_values(const CachedRow& row, int layer, int width) {
    return row.cache + (static_cast<long long>(layer) * 2 + 1) * row.capacity * width;
}

// Puts row r of k and v, each `width` wide, at its place in the cache of its sequence.
//
// Launch: 256 threads, grid x = rows * width / 8 / 256, rounded up, at most 4096; any grid is correct.
extern "C" __global__ void store_keys_values(const CachedRow* table, const bf16* k, const bf16* v, int ld, int rows, int width, int layer) {
    const int runs = width / 8;
    const long long count = static_cast<long long>(rows) * runs;
    const long long stride = static_cast<long long>(gridDim.x) * blockDim.x;
    for (long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += stride) {
        const long long r = i / runs;
        const int column = static_cast<int>(i - r * runs) * 8;
        const CachedRow row = table[r];
        const long long to = static_cast<long long>(row.position) * width + column;
        *reinterpret_cast<uint4*>(cached_keys(row, layer, width) + to) = *reinterpret_cast<const uint4*>(k + r * ld + column);
        *reinterpret_cast<uint4*>(cached_values(row, layer, width) + to) = *reinterpret_cast<const uint4*>(v + r * ld + column);
    }
}
EXPORT(store_keys_values)

// Query heads that share what is read of keys and values.
constexpr int ATTENTION_CACHED_HEADS = 4;
// Keys that a lane has under way at once.
constexpr int ATTENTION_CACHED_AHEAD = 4;
constexpr int ATTENTION_CACHED_WARPS = 4;

// Adds what other keys gave: sums of values, and of weights, both relative to a maximum of their own.
struct AttentionCachedScales {
    float own, other, largest;
};

static __device__ __forceinline__ AttentionCachedScales attention_cached_join(float own, float other) {
    const float largest = fmaxf(own, other);
    // Keys may have been none.
    const float shift = largest == -infinity() ? 0.0f : largest;
    return {exp2_approx(own - shift), exp2_approx(other - shift), largest};
}

// Row r of q sees the keys from position − window + 1 (or 0 without a window) up to its position in its own sequence, which are
// stored already. A block takes up to four query heads of a group and the keys of one split of the row's; eight values of a key lie
// in a lane, so that dim / 8 lanes share it, and every group of lanes meets keys of its own with a softmax of its own. These are
// joined at the end, in a fixed order; with more than one split what each gave is left in `partials`
// [rows, query heads, splits, dim] and `stats` [rows, query heads, splits, 2] for `attention_cached_combine`.
template <int dim>
static __device__ __forceinline__ void attention_cached(bf16* out, int ld_out, float* partials, float* stats, const bf16* q, int ld,
                                                        const CachedRow* table, int query_heads, int key_heads, float scale, int window,
                                                        int layer) {
    constexpr int heads_at_once = ATTENTION_CACHED_HEADS;
    constexpr int ahead = ATTENTION_CACHED_AHEAD;
    constexpr int warps = ATTENTION_CACHED_WARPS;
    constexpr int lanes = dim / 8;
    constexpr int slots = 32 / lanes;
    constexpr int step = warps * slots * ahead;
    __shared__ float joined[warps][heads_at_once][dim];
    __shared__ float joined_stats[warps][heads_at_once][2];

    const int group = query_heads / key_heads;
    const int chunks = (group + heads_at_once - 1) / heads_at_once;
    const int key_head = blockIdx.y / chunks;
    const int first_of_group = blockIdx.y % chunks * heads_at_once;
    const int first_head = key_head * group + first_of_group;
    const int heads = min(heads_at_once, group - first_of_group);
    const long long r = blockIdx.x;
    const int split = blockIdx.z, splits = gridDim.z;
    const int warp = threadIdx.x / 32, slot = threadIdx.x % 32 / lanes, column = threadIdx.x % lanes * 8;

    const CachedRow row = table[r];
    const int width = key_heads * dim;
    const bf16* keys = cached_keys(row, layer, width) + key_head * dim + column;
    const bf16* values = cached_values(row, layer, width) + key_head * dim + column;
    const int lowest = window > 0 ? max(0, row.position - window + 1) : 0;
    const int share = ((row.position - lowest) / splits / step + 1) * step;
    const int begin = lowest + split * share;
    const int end = min(begin + share, row.position + 1);

    Eight query[heads_at_once];
    float sums[heads_at_once][8] = {};
    float totals[heads_at_once] = {};
    float maxima[heads_at_once];
#pragma unroll
    for (int h = 0; h < heads_at_once; h++) {
        maxima[h] = -infinity();
        query[h] = load_eight(q + r * ld + (first_head + min(h, heads - 1)) * dim + column);
        for (int d = 0; d < 8; d++) query[h].values[d] *= scale * 1.4426950408889634f;
    }

    for (int first = begin; first < end; first += step) {
        uint4 raw_keys[ahead], raw_values[ahead];
#pragma unroll
        for (int u = 0; u < ahead; u++) {
            // Weights of keys beyond the last are zero, but their values must be numbers.
            const long long at = static_cast<long long>(min(first + (u * warps + warp) * slots + slot, end - 1)) * width;
            raw_keys[u] = *reinterpret_cast<const uint4*>(keys + at);
            raw_values[u] = *reinterpret_cast<const uint4*>(values + at);
        }
        float weights[heads_at_once][ahead];
#pragma unroll
        for (int u = 0; u < ahead; u++) {
            const Eight key = load_eight(reinterpret_cast<const bf16*>(&raw_keys[u]));
            const bool seen = first + (u * warps + warp) * slots + slot < end;
#pragma unroll
            for (int h = 0; h < heads_at_once; h++) {
                if (h < heads) {
                    float score = 0.0f;
#pragma unroll
                    for (int d = 0; d < 8; d++) score += query[h].values[d] * key.values[d];
#pragma unroll
                    for (int distance = lanes / 2; distance > 0; distance /= 2) {
                        score += __shfl_xor_sync(0xffffffffu, score, distance);
                    }
                    weights[h][u] = seen ? score : -infinity();
                }
            }
        }
#pragma unroll
        for (int h = 0; h < heads_at_once; h++) {
            if (h < heads) {
                float largest = maxima[h];
#pragma unroll
                for (int u = 0; u < ahead; u++) largest = fmaxf(largest, weights[h][u]);
                const float shift = largest == -infinity() ? 0.0f : largest;
                const float rescale = exp2_approx(maxima[h] - shift);
                maxima[h] = largest;
                totals[h] *= rescale;
#pragma unroll
                for (int d = 0; d < 8; d++) sums[h][d] *= rescale;
#pragma unroll
                for (int u = 0; u < ahead; u++) {
                    weights[h][u] = exp2_approx(weights[h][u] - shift);
                    totals[h] += weights[h][u];
                }
            }
        }
#pragma unroll
        for (int u = 0; u < ahead; u++) {
            const Eight value = load_eight(reinterpret_cast<const bf16*>(&raw_values[u]));
#pragma unroll
            for (int h = 0; h < heads_at_once; h++) {
                if (h < heads) {
#pragma unroll
                    for (int d = 0; d < 8; d++) sums[h][d] += weights[h][u] * value.values[d];
                }
            }
        }
    }

#pragma unroll
    for (int h = 0; h < heads_at_once; h++) {
        if (h < heads) {
#pragma unroll
            for (int distance = lanes; distance < 32; distance *= 2) {
                const AttentionCachedScales by =
                    attention_cached_join(maxima[h], __shfl_xor_sync(0xffffffffu, maxima[h], distance));
                totals[h] = totals[h] * by.own + __shfl_xor_sync(0xffffffffu, totals[h], distance) * by.other;
#pragma unroll
                for (int d = 0; d < 8; d++) {
                    sums[h][d] = sums[h][d] * by.own + __shfl_xor_sync(0xffffffffu, sums[h][d], distance) * by.other;
                }
                maxima[h] = by.largest;
            }
            if (slot == 0) {
#pragma unroll
                for (int d = 0; d < 8; d++) joined[warp][h][column + d] = sums[h][d];
                if (column == 0) {
                    joined_stats[warp][h][0] = maxima[h];
                    joined_stats[warp][h][1] = totals[h];
                }
            }
        }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < heads * dim; i += warps * 32) {
        const int h = i / dim, d = i % dim;
        float sum = joined[0][h][d], total = joined_stats[0][h][1], largest = joined_stats[0][h][0];
        for (int w = 1; w < warps; w++) {
            const AttentionCachedScales by = attention_cached_join(largest, joined_stats[w][h][0]);
            sum = sum * by.own + joined[w][h][d] * by.other;
            total = total * by.own + joined_stats[w][h][1] * by.other;
            largest = by.largest;
        }
        if (splits == 1) {
            out[r * ld_out + (first_head + h) * dim + d] = to_bf16(sum / total);
        } else {
            const long long part = (r * query_heads + first_head + h) * splits + split;
            partials[part * dim + d] = sum;
            if (d == 0) {
                stats[part * 2] = largest;
                stats[part * 2 + 1] = total;
            }
        }
    }
}

// Launch: 128 threads, grid (rows, key heads * ceil(query heads / key heads / 4), splits); a row with fewer keys than splits leaves
// some of them empty. scale must be positive. q and the caches begin at multiples of 16 bytes.
#define ATTENTION_CACHED(dim)                                                                                                   \
    extern "C" __global__ void __launch_bounds__(ATTENTION_CACHED_WARPS * 32) attention_cached_d##dim(                          \
        bf16* out, int ld_out, float* partials, float* stats, const bf16* q, int ld, const CachedRow* table, int query_heads,   \
        int key_heads, float scale, int window, int layer) {                                                                    \
        attention_cached<dim>(out, ld_out, partials, stats, q, ld, table, query_heads, key_heads, scale, window, layer);        \
    }                                                                                                                           \
    EXPORT(attention_cached_d##dim)

ATTENTION_CACHED(16)
ATTENTION_CACHED(32)
ATTENTION_CACHED(64)
ATTENTION_CACHED(128)
ATTENTION_CACHED(256)

// Joins what the splits gave, from the first to the last.
//
// Launch: 256 threads, grid x = rows * heads * dim / 256, rounded up, at most 4096; any grid is correct.
extern "C" __global__ void attention_cached_combine(bf16* out, int ld_out, const float* partials, const float* stats, int rows, int heads,
                                                    int dim, int splits) {
    const long long count = static_cast<long long>(rows) * heads * dim;
    const long long stride = static_cast<long long>(gridDim.x) * blockDim.x;
    for (long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += stride) {
        const long long head = i / dim;
        const int d = static_cast<int>(i - head * dim);
        float sum = 0.0f, total = 0.0f, largest = -infinity();
        for (int split = 0; split < splits; split++) {
            const long long part = head * splits + split;
            const AttentionCachedScales by = attention_cached_join(largest, stats[part * 2]);
            sum = sum * by.own + partials[part * dim + d] * by.other;
            total = total * by.own + stats[part * 2 + 1] * by.other;
            largest = by.largest;
        }
        out[head / heads * ld_out + head % heads * dim + d] = to_bf16(sum / total);
    }
}
EXPORT(attention_cached_combine)
