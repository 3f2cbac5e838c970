// Causal attention by warpgroups (Shah et al., arXiv 2407.08608): what attention.cu does, for the chips that have warpgroups.
//
// Each of two warpgroups keeps the sums of 64 queries in registers and meets the keys block by block, from the last one back. The
// scores of a block and the values' sums of the block before are multiplied at once; the exponentials are computed meanwhile.
//
// Launch: grid (query heads, ceil(rows / 128), 1), 256 threads; by head dim:
//   dim  shared bytes
//    64        49,152
//   128       163,840
// scale must be positive. q, k, v and out begin at multiples of 16 bytes.

#ifdef CLARA_WARPGROUPS

template <int dim>
struct HopperPlan {
    static constexpr int threads = 256;
    static constexpr int queries = 128;
    static constexpr int keys = dim == 64 ? 64 : 128;
    // Where registers allow it, one block computes while the other waits.
    static constexpr int blocks = dim == 64 ? 2 : 1;
    static constexpr int tile_bytes = keys * dim * 2;
    static constexpr int keys_at = queries * dim * 2;
    static constexpr int values_at = keys_at + 2 * tile_bytes;
    static constexpr int shared_bytes = values_at + 2 * tile_bytes;
    static_assert(blocks * (shared_bytes + 1024) <= 228 * 1024, "what blocks may use on sm_90");
};

template <int dim>
__device__ __forceinline__ void attention_hopper(bf16* out, int ld_out, float* log_sums, const bf16* q, const bf16* k, const bf16* v, int ld,
                                                 const unsigned* starts, int rows, int query_heads, int key_heads, float scale, int window) {
    using Plan = HopperPlan<dim>;
    constexpr int keys = Plan::keys;
    constexpr int columns = keys / 8;
    DYNAMIC_SHARED(unsigned char, shared);
    const unsigned base = shared_address(shared);

    const int head = blockIdx.x;
    const int key_head = head / (query_heads / key_heads);
    const int block_row = (gridDim.y - 1 - blockIdx.y) * Plan::queries;
    const int lane = threadIdx.x % 32;
    // The same in all lanes, which the compiler would not know.
    const int warp = __shfl_sync(0xffffffffu, static_cast<int>(threadIdx.x / 32), 0);
    const int group_row = block_row + warp / 4 * 64;
    const int last_row = min(block_row + Plan::queries, rows) - 1;
    const float scale_2 = scale * 1.4426950408889634f;

    // The first key that a query sees.
    const auto first_of_row = [&](int row) {
        const int query = min(row, last_row);
        return max(static_cast<int>(starts[query]), window > 0 ? query - window + 1 : 0);
    };
    const int first_block = first_of_row(block_row) / keys;
    const int last_first = first_of_row(group_row + 63);
    int block = last_row / keys;

    const auto copy_block = [&](const bf16* from, int which, unsigned to) {
        copy_panels_async<dim, keys, Plan::threads>(to, from + static_cast<long long>(which) * keys * ld + key_head * dim, ld,
                                                    rows - which * keys);
    };
    copy_panels_async<dim, Plan::queries, Plan::threads>(base, q + static_cast<long long>(block_row) * ld + head * dim, ld, rows - block_row);
    copy_block(k, block, base + Plan::keys_at);
    copy_async_commit();
    copy_block(v, block, base + Plan::values_at);
    if (block > first_block) {
        copy_block(k, block - 1, base + Plan::keys_at + Plan::tile_bytes);
    }
    copy_async_commit();

    int own_rows[2], first_keys[2];
    float maxima[2], rescale[2];
    float totals[2] = {};
#pragma unroll
    for (int half = 0; half < 2; half++) {
        own_rows[half] = block_row + warp * 16 + half * 8 + lane / 4;
        first_keys[half] = first_of_row(own_rows[half]);
        maxima[half] = -infinity();
    }

    float sums[1][dim / 8][4] = {};
    float scores[columns][4];
    unsigned probabilities[columns / 2][4];
    bool grown = false;
    // Of the scores of a block makes the probabilities, relative to the maxima so far, by which what was summed before must be rescaled.
    const auto soften = [&](int key) {
        if (key + keys - 1 > group_row || key < last_first) {
#pragma unroll
            for (int part = 0; part < 4; part++) {
                const int first = first_keys[part / 2] - key - lane % 4 * 2 - part % 2;
                const int last = own_rows[part / 2] - key - lane % 4 * 2 - part % 2;
#pragma unroll
                for (int column = 0; column < columns; column++) {
                    if (column * 8 < first || column * 8 > last) {
                        scores[column][part] = -infinity();
                    }
                }
            }
        }
        grown = false;
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float maximum = maxima[half];
#pragma unroll
            for (int column = 0; column < columns; column++) {
                maximum = fmaxf(maximum, fmaxf(scores[column][half * 2], scores[column][half * 2 + 1]));
            }
            maximum = fmaxf(maximum, __shfl_xor_sync(0xffffffffu, maximum, 1));
            maximum = fmaxf(maximum, __shfl_xor_sync(0xffffffffu, maximum, 2));
            // A row that has seen no key yet has no maximum.
            const float shift = maximum == -infinity() ? 0.0f : maximum * scale_2;
            rescale[half] = exp2_approx(maxima[half] * scale_2 - shift);
            grown = grown || maximum != maxima[half];
            maxima[half] = maximum;
            float total = 0.0f;
#pragma unroll
            for (int column = 0; column < columns; column++) {
#pragma unroll
                for (int next = 0; next < 2; next++) {
                    float& score = scores[column][half * 2 + next];
                    score = exp2_approx(score * scale_2 - shift);
                    total += score;
                }
            }
            totals[half] = totals[half] * rescale[half] + total;
        }
    };

    const unsigned long long queries_tile = panel_descriptor(base + warp / 4 * 64 * 128, Plan::queries);
    copy_async_wait<1>();
    publish_shared();
    __syncthreads();
    warpgroup_begin(scores);
    panel_product<dim, Plan::queries>(scores, queries_tile, panel_descriptor(base + Plan::keys_at, keys));
    warpgroup_commit();
    warpgroup_wait<0>(scores);
    soften(block * keys);
    to_left_factors(probabilities, scores);

    // Of the values; the next keys are in the other one.
    int stage = 0;
    for (; block > first_block; block--) {
        copy_async_wait<0>();
        publish_shared();
        __syncthreads();
        const unsigned keys_at = base + Plan::keys_at + (stage ^ 1) * Plan::tile_bytes;
        const unsigned values_at = base + Plan::values_at + stage * Plan::tile_bytes;
        warpgroup_begin(scores, probabilities, sums[0]);
        panel_product<dim, Plan::queries>(scores, queries_tile, panel_descriptor(keys_at, keys));
        warpgroup_commit();
        warpgroup_begin();
        panel_product_rows(sums[0], probabilities, panel_descriptor(values_at, keys));
        warpgroup_commit();
        copy_block(v, block - 1, base + Plan::values_at + (stage ^ 1) * Plan::tile_bytes);
        if (block - 1 > first_block) {
            copy_block(k, block - 2, base + Plan::keys_at + stage * Plan::tile_bytes);
        }
        copy_async_commit();

        warpgroup_wait<1>(scores);
        soften((block - 1) * keys);
        warpgroup_wait<0>(sums[0], probabilities);
        // The maximum seldom grows after the first blocks.
        if (__any_sync(0xffffffffu, grown)) {
#pragma unroll
            for (int column = 0; column < dim / 8; column++) {
#pragma unroll
                for (int part = 0; part < 4; part++) {
                    sums[0][column][part] *= rescale[part / 2];
                }
            }
        }
        to_left_factors(probabilities, scores);
        stage ^= 1;
    }
    copy_async_wait<0>();
    publish_shared();
    __syncthreads();
    warpgroup_begin(probabilities, sums[0]);
    panel_product_rows(sums[0], probabilities, panel_descriptor(base + Plan::values_at + stage * Plan::tile_bytes, keys));
    warpgroup_commit();

    float factors[1][2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float total = totals[half];
        total += __shfl_xor_sync(0xffffffffu, total, 1);
        total += __shfl_xor_sync(0xffffffffu, total, 2);
        factors[0][half] = 1.0f / total;
        if (lane % 4 == 0 && own_rows[half] < rows) {
            log_sums[static_cast<long long>(head) * rows + own_rows[half]] = maxima[half] * scale + logf(total);
        }
    }
    warpgroup_wait<0>(sums[0]);
    // No warp reads the queries any more.
    const int warp_row = block_row + warp * 16;
    store_sums<dim, 1>(out + static_cast<long long>(warp_row) * ld_out + head * dim, ld_out, rows - warp_row, shared + warp * 16 * dim * 2,
                       sums, factors);
}

#define ATTENTION_HOPPER(dim)                                                                                                \
    extern "C" __global__ void __launch_bounds__(HopperPlan<dim>::threads, HopperPlan<dim>::blocks) attention_hopper_d##dim( \
        bf16* out, int ld_out, float* log_sums, const bf16* q, const bf16* k, const bf16* v, int ld, const unsigned* starts, \
        int rows, int query_heads, int key_heads, float scale, int window) {                                                 \
        attention_hopper<dim>(out, ld_out, log_sums, q, k, v, ld, starts, rows, query_heads, key_heads, scale, window);      \
    }                                                                                                                        \
    EXPORT(attention_hopper_d##dim)

ATTENTION_HOPPER(64)
ATTENTION_HOPPER(128)

#endif
