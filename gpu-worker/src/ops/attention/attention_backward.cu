// Gradients of attention (Dao, arXiv 2307.08691), each value summed by one thread in a fixed order: one kernel for keys and values,
// one for queries, both after the sums of output · gradient.
//
// Launch:
//   attention_delta: grid (ceil(rows · heads · dim / 8 / 256), 1, 1), 256 threads, no dynamic shared memory.
//   attention_backward_keys: grid (key heads, ceil(rows / keys), 1), 256 threads.
//   attention_backward_queries: grid (query heads, ceil(rows / queries), 1), 128 threads.
//   By head dim:
//   dim   keys  shared bytes   queries  shared bytes
//    16    128        ......       128        ......
//    32    128        ......       128        ......
//    64    128        ......       128        ......
//   128    128        ......       128        ......
//   256     64        ......        64        ......
// All matrices begin at multiples of 16 bytes.

extern "C" __global__ void __launch_bounds__(256)
    attention_delta(float* delta, const bf16* out, int ld_out, const bf16* d_out, int ld_d_out, int rows, int heads, int dim) {
    const int lanes = dim / 8;
    const long long item = (static_cast<long long>(blockIdx.x) * 256 + threadIdx.x) / lanes;
    const long long row = item / heads;
    const int head = static_cast<int>(item % heads);
    const int column = head * dim + threadIdx.x % lanes * 8;
    float sum = 0.0f;
    if (row < rows) {
        const Eight a = load_eight(out + row * ld_out + column);
        const Eight b = load_eight(d_out + row * ld_d_out + column);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            sum += a.values[i] * b.values[i];
        }
    }
    for (int distance = lanes / 2; distance > 0; distance /= 2) {
        sum += __shfl_xor_sync(0xffffffffu, sum, distance);
    }
    if (row < rows && threadIdx.x % lanes == 0) {
        delta[static_cast<long long>(head) * rows + row] = sum;
    }
}
EXPORT(attention_delta)

// sums [16·tiles, width] = left [16·tiles, dim] · right [width, dim]ᵀ, where the first steps of the left factor are in registers.
template <int dim, int tiles, int width, int in_registers>
__device__ __forceinline__ void backward_product(float (&sums)[tiles][width / 8][4],
                                                 const unsigned (&kept)[tiles][in_registers > 0 ? in_registers : 1][4], unsigned left,
                                                 unsigned right) {
#pragma unroll
    for (int inner = 0; inner < dim / 16; inner++) {
        unsigned a[tiles][4];
#pragma unroll
        for (int tile = 0; tile < tiles; tile++) {
            if (inner < in_registers) {
#pragma unroll
                for (int part = 0; part < 4; part++) {
                    a[tile][part] = kept[tile][inner < in_registers ? inner : 0][part];
                }
            } else {
                load_matrices(a[tile], tile_address<dim>(left, tile * 16, inner));
            }
        }
#pragma unroll
        for (int pair = 0; pair < width / 16; pair++) {
            unsigned b[4];
            load_matrices(b, tile_address<dim>(right, pair * 16, inner));
#pragma unroll
            for (int tile = 0; tile < tiles; tile++) {
                multiply_add(sums[tile][pair * 2], a[tile], b[0], b[1]);
                multiply_add(sums[tile][pair * 2 + 1], a[tile], b[2], b[3]);
            }
        }
    }
}

template <int dim, int tiles, int in_registers>
__device__ __forceinline__ void backward_keep(unsigned (&kept)[tiles][in_registers > 0 ? in_registers : 1][4], unsigned left) {
#pragma unroll
    for (int tile = 0; tile < tiles; tile++) {
#pragma unroll
        for (int inner = 0; inner < in_registers; inner++) {
            load_matrices(kept[tile][inner], tile_address<dim>(left, tile * 16, inner));
        }
    }
}

// sums [16·tiles, dim] += left [16·tiles, width] · right [width, dim]
template <int dim, int tiles, int width>
__device__ __forceinline__ void backward_accumulate(float (&sums)[tiles][dim / 8][4], const unsigned (&left)[tiles][width / 16][4],
                                                    unsigned right) {
#pragma unroll
    for (int inner = 0; inner < width / 16; inner++) {
#pragma unroll
        for (int pair = 0; pair < dim / 16; pair++) {
            unsigned b[4];
            load_matrices_transposed(b, tile_address<dim>(right, inner * 16, pair));
#pragma unroll
            for (int tile = 0; tile < tiles; tile++) {
                multiply_add(sums[tile][pair * 2], left[tile][inner], b[0], b[1]);
                multiply_add(sums[tile][pair * 2 + 1], left[tile][inner], b[2], b[3]);
            }
        }
    }
}

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
        backward_keep<dim, tiles, Plan::in_registers>(kept, left);
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
                uint4* handed = reinterpret_cast<uint4*>(shared + Plan::probabilities_at + (left_steps + role) % 2 * Plan::probabilities_bytes) +
                                pair * Plan::pair_keys * queries / 8 + lane;
                float scores[tiles][queries / 8][4] = {};
                backward_product<dim, tiles, queries, Plan::in_registers>(scores, kept, left, right + tile_right_offset<dim>());
                unsigned factor[tiles][queries / 16][4];
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
                    for (int tile = 0; tile < tiles; tile++) {
#pragma unroll
                        for (int inner = 0; inner < queries / 16; inner++) {
#pragma unroll
                            for (int part = 0; part < 4; part++) {
                                const float(&of)[4] = scores[tile][inner * 2 + part / 2];
                                factor[tile][inner][part] = to_bf16_pair(of[part % 2 * 2], of[part % 2 * 2 + 1]);
                            }
                            const unsigned(&parts)[4] = factor[tile][inner];
                            handed[(tile * (queries / 16) + inner) * 32] = make_uint4(parts[0], parts[1], parts[2], parts[3]);
                        }
                    }
                } else {
#pragma unroll
                    for (int inner = 0; inner < queries / 16; inner++) {
                        const float2 low = *reinterpret_cast<const float2*>(of_rows + queries + inner * 16 + lane % 4 * 2);
                        const float2 high = *reinterpret_cast<const float2*>(of_rows + queries + inner * 16 + 8 + lane % 4 * 2);
#pragma unroll
                        for (int tile = 0; tile < tiles; tile++) {
                            const uint4 raw = handed[(tile * (queries / 16) + inner) * 32];
                            const unsigned parts[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
                            for (int part = 0; part < 4; part++) {
                                const float(&of)[4] = scores[tile][inner * 2 + part / 2];
                                const float2 deltas = part / 2 == 0 ? low : high;
                                factor[tile][inner][part] = to_bf16_pair(first_of(parts[part]) * (of[part % 2 * 2] - deltas.x),
                                                                         second_of(parts[part]) * (of[part % 2 * 2 + 1] - deltas.y));
                            }
                        }
                    }
                }
                backward_accumulate<dim, tiles, queries>(sums, factor, other + tile_left_offset<dim>());
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

// Each warp keeps its queries' gradient in registers and meets the keys block by block.
template <int dim>
struct BackwardQueriesPlan {
    static constexpr int tiles = dim <= 128 ? 2 : 1;
    static constexpr int threads = 128;
    static constexpr int queries = threads / 32 * tiles * 16;
    static constexpr int keys = 32;
    static constexpr int in_registers = dim <= 64 ? dim / 16 : 0;
    static constexpr int tile_bytes = keys * dim * 2;
    static constexpr int left_bytes = queries * dim * 2;
    static constexpr int stages_at = 2 * left_bytes;
    static constexpr int first_keys_at = stages_at + 4 * tile_bytes;
    static constexpr int shared_bytes = first_keys_at + queries * 4;
};

template <int dim>
__device__ __forceinline__ void attention_backward_queries(bf16* dq, int ld_d, const bf16* q, const bf16* k, const bf16* v, int ld,
                                                           const bf16* d_out, int ld_d_out, const float* log_sums, const float* delta,
                                                           const unsigned* starts, int rows, int query_heads, int key_heads, float scale,
                                                           int window) {
    using Plan = BackwardQueriesPlan<dim>;
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
    const float scale_2 = scale * 1.4426950408889634f;
    int block = last_row / keys;

    const auto copy_keys = [&](int which, int stage) {
        const long long from = static_cast<long long>(which) * keys * ld + key_head * dim;
        const unsigned to = base + Plan::stages_at + stage * 2 * Plan::tile_bytes;
        copy_tile_async<dim, keys, Plan::threads>(to, k + from, ld, rows - which * keys);
        copy_tile_async<dim, keys, Plan::threads>(to + Plan::tile_bytes, v + from, ld, rows - which * keys);
        copy_async_commit();
    };
    copy_tile_async<dim, Plan::queries, Plan::threads>(base, q + static_cast<long long>(block_row) * ld + head * dim, ld, rows - block_row);
    copy_tile_async<dim, Plan::queries, Plan::threads>(
        base + Plan::left_bytes, d_out + static_cast<long long>(block_row) * ld_d_out + head * dim, ld_d_out, rows - block_row);
    copy_keys(block, 0);
    if (threadIdx.x < Plan::queries) {
        const int query = min(block_row + static_cast<int>(threadIdx.x), last_row);
        first_keys[threadIdx.x] = max(static_cast<int>(starts[query]), window > 0 ? query - window + 1 : 0);
    }

    float shifts[tiles][2], deltas[tiles][2];
#pragma unroll
    for (int tile = 0; tile < tiles; tile++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int row = block_row + warp_row + tile * 16 + half * 8 + lane / 4;
            const long long at = static_cast<long long>(head) * rows + row;
            // A row past the end has no probabilities.
            shifts[tile][half] = row < rows ? log_sums[at] * 1.4426950408889634f : infinity();
            deltas[tile][half] = row < rows ? delta[at] : 0.0f;
        }
    }

    const unsigned left = base + warp_row * dim * 2 + tile_left_offset<dim>();
    unsigned kept_queries[tiles][Plan::in_registers > 0 ? Plan::in_registers : 1][4];
    unsigned kept_gradient[tiles][Plan::in_registers > 0 ? Plan::in_registers : 1][4];
    if constexpr (Plan::in_registers > 0) {
        copy_async_wait<0>();
        __syncthreads();
        backward_keep<dim, tiles, Plan::in_registers>(kept_queries, left);
        backward_keep<dim, tiles, Plan::in_registers>(kept_gradient, left + Plan::left_bytes);
    }

    float sums[tiles][dim / 8][4] = {};
    for (int stage = 0;; block--, stage ^= 1) {
        copy_async_wait<0>();
        __syncthreads();
        if (block > first_block) {
            copy_keys(block - 1, stage ^ 1);
        }
        const int key = block * keys;
        const int query = block_row + warp_row;
        if (key <= query + tiles * 16 - 1 && key + keys > first_keys[warp_row]) {
            const unsigned keys_tile = base + Plan::stages_at + stage * 2 * Plan::tile_bytes;
            float scores[tiles][keys / 8][4] = {};
            float gradient[tiles][keys / 8][4] = {};
            backward_product<dim, tiles, keys, Plan::in_registers>(scores, kept_queries, left, keys_tile + tile_right_offset<dim>());
            backward_product<dim, tiles, keys, Plan::in_registers>(gradient, kept_gradient, left + Plan::left_bytes,
                                                                        keys_tile + Plan::tile_bytes + tile_right_offset<dim>());
            if (key + keys - 1 > query || key < first_keys[warp_row + tiles * 16 - 1]) {
                attention_mask<tiles, keys>(scores, first_keys, warp_row, block_row, key);
            }
            unsigned factor[tiles][keys / 16][4];
#pragma unroll
            for (int tile = 0; tile < tiles; tile++) {
#pragma unroll
                for (int column = 0; column < keys / 8; column++) {
#pragma unroll
                    for (int half = 0; half < 2; half++) {
                        const float(&of)[4] = scores[tile][column];
                        const float(&gradients)[4] = gradient[tile][column];
                        const float shift = shifts[tile][half];
                        const float first = exp2_approx(of[half * 2] * scale_2 - shift) * (gradients[half * 2] - deltas[tile][half]);
                        const float second =
                            exp2_approx(of[half * 2 + 1] * scale_2 - shift) * (gradients[half * 2 + 1] - deltas[tile][half]);
                        factor[tile][column / 2][column % 2 * 2 + half] = to_bf16_pair(first, second);
                    }
                }
            }
            backward_accumulate<dim, tiles, keys>(sums, factor, keys_tile + tile_left_offset<dim>());
        }
        if (block == first_block) {
            break;
        }
    }

    float factors[tiles][2];
#pragma unroll
    for (int tile = 0; tile < tiles; tile++) {
        factors[tile][0] = scale;
        factors[tile][1] = scale;
    }
    // The warp's own queries are needed no more.
    store_sums<dim, tiles>(dq + static_cast<long long>(block_row + warp_row) * ld_d + head * dim, ld_d, rows - block_row - warp_row,
                           shared + warp_row * dim * 2, sums, factors);
}

#define ATTENTION_BACKWARD(dim)                                                                                                \
    extern "C" __global__ void __launch_bounds__(BackwardKeysPlan<dim>::threads) attention_backward_keys_d##dim(               \
        bf16* dk, bf16* dv, int ld_d, const bf16* q, const bf16* k, const bf16* v, int ld, const bf16* d_out, int ld_d_out,    \
        const float* log_sums, const float* delta, const unsigned* starts, const unsigned* ends, int rows, int query_heads,    \
        int key_heads, float scale, int window) {                                                                              \
        attention_backward_keys<dim>(dk, dv, ld_d, q, k, v, ld, d_out, ld_d_out, log_sums, delta, starts, ends, rows,          \
                                     query_heads, key_heads, scale, window);                                                   \
    }                                                                                                                          \
    EXPORT(attention_backward_keys_d##dim)                                                                                     \
    extern "C" __global__ void __launch_bounds__(BackwardQueriesPlan<dim>::threads) attention_backward_queries_d##dim(         \
        bf16* dq, int ld_d, const bf16* q, const bf16* k, const bf16* v, int ld, const bf16* d_out, int ld_d_out,              \
        const float* log_sums, const float* delta, const unsigned* starts, int rows, int query_heads, int key_heads,           \
        float scale, int window) {                                                                                             \
        attention_backward_queries<dim>(dq, ld_d, q, k, v, ld, d_out, ld_d_out, log_sums, delta, starts, rows, query_heads,    \
                                        key_heads, scale, window);                                                             \
    }                                                                                                                          \
    EXPORT(attention_backward_queries_d##dim)

ATTENTION_BACKWARD(16)
ATTENTION_BACKWARD(32)
ATTENTION_BACKWARD(64)
ATTENTION_BACKWARD(128)
ATTENTION_BACKWARD(256)
