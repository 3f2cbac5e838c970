// Attention's gradients by warpgroups (Dao, arXiv 2307.08691; Shah et al., arXiv 2407.08608), each value summed by one thread in a
// fixed order: what attention_backward.cu and attention_backward_keys.cu do, for the chips that have warpgroups.
//
// Launch of attention_backward_keys_hopper: grid (key heads, ceil(rows / 128), 1), 256 threads; by head dim:
//   dim  shared bytes
//    64       134,144
//   128       165,376
// Launch of attention_backward_queries_hopper: grid (query heads, ceil(rows / 128), 1), 256 threads; by head dim:
//   dim  shared bytes
//    64       131,072
//   128       163,840
// q, k, v, d_out, dk, dv and dq begin at multiples of 16 bytes.

#ifdef CLARA_WARPGROUPS

// Each of two warpgroups keeps the gradients of 64 keys in registers, and meets the queries block by block. Scores are computed with a
// row for each key, so that what the exponentials leave is a left factor as it is. The last products of a block run on while the
// next block's begin.
template <int dim>
struct HopperKeysPlan {
    static constexpr int threads = 256;
    static constexpr int keys = 128;
    static constexpr int queries = dim == 64 ? 128 : 64;
    // Of the block before, which products may still read, of this one, and of the next.
    static constexpr int stages = 3;
    static constexpr int left_bytes = keys * dim * 2;
    static constexpr int tile_bytes = queries * dim * 2;
    static constexpr int stages_at = 2 * left_bytes;
    static constexpr int rows_at = stages_at + stages * 2 * tile_bytes;
    static constexpr int shared_bytes = rows_at + stages * 2 * queries * 4;
    static_assert(shared_bytes <= 227 * 1024, "what a block may use on sm_90");
    static_assert(threads >= 2 * queries, "a thread for each value of the rows");
    static_assert(keys % queries == 0, "the first block of queries begins with the keys");
};

template <int dim>
__device__ __forceinline__ void attention_backward_keys_hopper(bf16* dk, bf16* dv, int ld_d, const bf16* q, const bf16* k, const bf16* v,
                                                               int ld, const bf16* d_out, int ld_d_out, const float* log_sums,
                                                               const float* delta, const unsigned* ends, int rows, int query_heads,
                                                               int key_heads, float scale, int window) {
    using Plan = HopperKeysPlan<dim>;
    constexpr int queries = Plan::queries;
    constexpr int columns = queries / 8;
    DYNAMIC_SHARED(unsigned char, shared);
    const unsigned base = shared_address(shared);

    const int key_head = blockIdx.x;
    const int group = query_heads / key_heads;
    const int block_key = blockIdx.y * Plan::keys;
    const int lane = threadIdx.x % 32;
    // The same in all lanes, which the compiler would not know.
    const int warp = __shfl_sync(0xffffffffu, static_cast<int>(threadIdx.x / 32), 0);
    const int group_key = block_key + warp / 4 * 64;
    const float scale_2 = scale * 1.4426950408889634f;

    // One past the last query that sees a key.
    const auto limit_of = [&](int key) {
        const int end = static_cast<int>(ends[min(key, rows - 1)]);
        return window > 0 && window < end - key ? key + window : end;
    };
    const int end = limit_of(min(block_key + Plan::keys, rows) - 1);
    const int first_limit = limit_of(group_key);
    const int own_key = block_key + warp * 16 + lane / 4;
    const int limits[2] = {limit_of(own_key), limit_of(own_key + 8)};

    // Of the block that is copied next: its head and first query.
    int next_head = key_head * group;
    int next_query = block_key;
    // Of one of its rows: the logarithm, or the sum of output · gradient.
    float row_value = 0.0f;
    const auto copy_queries = [&](int stage) {
        const unsigned to = base + Plan::stages_at + stage * 2 * Plan::tile_bytes;
        copy_panels_async<dim, queries, Plan::threads>(to, q + static_cast<long long>(next_query) * ld + next_head * dim, ld,
                                                       rows - next_query);
        copy_panels_async<dim, queries, Plan::threads>(to + Plan::tile_bytes,
                                                       d_out + static_cast<long long>(next_query) * ld_d_out + next_head * dim, ld_d_out,
                                                       rows - next_query);
        copy_async_commit();
        // Not used before store_row_value, so that nothing waits for it here.
        const int row = next_query + threadIdx.x % queries;
        if (threadIdx.x < 2 * queries && row < rows) {
            row_value = (threadIdx.x < queries ? log_sums : delta)[static_cast<long long>(next_head) * rows + row];
        }
    };
    // After copy_queries and the work of a step; moves on to the next block.
    const auto store_row_value = [&](int stage) {
        const bool valid = next_query + static_cast<int>(threadIdx.x % queries) < rows;
        if (threadIdx.x < queries) {
            // A row past the end has no probabilities.
            row_value = valid ? row_value * 1.4426950408889634f : infinity();
        } else if (!valid) {
            row_value = 0.0f;
        }
        if (threadIdx.x < 2 * queries) {
            reinterpret_cast<float*>(shared + Plan::rows_at)[stage * 2 * queries + threadIdx.x] = row_value;
        }
        next_query += queries;
        if (next_query >= end) {
            next_query = block_key;
            next_head++;
        }
    };

    const long long from = static_cast<long long>(block_key) * ld + key_head * dim;
    copy_panels_async<dim, Plan::keys, Plan::threads>(base, k + from, ld, rows - block_key);
    copy_panels_async<dim, Plan::keys, Plan::threads>(base + Plan::left_bytes, v + from, ld, rows - block_key);
    copy_queries(0);
    store_row_value(0);

    const unsigned group_address = base + warp / 4 * 64 * 128;
    const unsigned long long keys_tile = panel_descriptor(group_address, Plan::keys);
    const unsigned long long values_tile = panel_descriptor(group_address + Plan::left_bytes, Plan::keys);

    float dk_sums[1][dim / 8][4] = {};
    float dv_sums[1][dim / 8][4] = {};
    float scores[columns][4];
    float gradient[columns][4];
    unsigned probabilities[columns / 2][4];
    unsigned factors[columns / 2][4];
    const int steps = (end - block_key + queries - 1) / queries * group;
    int query = block_key;
    int stage = 0;
    for (int left_steps = steps;; left_steps--) {
        copy_async_wait<0>();
        publish_shared();
        __syncthreads();
        const int next_stage = stage == Plan::stages - 1 ? 0 : stage + 1;
        const bool more = left_steps > 1;
        if (more) {
            copy_queries(next_stage);
        }
        const unsigned queries_at = base + Plan::stages_at + stage * 2 * Plan::tile_bytes;
        const unsigned long long queries_tile = panel_descriptor(queries_at, queries);
        const unsigned long long d_out_tile = panel_descriptor(queries_at + Plan::tile_bytes, queries);
        const float* of_rows = reinterpret_cast<const float*>(shared + Plan::rows_at) + stage * 2 * queries;

        warpgroup_begin(scores);
        panel_product<dim, Plan::keys>(scores, keys_tile, queries_tile);
        warpgroup_commit();
        // For the products of the block before, whose factors' registers are needed.
        warpgroup_wait<1>();
        warpgroup_begin(gradient);
        panel_product<dim, Plan::keys>(gradient, values_tile, d_out_tile);
        warpgroup_commit();
        warpgroup_wait<1>(scores);

#pragma unroll
        for (int column = 0; column < columns; column++) {
            const float2 shifts = *reinterpret_cast<const float2*>(of_rows + column * 8 + lane % 4 * 2);
#pragma unroll
            for (int part = 0; part < 4; part++) {
                scores[column][part] = exp2_approx(scores[column][part] * scale_2 - (part % 2 == 0 ? shifts.x : shifts.y));
            }
        }
        to_left_factors(probabilities, scores);
        if (group_key + 63 > query || query + queries > first_limit) {
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const int first = own_key + half * 8 - query - lane % 4 * 2;
                const int limit = limits[half] - query - lane % 4 * 2;
#pragma unroll
                for (int column = 0; column < columns; column++) {
                    const int at = column * 8;
                    const unsigned low = at >= first && at < limit ? 0x0000ffffu : 0;
                    const unsigned high = at + 1 >= first && at + 1 < limit ? 0xffff0000u : 0;
                    probabilities[column / 2][column % 2 * 2 + half] &= low | high;
                }
            }
        }
        warpgroup_begin(probabilities);
        panel_product_rows(dv_sums[0], probabilities, d_out_tile);
        warpgroup_commit();

        warpgroup_wait<1>(gradient);
#pragma unroll
        for (int column = 0; column < columns; column++) {
            const float2 deltas = *reinterpret_cast<const float2*>(of_rows + queries + column * 8 + lane % 4 * 2);
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const unsigned pair = probabilities[column / 2][column % 2 * 2 + half];
                factors[column / 2][column % 2 * 2 + half] = to_bf16_pair(first_of(pair) * (gradient[column][half * 2] - deltas.x),
                                                                          second_of(pair) * (gradient[column][half * 2 + 1] - deltas.y));
            }
        }
        warpgroup_begin(factors);
        panel_product_rows(dk_sums[0], factors, queries_tile);
        warpgroup_commit();

        query = query + queries >= end ? block_key : query + queries;
        if (!more) {
            break;
        }
        store_row_value(next_stage);
        stage = next_stage;
    }
    warpgroup_wait<0>(dk_sums[0], dv_sums[0]);

    // Keys and values are needed no more.
    __syncthreads();
    const int warp_key = block_key + warp * 16;
    const long long to = static_cast<long long>(warp_key) * ld_d + key_head * dim;
    unsigned char* tile = shared + warp * 16 * dim * 2;
    const float whole[1][2] = {{1.0f, 1.0f}};
    const float scaled[1][2] = {{scale, scale}};
    store_sums<dim, 1>(dv + to, ld_d, rows - warp_key, tile, dv_sums, whole);
    store_sums<dim, 1>(dk + to, ld_d, rows - warp_key, tile, dk_sums, scaled);
}

#define ATTENTION_BACKWARD_KEYS_HOPPER(dim)                                                                                  \
    extern "C" __global__ void __launch_bounds__(HopperKeysPlan<dim>::threads, 1) attention_backward_keys_hopper_d##dim(     \
        bf16* dk, bf16* dv, int ld_d, const bf16* q, const bf16* k, const bf16* v, int ld, const bf16* d_out, int ld_d_out,  \
        const float* log_sums, const float* delta, const unsigned*, const unsigned* ends, int rows, int query_heads,         \
        int key_heads, float scale, int window) {                                                                            \
        attention_backward_keys_hopper<dim>(dk, dv, ld_d, q, k, v, ld, d_out, ld_d_out, log_sums, delta, ends, rows,         \
                                            query_heads, key_heads, scale, window);                                          \
    }                                                                                                                        \
    EXPORT(attention_backward_keys_hopper_d##dim)

ATTENTION_BACKWARD_KEYS_HOPPER(64)
ATTENTION_BACKWARD_KEYS_HOPPER(128)

// Each of two warpgroups keeps 64 queries, their gradient of the output and their own gradient in registers, and meets the keys block
// by block, from the last one back.
template <int dim>
struct HopperQueriesPlan {
    static constexpr int threads = 256;
    static constexpr int queries = 128;
    static constexpr int keys = dim == 64 ? 128 : 64;
    static constexpr int stages = 3;
    static constexpr int left_bytes = queries * dim * 2;
    static constexpr int tile_bytes = keys * dim * 2;
    static constexpr int stages_at = 2 * left_bytes;
    static constexpr int shared_bytes = stages_at + stages * 2 * tile_bytes;
    static_assert(shared_bytes <= 227 * 1024, "what a block may use on sm_90");
};

template <int dim>
__device__ __forceinline__ void attention_backward_queries_hopper(bf16* dq, int ld_d, const bf16* q, const bf16* k, const bf16* v, int ld,
                                                                  const bf16* d_out, int ld_d_out, const float* log_sums,
                                                                  const float* delta, const unsigned* starts, int rows, int query_heads,
                                                                  int key_heads, float scale, int window) {
    using Plan = HopperQueriesPlan<dim>;
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

    const auto copy_keys = [&](int which, int stage) {
        const long long from = static_cast<long long>(which) * keys * ld + key_head * dim;
        const unsigned to = base + Plan::stages_at + stage * 2 * Plan::tile_bytes;
        copy_panels_async<dim, keys, Plan::threads>(to, k + from, ld, rows - which * keys);
        copy_panels_async<dim, keys, Plan::threads>(to + Plan::tile_bytes, v + from, ld, rows - which * keys);
        copy_async_commit();
    };
    copy_panels_async<dim, Plan::queries, Plan::threads>(base, q + static_cast<long long>(block_row) * ld + head * dim, ld, rows - block_row);
    copy_panels_async<dim, Plan::queries, Plan::threads>(
        base + Plan::left_bytes, d_out + static_cast<long long>(block_row) * ld_d_out + head * dim, ld_d_out, rows - block_row);
    copy_keys(block, 0);

    int own_rows[2], first_keys[2];
    float shifts[2], deltas[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int row = block_row + warp * 16 + half * 8 + lane / 4;
        const long long at = static_cast<long long>(head) * rows + row;
        own_rows[half] = row;
        first_keys[half] = first_of_row(row);
        // A row past the end has no probabilities.
        shifts[half] = row < rows ? log_sums[at] * 1.4426950408889634f : infinity();
        deltas[half] = row < rows ? delta[at] : 0.0f;
    }

    copy_async_wait<0>();
    __syncthreads();
    unsigned queries[dim / 16][4];
    unsigned d_outs[dim / 16][4];
    const unsigned left = base + warp * 16 * 128 + tile_left_offset<64>();
#pragma unroll
    for (int step = 0; step < dim / 16; step++) {
        const unsigned panel = left + step / 4 * Plan::queries * 128;
        load_matrices(queries[step], tile_address<64>(panel, 0, step % 4));
        load_matrices(d_outs[step], tile_address<64>(panel + Plan::left_bytes, 0, step % 4));
    }

    float sums[1][dim / 8][4] = {};
    float scores[columns][4];
    float gradient[columns][4];
    unsigned factors[columns / 2][4];
    int stage = 0;
    for (;; block--) {
        copy_async_wait<0>();
        publish_shared();
        __syncthreads();
        const int next_stage = stage == Plan::stages - 1 ? 0 : stage + 1;
        if (block > first_block) {
            copy_keys(block - 1, next_stage);
        }
        const unsigned keys_at = base + Plan::stages_at + stage * 2 * Plan::tile_bytes;
        const unsigned long long keys_tile = panel_descriptor(keys_at, keys);
        const unsigned long long values_tile = panel_descriptor(keys_at + Plan::tile_bytes, keys);

        warpgroup_begin(scores, queries, d_outs);
        panel_product(scores, queries, keys_tile);
        warpgroup_commit();
        // For the product of the block before, whose factor's registers are needed.
        warpgroup_wait<1>();
        warpgroup_begin(gradient);
        panel_product(gradient, d_outs, values_tile);
        warpgroup_commit();
        warpgroup_wait<1>(scores);

#pragma unroll
        for (int column = 0; column < columns; column++) {
#pragma unroll
            for (int part = 0; part < 4; part++) {
                scores[column][part] = exp2_approx(scores[column][part] * scale_2 - shifts[part / 2]);
            }
        }
        const int key = block * keys;
        if (key + keys - 1 > group_row || key < last_first) {
#pragma unroll
            for (int part = 0; part < 4; part++) {
                const int first = first_keys[part / 2] - key - lane % 4 * 2 - part % 2;
                const int last = own_rows[part / 2] - key - lane % 4 * 2 - part % 2;
#pragma unroll
                for (int column = 0; column < columns; column++) {
                    if (column * 8 < first || column * 8 > last) {
                        scores[column][part] = 0.0f;
                    }
                }
            }
        }
        warpgroup_wait<0>(gradient);
#pragma unroll
        for (int column = 0; column < columns; column++) {
#pragma unroll
            for (int half = 0; half < 2; half++) {
                factors[column / 2][column % 2 * 2 + half] =
                    to_bf16_pair(scores[column][half * 2] * (gradient[column][half * 2] - deltas[half]),
                                 scores[column][half * 2 + 1] * (gradient[column][half * 2 + 1] - deltas[half]));
            }
        }
        warpgroup_begin(sums[0], factors);
        panel_product_rows(sums[0], factors, keys_tile);
        warpgroup_commit();
        stage = next_stage;
        if (block == first_block) {
            break;
        }
    }
    warpgroup_wait<0>(sums[0]);

    // The warp's own queries are needed no more.
    const float factor[1][2] = {{scale, scale}};
    const int warp_row = block_row + warp * 16;
    store_sums<dim, 1>(dq + static_cast<long long>(warp_row) * ld_d + head * dim, ld_d, rows - warp_row, shared + warp * 16 * dim * 2, sums,
                       factor);
}

#define ATTENTION_BACKWARD_QUERIES_HOPPER(dim)                                                                                   \
    extern "C" __global__ void __launch_bounds__(HopperQueriesPlan<dim>::threads, 1) attention_backward_queries_hopper_d##dim(   \
        bf16* dq, int ld_d, const bf16* q, const bf16* k, const bf16* v, int ld, const bf16* d_out, int ld_d_out,                \
        const float* log_sums, const float* delta, const unsigned* starts, int rows, int query_heads, int key_heads,             \
        float scale, int window) {                                                                                               \
        attention_backward_queries_hopper<dim>(dq, ld_d, q, k, v, ld, d_out, ld_d_out, log_sums, delta, starts, rows,            \
                                               query_heads, key_heads, scale, window);                                           \
    }                                                                                                                            \
    EXPORT(attention_backward_queries_hopper_d##dim)

ATTENTION_BACKWARD_QUERIES_HOPPER(64)
ATTENTION_BACKWARD_QUERIES_HOPPER(128)

#endif
