// Attention's gradients for keys and values (Dao, arXiv 2307.08691), each value summed by one thread in a fixed order.
//
// Launch: grid (key heads, ceil(rows / keys), 1), 256 threads; by head dim:
//   dim  keys  shared bytes
//    16   128        55,552
//    32   128        76,032
//    64   128       116,992
//   128   128       132,224
//   256    64       107,648
// q, k, v, d_out, dk and dv begin at multiples of 16 bytes.

// Warps work in pairs, on the same keys, one query block apart. The first of a pair computes the probabilities, hands them on and
// sums the values' gradient; the second computes the scores' gradient from them and sums the keys'. So each needs registers for one
// gradient only and 32 keys fit, which share what is loaded of queries; and no warp waits for the other's exponentials.
template <int dim>
struct BackwardKeysPlan {
    static constexpr int tiles = dim <= 128 ? 2 : 1;
    static constexpr int pairs = 4;
    static constexpr int threads = pairs * 64;
    static constexpr int pair_keys = tiles * 16;
    static constexpr int keys = pairs * pair_keys;
    static constexpr int queries = dim <= 64 ? 64 : 32;
    static constexpr int in_registers = dim == 128 ? 4 : dim / 16;
    // Queries and their gradient, three blocks: of either warp of a pair, and the next.
    static constexpr int stages = 3;
    static constexpr int tile_bytes = queries * dim * 2;
    static constexpr int left_bytes = keys * dim * 2;
    // Keys and values that are wholly in registers may lie where later stages will.
    static constexpr int left_at = dim == 256 ? 2 * tile_bytes : 0;
    static constexpr int stages_at = dim == 256 ? 0 : 2 * left_bytes;
    static_assert(dim != 256 || (in_registers == dim / 16 && left_bytes == 2 * tile_bytes), "a stage for each of the two");
    static constexpr int probabilities_at = stages_at + stages * 2 * tile_bytes;
    static constexpr int probabilities_bytes = keys * queries * 2;
    static constexpr int rows_at = probabilities_at + 2 * probabilities_bytes;
    static constexpr int shared_bytes = rows_at + stages * 3 * queries * 4;
    static_assert(shared_bytes <= 163 * 1024, "what a block may use on sm_80");
    static_assert(threads >= 3 * queries, "a thread for each value of the rows");
    static_assert(keys % queries == 0, "the first block of queries begins with the keys");
};

template <int dim>
__device__ __forceinline__ void attention_backward_keys(bf16* dk, bf16* dv, int ld_d, const bf16* q, const bf16* k, const bf16* v, int ld,
                                                        const bf16* d_out, int ld_d_out, const float* log_sums, const float* delta,
                                                        const unsigned* starts, const unsigned* ends, int rows, int query_heads,
                                                        int key_heads, float scale, int window) {
    using Plan = BackwardKeysPlan<dim>;
    constexpr int tiles = Plan::tiles;
    constexpr int queries = Plan::queries;
    DYNAMIC_SHARED(unsigned char, shared);
    const unsigned base = shared_address(shared);

    const int key_head = blockIdx.x;
    const int group = query_heads / key_heads;
    const int block_key = blockIdx.y * Plan::keys;
    const int lane = threadIdx.x % 32;
    const int pair = threadIdx.x / 32 % Plan::pairs;
    const int role = threadIdx.x / 32 / Plan::pairs;
    const int pair_key = block_key + pair * Plan::pair_keys;
    const float scale_2 = scale * 1.4426950408889634f;

    const int last_key = min(block_key + Plan::keys, rows) - 1;
    int end = static_cast<int>(ends[last_key]);
    if (window > 0 && window < end - last_key) {
        end = last_key + window;
    }
    const int head_blocks = (end - block_key + queries - 1) / queries;

    // Of the block that is copied next: its head and first query.
    int next_head = key_head * group;
    int next_query = block_key;
    // Of one of its rows: the logarithm, the sum of output · gradient, or the first key.
    unsigned row_value = 0;
    const auto copy_queries = [&](int stage) {
        const unsigned to = base + Plan::stages_at + stage * 2 * Plan::tile_bytes;
        copy_tile_async<dim, queries, Plan::threads>(to, q + static_cast<long long>(next_query) * ld + next_head * dim, ld,
                                                     rows - next_query);
        copy_tile_async<dim, queries, Plan::threads>(to + Plan::tile_bytes,
                                                     d_out + static_cast<long long>(next_query) * ld_d_out + next_head * dim, ld_d_out,
                                                     rows - next_query);
        copy_async_commit();
        // Not used before store_row_value, so that nothing waits for it here.
        const int row = next_query + threadIdx.x % queries;
        const int kind = threadIdx.x / queries;
        if (kind < 3 && row < rows) {
            const long long at = static_cast<long long>(next_head) * rows + row;
            const unsigned* from = kind == 2 ? starts + row : reinterpret_cast<const unsigned*>(kind == 0 ? log_sums : delta) + at;
            row_value = *from;
        }
    };
    // After copy_queries and the work of a step; moves on to the next block.
    const auto store_row_value = [&](int stage) {
        const int row = next_query + threadIdx.x % queries;
        const int kind = threadIdx.x / queries;
        unsigned value = row_value;
        if (kind == 0) {
            // A row past the end has no probabilities.
            value = __float_as_uint(row < rows ? __uint_as_float(row_value) * 1.4426950408889634f : infinity());
        } else if (row >= rows) {
            value = kind == 1 ? 0 : 0x7fffffffu;
        } else if (kind == 2 && window > 0) {
            value = max(static_cast<int>(row_value), row - window + 1);
        }
        if (kind < 3) {
            reinterpret_cast<unsigned*>(shared + Plan::rows_at)[stage * 3 * queries + threadIdx.x] = value;
        }
        next_query += queries;
        if (next_query >= end) {
            next_query = block_key;
            next_head++;
        }
    };

    const long long from = static_cast<long long>(block_key) * ld + key_head * dim;
    copy_tile_async<dim, Plan::keys, Plan::threads>(base + Plan::left_at, k + from, ld, rows - block_key);
    copy_tile_async<dim, Plan::keys, Plan::threads>(base + Plan::left_at + Plan::left_bytes, v + from, ld, rows - block_key);
    copy_queries(0);
    store_row_value(0);

    const int left_at = Plan::left_at + role * Plan::left_bytes + pair * Plan::pair_keys * dim * 2;
    const unsigned left = base + left_at + tile_left_offset<dim>();
    unsigned kept[tiles][Plan::in_registers > 0 ? Plan::in_registers : 1][4];
    if constexpr (Plan::in_registers > 0) {
        copy_async_wait<0>();
        __syncthreads();
        tile_keep<dim, tiles, Plan::in_registers>(kept, left);
    }

    float sums[tiles][dim / 8][4] = {};
    // The second warp of a pair is one block behind.
    int query = block_key - role * queries;
    int next_stage = 1;
    for (int left_steps = head_blocks * group; left_steps >= 0; left_steps--) {
        copy_async_wait<0>();
        __syncthreads();
        const bool more = left_steps > 1;
        if (more) {
            copy_queries(next_stage);
        }
        if (query >= block_key && left_steps + role > 0) {
            const int stage = next_stage > role ? next_stage - role - 1 : next_stage - role + 2;
            const float* of_rows = reinterpret_cast<const float*>(shared + Plan::rows_at) + stage * 3 * queries;
            const int* first_keys = reinterpret_cast<const int*>(of_rows + 2 * queries);
            if (pair_key <= query + queries - 1 && pair_key + Plan::pair_keys > first_keys[0]) {
                const unsigned queries_tile = base + Plan::stages_at + stage * 2 * Plan::tile_bytes;
                const unsigned right = queries_tile + role * Plan::tile_bytes;
                const unsigned other = queries_tile + Plan::tile_bytes - role * Plan::tile_bytes;
                const int handed_at = Plan::probabilities_at + (left_steps + role) % 2 * Plan::probabilities_bytes;
                uint4* handed = reinterpret_cast<uint4*>(shared + handed_at) + pair * Plan::pair_keys * queries / 8 + lane;
                float scores[tiles][queries / 8][4] = {};
                tile_product<dim, tiles, queries, Plan::in_registers>(scores, kept, left, right + tile_right_offset<dim>());
                unsigned factor[queries / 16][tiles][4];
                if (role == 0) {
                    const bool masked = pair_key + Plan::pair_keys - 1 > query || pair_key < first_keys[queries - 1];
#pragma unroll
                    for (int column = 0; column < queries / 8; column++) {
                        const float2 shifts = *reinterpret_cast<const float2*>(of_rows + column * 8 + lane % 4 * 2);
#pragma unroll
                        for (int tile = 0; tile < tiles; tile++) {
#pragma unroll
                            for (int part = 0; part < 4; part++) {
                                float& score = scores[tile][column][part];
                                score = exp2_approx(score * scale_2 - (part % 2 == 0 ? shifts.x : shifts.y));
                            }
                        }
                    }
                    if (masked) {
#pragma unroll
                        for (int column = 0; column < queries / 8; column++) {
                            const int at = column * 8 + lane % 4 * 2;
                            const int2 firsts = *reinterpret_cast<const int2*>(first_keys + at);
#pragma unroll
                            for (int tile = 0; tile < tiles; tile++) {
#pragma unroll
                                for (int part = 0; part < 4; part++) {
                                    const int key = pair_key + tile * 16 + part / 2 * 8 + lane / 4;
                                    if (key > query + at + part % 2 || key < (part % 2 == 0 ? firsts.x : firsts.y)) {
                                        scores[tile][column][part] = 0.0f;
                                    }
                                }
                            }
                        }
                    }
#pragma unroll
                    for (int inner = 0; inner < queries / 16; inner++) {
                        to_left_factor<tiles, queries>(factor[inner], scores, inner);
#pragma unroll
                        for (int tile = 0; tile < tiles; tile++) {
                            const unsigned(&parts)[4] = factor[inner][tile];
                            handed[(inner * tiles + tile) * 32] = make_uint4(parts[0], parts[1], parts[2], parts[3]);
                        }
                    }
                } else {
#pragma unroll
                    for (int inner = 0; inner < queries / 16; inner++) {
                        const float2 low = *reinterpret_cast<const float2*>(of_rows + queries + inner * 16 + lane % 4 * 2);
                        const float2 high = *reinterpret_cast<const float2*>(of_rows + queries + inner * 16 + 8 + lane % 4 * 2);
#pragma unroll
                        for (int tile = 0; tile < tiles; tile++) {
                            const uint4 raw = handed[(inner * tiles + tile) * 32];
                            const unsigned parts[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
                            for (int part = 0; part < 4; part++) {
                                const float(&of)[4] = scores[tile][inner * 2 + part / 2];
                                const float2 deltas = part / 2 == 0 ? low : high;
                                factor[inner][tile][part] = to_bf16_pair(first_of(parts[part]) * (of[part % 2 * 2] - deltas.x),
                                                                         second_of(parts[part]) * (of[part % 2 * 2 + 1] - deltas.y));
                            }
                        }
                    }
                }
#pragma unroll
                for (int inner = 0; inner < queries / 16; inner++) {
                    tile_product_step<dim, tiles>(sums, factor[inner], other + tile_left_offset<dim>(), inner * 16);
                }
            }
        }
        query = query + queries >= end ? block_key : query + queries;
        if (more) {
            store_row_value(next_stage);
        }
        next_stage = next_stage == 2 ? 0 : next_stage + 1;
    }

    float factors[tiles][2];
#pragma unroll
    for (int tile = 0; tile < tiles; tile++) {
        factors[tile][0] = role == 0 ? 1.0f : scale;
        factors[tile][1] = factors[tile][0];
    }
    // Keys and values are needed no more.
    __syncthreads();
    store_sums<dim, tiles>((role == 0 ? dv : dk) + static_cast<long long>(pair_key) * ld_d + key_head * dim, ld_d, rows - pair_key,
                           shared + left_at, sums, factors);
}

#define ATTENTION_BACKWARD_KEYS(dim)                                                                                         \
    extern "C" __global__ void __launch_bounds__(BackwardKeysPlan<dim>::threads) attention_backward_keys_d##dim(             \
        bf16* dk, bf16* dv, int ld_d, const bf16* q, const bf16* k, const bf16* v, int ld, const bf16* d_out, int ld_d_out,  \
        const float* log_sums, const float* delta, const unsigned* starts, const unsigned* ends, int rows, int query_heads,  \
        int key_heads, float scale, int window) {                                                                            \
        attention_backward_keys<dim>(dk, dv, ld_d, q, k, v, ld, d_out, ld_d_out, log_sums, delta, starts, ends, rows,        \
                                     query_heads, key_heads, scale, window);                                                 \
    }                                                                                                                        \
    EXPORT(attention_backward_keys_d##dim)

ATTENTION_BACKWARD_KEYS(16)
ATTENTION_BACKWARD_KEYS(32)
ATTENTION_BACKWARD_KEYS(64)
ATTENTION_BACKWARD_KEYS(128)
ATTENTION_BACKWARD_KEYS(256)
