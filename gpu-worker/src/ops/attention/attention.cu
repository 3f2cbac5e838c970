// Causal attention within documents: key j is seen by query i iff starts[i] ≤ j ≤ i and (window == 0 or i − j < window).
//
// A block takes 128 queries of one head; each warp keeps its rows' sums in registers and meets the keys block by block, from the
// last one back, with the softmax rescaled as the maximum grows (Dao, arXiv 2307.08691). Keys and values of the next block are
// copied while this one is computed. Query blocks run from the last to the first: those that see most keys begin first.
//
// Launch: grid (query heads, ceil(rows / 128), 1), with, by head dim:
//   dim   threads  shared bytes
//    16       128        12,800
//    32       128        25,088
//    64       128        49,664
//   128       128        98,816
//   256       256       131,584
// scale must be positive. q, k, v and out begin at multiples of 16 bytes.

template <int dim>
struct AttentionPlan {
    // Of 16 query rows, for each warp: two share what is loaded of keys and values, where the registers allow it.
    static constexpr int tiles = dim <= 128 ? 2 : 1;
    static constexpr int threads = dim <= 128 ? 128 : 256;
    static constexpr int queries = threads / 32 * tiles * 16;
    static constexpr int keys = dim <= 128 ? 64 : 32;
    static constexpr int in_registers = dim <= 64 ? dim / 16 : 0;
    static constexpr int tile_bytes = keys * dim * 2;
    static constexpr int values_at = queries * dim * 2 + tile_bytes;
    static constexpr int first_keys_at = queries * dim * 2 + 4 * tile_bytes;
    static constexpr int shared_bytes = first_keys_at + queries * 4;
    static_assert(shared_bytes <= 163 * 1024, "what a block may use on sm_80");
};

template <int dim>
__device__ __forceinline__ void attention(bf16* out, int ld_out, float* log_sums, const bf16* q, const bf16* k, const bf16* v, int ld,
                                          const unsigned* starts, int rows, int query_heads, int key_heads, float scale, int window) {
    using Plan = AttentionPlan<dim>;
    constexpr int tiles = Plan::tiles;
    constexpr int keys = Plan::keys;
    DYNAMIC_SHARED(unsigned char, shared);
    const unsigned base = shared_address(shared);
    int* first_keys = reinterpret_cast<int*>(shared + Plan::first_keys_at);

    const int head = blockIdx.x;
    const int key_head = head / (query_heads / key_heads);
    const int block_row = (gridDim.y - 1 - blockIdx.y) * Plan::queries;
    const int lane = threadIdx.x % 32;
    const int warp_row = threadIdx.x / 32 * tiles * 16;
    const int last_row = min(block_row + Plan::queries, rows) - 1;
    const int lowest = max(static_cast<int>(starts[block_row]), window > 0 ? block_row - window + 1 : 0);
    const int first_block = lowest / keys;
    int block = last_row / keys;

    k += key_head * dim;
    v += key_head * dim;
    const auto copy_keys = [&](int which, int stage) {
        const long long from = static_cast<long long>(which) * keys * ld;
        const unsigned to = base + Plan::queries * dim * 2 + stage * 2 * Plan::tile_bytes;
        copy_tile_async<dim, keys, Plan::threads>(to, k + from, ld, rows - which * keys);
        copy_tile_async<dim, keys, Plan::threads>(to + Plan::tile_bytes, v + from, ld, rows - which * keys);
        copy_async_commit();
    };
    copy_tile_async<dim, Plan::queries, Plan::threads>(base, q + static_cast<long long>(block_row) * ld + head * dim, ld, rows - block_row);
    copy_keys(block, 0);
    if (threadIdx.x < Plan::queries) {
        const int query = min(block_row + static_cast<int>(threadIdx.x), last_row);
        first_keys[threadIdx.x] = max(static_cast<int>(starts[query]), window > 0 ? query - window + 1 : 0);
    }

    const unsigned left = base + warp_row * dim * 2 + tile_left_offset<dim>();
    unsigned kept[tiles][Plan::in_registers > 0 ? Plan::in_registers : 1][4];
    if constexpr (Plan::in_registers > 0) {
        copy_async_wait<0>();
        __syncthreads();
        tile_keep<dim, tiles, Plan::in_registers>(kept, left);
    }

    const float scale_2 = scale * 1.4426950408889634f;
    float sums[tiles][dim / 8][4] = {};
    float totals[tiles][2] = {};
    float maxima[tiles][2];
#pragma unroll
    for (int tile = 0; tile < tiles; tile++) {
        maxima[tile][0] = -infinity();
        maxima[tile][1] = -infinity();
    }

    for (int stage = 0;; block--, stage ^= 1) {
        copy_async_wait<0>();
        __syncthreads();
        if (block > first_block) {
            copy_keys(block - 1, stage ^ 1);
        }
        const int key = block * keys;
        const int query = block_row + warp_row;
        if (key <= query + tiles * 16 - 1 && key + keys > first_keys[warp_row]) {
            const unsigned keys_tile = base + Plan::queries * dim * 2 + stage * 2 * Plan::tile_bytes;
            float scores[tiles][keys / 8][4] = {};
            tile_product<dim, tiles, keys, Plan::in_registers>(scores, kept, left, keys_tile + tile_right_offset<dim>());

            if (key + keys - 1 > query || key < first_keys[warp_row + tiles * 16 - 1]) {
                attention_mask<tiles, keys>(scores, first_keys, warp_row, block_row, key);
            }

            float rescale[tiles][2];
            bool grown = false;
#pragma unroll
            for (int tile = 0; tile < tiles; tile++) {
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    float maximum = maxima[tile][half];
#pragma unroll
                    for (int column = 0; column < keys / 8; column++) {
                        maximum = fmaxf(maximum, fmaxf(scores[tile][column][half * 2], scores[tile][column][half * 2 + 1]));
                    }
                    maximum = fmaxf(maximum, __shfl_xor_sync(0xffffffffu, maximum, 1));
                    maximum = fmaxf(maximum, __shfl_xor_sync(0xffffffffu, maximum, 2));
                    // A row that has seen no key yet has no maximum.
                    const float shift = maximum == -infinity() ? 0.0f : maximum * scale_2;
                    rescale[tile][half] = exp2_approx(maxima[tile][half] * scale_2 - shift);
                    grown = grown || maximum != maxima[tile][half];
                    maxima[tile][half] = maximum;
                    float total = 0.0f;
#pragma unroll
                    for (int column = 0; column < keys / 8; column++) {
#pragma unroll
                        for (int next = 0; next < 2; next++) {
                            float& score = scores[tile][column][half * 2 + next];
                            score = exp2_approx(score * scale_2 - shift);
                            total += score;
                        }
                    }
                    totals[tile][half] = totals[tile][half] * rescale[tile][half] + total;
                }
            }
            // The maximum seldom grows after the first blocks.
            if (__any_sync(0xffffffffu, grown)) {
#pragma unroll
                for (int tile = 0; tile < tiles; tile++) {
#pragma unroll
                    for (int column = 0; column < dim / 8; column++) {
#pragma unroll
                        for (int part = 0; part < 4; part++) {
                            sums[tile][column][part] *= rescale[tile][part / 2];
                        }
                    }
                }
            }

#pragma unroll
            for (int step = 0; step < keys / 16; step++) {
                unsigned probabilities[tiles][4];
                to_left_factor<tiles, keys>(probabilities, scores, step);
                tile_product_step<dim, tiles>(sums, probabilities, keys_tile + Plan::tile_bytes + tile_left_offset<dim>(), step * 16);
            }
        }
        if (block == first_block) {
            break;
        }
    }

    float factors[tiles][2];
#pragma unroll
    for (int tile = 0; tile < tiles; tile++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float total = totals[tile][half];
            total += __shfl_xor_sync(0xffffffffu, total, 1);
            total += __shfl_xor_sync(0xffffffffu, total, 2);
            factors[tile][half] = 1.0f / total;
            const int row = block_row + warp_row + tile * 16 + half * 8 + lane / 4;
            if (lane % 4 == 0 && row < rows) {
                log_sums[static_cast<long long>(head) * rows + row] = maxima[tile][half] * scale + logf(total);
            }
        }
    }
    // The warp's own queries are needed no more.
    store_sums<dim, tiles>(out + static_cast<long long>(block_row + warp_row) * ld_out + head * dim, ld_out, rows - block_row - warp_row,
                           shared + warp_row * dim * 2, sums, factors);
}

#define ATTENTION(dim)                                                                                                       \
    extern "C" __global__ void __launch_bounds__(AttentionPlan<dim>::threads) attention_d##dim(                              \
        bf16* out, int ld_out, float* log_sums, const bf16* q, const bf16* k, const bf16* v, int ld, const unsigned* starts, \
        int rows, int query_heads, int key_heads, float scale, int window) {                                                 \
        attention<dim>(out, ld_out, log_sums, q, k, v, ld, starts, rows, query_heads, key_heads, scale, window);             \
    }                                                                                                                        \
    EXPORT(attention_d##dim)

ATTENTION(16)
ATTENTION(32)
ATTENTION(64)
ATTENTION(128)
ATTENTION(256)
