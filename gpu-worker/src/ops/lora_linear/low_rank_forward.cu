// The first product of low-rank updates, S = X·Aᵀ, for layers that read the same input; S may lie behind the columns of X.
//
// Launch of low_rank_forward_nN, for up to N columns of S: grid (ceil(rows / 64), 1, 1), 256 threads.
//    N  shared bytes
//   16       102,400
//   32        98,304
//   48       114,688
//   64        98,304
// The width of X and the columns of S are multiples of 8; all matrices begin at multiples of 16 bytes.

template <int most_columns>
struct LowRankForwardPlan {
    static constexpr int threads = 256;
    static constexpr int rows = 64;
    static constexpr int inputs = 128;
    // Warps that share rows, each with its part of the inputs of every tile.
    static constexpr int parts = 4;
    static constexpr int tiles = 2;
    // So that two blocks fit a multiprocessor of sm_90.
    static constexpr int stages = most_columns <= 16 ? 5 : most_columns <= 48 ? 4 : 3;
    static constexpr int x_bytes = rows * inputs * 2;
    static constexpr int stage_bytes = x_bytes + most_columns * inputs * 2;
    static constexpr int shared_bytes = stages * stage_bytes;
    static constexpr int columns = most_columns / 8;
    static_assert(rows == threads / 32 / parts * tiles * 16, "all rows");
    static_assert(shared_bytes <= 113 * 1024, "two blocks on sm_90");
    static_assert(threads / 32 * tiles * columns * 32 * 16 <= shared_bytes, "room for the parts of the sums");
};

template <int most_columns>
__device__ __forceinline__ void low_rank_forward(bf16* s, int ld_s, const bf16* x, int ld_x, const bf16* a, int ld_a, int rows, int inputs,
                                                 int low_rank) {
    using Plan = LowRankForwardPlan<most_columns>;
    constexpr int tiles = Plan::tiles;
    constexpr int columns = Plan::columns;
    DYNAMIC_SHARED(unsigned char, shared);
    const unsigned base = shared_address(shared);
    const int lane = threadIdx.x % 32;
    const int part = threadIdx.x / 32 % Plan::parts;
    const int first_row = threadIdx.x / 32 / Plan::parts * tiles * 16;
    const int block_row = blockIdx.x * Plan::rows;
    x += static_cast<long long>(block_row) * ld_x;
    s += static_cast<long long>(block_row) * ld_s;

    const int steps = (inputs + Plan::inputs - 1) / Plan::inputs;
    int next_step = 0, next_stage = 0;
    const auto copy_next = [&]() {
        if (next_step < steps) {
            const int input = next_step * Plan::inputs;
            const bool in_width = input + static_cast<int>(threadIdx.x % (Plan::inputs / 8)) * 8 < inputs;
            const unsigned to = base + next_stage * Plan::stage_bytes;
            copy_tile_async<Plan::inputs, Plan::rows, Plan::threads>(to, x + input, ld_x, in_width ? rows - block_row : 0);
            copy_tile_async<Plan::inputs, most_columns, Plan::threads>(to + Plan::x_bytes, a + input, ld_a, in_width ? low_rank : 0);
            next_step++;
            next_stage = next_stage + 1 == Plan::stages ? 0 : next_stage + 1;
        }
        copy_async_commit();
    };
#pragma unroll
    for (int stage = 0; stage < Plan::stages - 1; stage++) {
        copy_next();
    }

    float sums[tiles][columns][4] = {};
    int stage = 0;
    for (int step = 0; step < steps; step++) {
        copy_async_wait<Plan::stages - 2>();
        __syncthreads();
        copy_next();
        const unsigned left = base + stage * Plan::stage_bytes + tile_left_offset<Plan::inputs>();
        const unsigned right = base + stage * Plan::stage_bytes + Plan::x_bytes + tile_right_offset<Plan::inputs>();
#pragma unroll
        for (int inner = 0; inner < Plan::inputs / 16 / Plan::parts; inner++) {
            const int column = inner * Plan::parts + part;
            unsigned of_x[tiles][4];
#pragma unroll
            for (int tile = 0; tile < tiles; tile++) {
                load_matrices(of_x[tile], tile_address<Plan::inputs>(left, first_row + tile * 16, column));
            }
#pragma unroll
            for (int pair = 0; pair < columns / 2; pair++) {
                unsigned of_a[4];
                load_matrices(of_a, tile_address<Plan::inputs>(right, pair * 16, column));
#pragma unroll
                for (int tile = 0; tile < tiles; tile++) {
                    multiply_add(sums[tile][pair * 2], of_x[tile], of_a[0], of_a[1]);
                    multiply_add(sums[tile][pair * 2 + 1], of_x[tile], of_a[2], of_a[3]);
                }
            }
        }
        stage = stage + 1 == Plan::stages ? 0 : stage + 1;
    }

    // The parts of the sums, for each warp its tiles one after another.
    float4* const parts = reinterpret_cast<float4*>(shared);
    __syncthreads();
#pragma unroll
    for (int tile = 0; tile < tiles; tile++) {
#pragma unroll
        for (int column = 0; column < columns; column++) {
            const float(&sum)[4] = sums[tile][column];
            parts[((threadIdx.x / 32 * tiles + tile) * columns + column) * 32 + lane] = make_float4(sum[0], sum[1], sum[2], sum[3]);
        }
    }
    __syncthreads();
    const int first_warp = threadIdx.x / 32 - part;
#pragma unroll
    for (int own = 0; own < tiles * columns / Plan::parts; own++) {
        const int index = own * Plan::parts + part;
        const int row = first_row + index / columns * 16 + lane / 4;
        const int column = index % columns * 8 + lane % 4 * 2;
        float4 sum = {};
#pragma unroll
        for (int other = 0; other < Plan::parts; other++) {
            const float4 value = parts[((first_warp + other) * tiles * columns + index) * 32 + lane];
            sum.x += value.x;
            sum.y += value.y;
            sum.z += value.z;
            sum.w += value.w;
        }
        if (column < low_rank) {
            bf16* const to = s + static_cast<long long>(row) * ld_s + column;
            if (block_row + row < rows) {
                *reinterpret_cast<unsigned*>(to) = to_bf16_pair(sum.x, sum.y);
            }
            if (block_row + row + 8 < rows) {
                *reinterpret_cast<unsigned*>(to + 8ll * ld_s) = to_bf16_pair(sum.z, sum.w);
            }
        }
    }
}

#define LOW_RANK_FORWARD(most_columns)                                                                                          \
    extern "C" __global__ void __launch_bounds__(LowRankForwardPlan<most_columns>::threads, 2) low_rank_forward_n##most_columns( \
        bf16* s, int ld_s, const bf16* x, int ld_x, const bf16* a, int ld_a, int rows, int inputs, int low_rank) {               \
        low_rank_forward<most_columns>(s, ld_s, x, ld_x, a, ld_a, rows, inputs, low_rank);                                       \
    }                                                                                                                            \
    EXPORT(low_rank_forward_n##most_columns)

LOW_RANK_FORWARD(16)
LOW_RANK_FORWARD(32)
LOW_RANK_FORWARD(48)
LOW_RANK_FORWARD(64)
