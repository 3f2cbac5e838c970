// Attention's gradient for queries (Dao, arXiv 2307.08691), each value summed by one thread in a fixed order, and what both backward
// kernels need before: the sum of output · gradient for every row and head.
//
// Launch of attention_delta: grid (ceil(rows · heads · dim / 2,048), 1, 1), 256 threads, no dynamic shared memory.
// Launch of attention_backward_queries: grid (query heads, ceil(rows / queries), 1), 128 threads; by head dim:
//   dim  queries  shared bytes
//    16      128        12,800
//    32      128        25,088
//    64      128        49,664
//   128      128        98,816
//   256       64       131,328
// q, k, v, out, d_out and dq begin at multiples of 16 bytes.

extern "C" __global__ void __launch_bounds__(256)
    attention_delta(float* delta, const bf16* out, int ld_out, const bf16* d_out, int ld_d_out, int rows, int heads, int dim) {
    const int lanes = dim / 8;
    const unsigned item = blockIdx.x * (256 / lanes) + threadIdx.x / lanes;
    const long long row = item / static_cast<unsigned>(heads);
    const int head = static_cast<int>(item % static_cast<unsigned>(heads));
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
    static_assert(shared_bytes <= 163 * 1024, "what a block may use on sm_80");
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
        tile_keep<dim, tiles, Plan::in_registers>(kept_queries, left);
        tile_keep<dim, tiles, Plan::in_registers>(kept_gradient, left + Plan::left_bytes);
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
            tile_product<dim, tiles, keys, Plan::in_registers>(scores, kept_queries, left, keys_tile + tile_right_offset<dim>());
            tile_product<dim, tiles, keys, Plan::in_registers>(gradient, kept_gradient, left + Plan::left_bytes,
                                                                        keys_tile + Plan::tile_bytes + tile_right_offset<dim>());
            if (key + keys - 1 > query || key < first_keys[warp_row + tiles * 16 - 1]) {
                attention_mask<tiles, keys>(scores, first_keys, warp_row, block_row, key);
            }
            unsigned factor[keys / 16][tiles][4];
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
                        factor[column / 2][tile][column % 2 * 2 + half] = to_bf16_pair(first, second);
                    }
                }
            }
#pragma unroll
            for (int step = 0; step < keys / 16; step++) {
                tile_product_step<dim, tiles>(sums, factor[step], keys_tile + tile_left_offset<dim>(), step * 16);
            }
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

#define ATTENTION_BACKWARD_QUERIES(dim)                                                                                      \
    extern "C" __global__ void __launch_bounds__(BackwardQueriesPlan<dim>::threads) attention_backward_queries_d##dim(       \
        bf16* dq, int ld_d, const bf16* q, const bf16* k, const bf16* v, int ld, const bf16* d_out, int ld_d_out,            \
        const float* log_sums, const float* delta, const unsigned* starts, int rows, int query_heads, int key_heads,         \
        float scale, int window) {                                                                                           \
        attention_backward_queries<dim>(dq, ld_d, q, k, v, ld, d_out, ld_d_out, log_sums, delta, starts, rows, query_heads,  \
                                        key_heads, scale, window);                                                           \
    }                                                                                                                        \
    EXPORT(attention_backward_queries_d##dim)

ATTENTION_BACKWARD_QUERIES(16)
ATTENTION_BACKWARD_QUERIES(32)
ATTENTION_BACKWARD_QUERIES(64)
ATTENTION_BACKWARD_QUERIES(128)
ATTENTION_BACKWARD_QUERIES(256)
