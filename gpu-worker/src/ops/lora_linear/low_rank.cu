// Gradients of low-rank updates, from one reading of dY: of layers that read the same input, dS = dY·B into the columns behind dY
// and dB += scale·dYᵀ·S, each layer with its own columns of S, dS and B. By the same way dA += dSᵀ·X.
//
// Blocks cover some rows and some outputs of one layer; their sums go to memory, and low_rank_sums adds them up in a fixed order.
//
// Launch of low_rank_backward_rN, for ranks up to N: grid (chunks of all layers, row blocks, 1), 256 threads; the outputs of a layer
// are cut into `chunks` of `chunk` each (at most `most`; a layer without chunks is none), rows into blocks of `block_rows`, a multiple
// of 128. Launch of low_rank_a_rN, for N columns of dS: the same with inputs for outputs.
//    N   most  shared bytes  of low_rank_a
//   16    512       163,840        147,456
//   32    512       155,648        163,840
//   64    256       131,072        147,456
// s_sums: for each chunk of the layers that have several, in order, [rows, rank]. b_sums: for each row block the outputs of all layers
// one after another, [outputs, rank]. Ranks, widths and chunks are multiples of 8; all matrices begin at multiples of 16 bytes.
//
// Launch of low_rank_sums: 256 threads; grid x = over all layers, ceil(rows·rank / (4·columns)) if it has several chunks, and
// ceil(width·rank / (4·columns)), where columns is 32 if more than 8 sums (chunks or row blocks) are added and else 256. With `ld_turned`
// what is db_0 is dA [rank, width], its rows that far apart, and else 0.

constexpr int LOW_RANK_LAYERS = 3;
constexpr int LOW_RANK_THREADS = 256;

// Its first output in dY and B, how many it has, its first column in S, dS and B, outputs of a chunk, and how many chunks.
struct LowRankLayer {
    int output, width, column, chunk, chunks;
};

template <int most_rank, bool with_s>
struct LowRankPlan {
    // Of a tile, which all warps share: 16 rows of it for dS and 16 outputs for dB are of one warp.
    static constexpr int rows = 128;
    static constexpr int outputs = 128;
    // Tiles side by side whose sums for dB fit the registers.
    static constexpr int steps = most_rank <= 32 ? 4 : 2;
    static constexpr int stages = (most_rank <= 16 ? 4 : most_rank <= 32 ? 3 : 2) + (most_rank > 16 && !with_s ? 1 : 0);
    static constexpr bool keeps_s = most_rank <= 32;
    static constexpr int pairs = most_rank / 16;
    static constexpr int tile_bytes = rows * outputs * 2;
    static constexpr int s_bytes = rows * most_rank * 2;
    static constexpr int tiles_at = with_s ? steps * outputs * most_rank * 2 : 0;
    static constexpr int s_at = tiles_at + stages * tile_bytes;
    static constexpr int shared_bytes = s_at + stages * s_bytes;
    static_assert(rows == LOW_RANK_THREADS / 2 && outputs == rows, "16 rows and 16 outputs for each warp");
    static_assert(shared_bytes <= 163 * 1024, "what a block may use on sm_80");
};

template <int most_rank, bool with_s>
__device__ __forceinline__ void low_rank_backward(float* s_sums, float* b_sums, bf16* ds, int ld_ds, const bf16* dy, int ld_dy,
                                                  const bf16* s, int ld_s, const bf16* b, int ld_b, int rows, int rank, int block_rows,
                                                  const LowRankLayer (&layers)[LOW_RANK_LAYERS]) {
    using Plan = LowRankPlan<most_rank, with_s>;
    constexpr int pairs = Plan::pairs;
    DYNAMIC_SHARED(unsigned char, shared);
    const unsigned base = shared_address(shared);
    const int lane = threadIdx.x % 32;
    const int warp = threadIdx.x / 32;

    // This block's outputs.
    LowRankLayer own = {};
    int index = blockIdx.x;
    int all_outputs = 0, first_output = 0, slice = 0;
    bool found = false;
#pragma unroll
    for (int layer = 0; layer < LOW_RANK_LAYERS; layer++) {
        const int chunks = layers[layer].chunks;
        if (!found && index < chunks) {
            own = layers[layer];
            first_output = all_outputs + index * own.chunk;
            slice += index;
            found = true;
        } else if (!found) {
            index -= chunks;
            slice += chunks > 1 ? chunks : 0;
        }
        all_outputs += layers[layer].width;
    }
    const bool alone = own.chunks == 1;
    const int from = index * own.chunk;
    const int width = min(own.chunk, own.width - from);
    dy += own.output + from;
    b += static_cast<long long>(own.output + from) * ld_b + own.column;
    s += own.column;
    ds += own.column;
    s_sums += static_cast<long long>(slice) * rows * rank;
    b_sums += (static_cast<long long>(blockIdx.y) * all_outputs + first_output) * rank;

    const int first_row = blockIdx.y * block_rows;
    const int passes = (min(rows - first_row, block_rows) + Plan::rows - 1) / Plan::rows;
    const int steps = (width + Plan::outputs - 1) / Plan::outputs;
    // Threads whose columns are beyond the rank fill with zeros.
    const bool in_rank = static_cast<int>(threadIdx.x % (most_rank / 8)) * 8 < rank;

    int next_pass = 0, next_step = 0, next_stage = 0, next_slot = 0;
    const auto copy_next = [&]() {
        if (next_pass < passes) {
            const int row = first_row + next_pass * Plan::rows;
            const int output = next_step * Plan::outputs;
            const bool in_width = output + static_cast<int>(threadIdx.x % (Plan::outputs / 8)) * 8 < width;
            copy_tile_async<Plan::outputs, Plan::rows, LOW_RANK_THREADS>(base + Plan::tiles_at + next_stage * Plan::tile_bytes,
                                                                         dy + static_cast<long long>(row) * ld_dy + output, ld_dy,
                                                                         in_width ? rows - row : 0);
            if (next_step == 0) {
                copy_tile_async<most_rank, Plan::rows, LOW_RANK_THREADS>(base + Plan::s_at + next_slot * Plan::s_bytes,
                                                                         s + static_cast<long long>(row) * ld_s, ld_s,
                                                                         in_rank ? rows - row : 0);
                next_slot = next_slot + 1 == Plan::stages ? 0 : next_slot + 1;
            }
            next_stage = next_stage + 1 == Plan::stages ? 0 : next_stage + 1;
            next_step++;
            if (next_step == steps) {
                next_step = 0;
                next_pass++;
            }
        }
        copy_async_commit();
    };
    if (with_s) {
        copy_tile_async<most_rank, Plan::steps * Plan::outputs, LOW_RANK_THREADS>(base, b, ld_b, in_rank ? width : 0);
    }
#pragma unroll
    for (int stage = 0; stage < Plan::stages - 1; stage++) {
        copy_next();
    }

    const unsigned b_lane = base + tile_left_offset<most_rank>();
    float of_b[Plan::steps][most_rank / 8][4] = {};
    int stage = 0, slot = 0;
    for (int pass = 0; pass < passes; pass++) {
        const unsigned s_lane = base + Plan::s_at + slot * Plan::s_bytes + tile_left_offset<most_rank>();
        float of_s[most_rank / 8][4] = {};
        unsigned kept[Plan::rows / 16][pairs][4];
#pragma unroll
        for (int step = 0; step < Plan::steps; step++) {
            if (step < steps) {
                copy_async_wait<Plan::stages - 2>();
                __syncthreads();
                copy_next();
                if (Plan::keeps_s && step == 0) {
#pragma unroll
                    for (int inner = 0; inner < Plan::rows / 16; inner++) {
#pragma unroll
                        for (int pair = 0; pair < pairs; pair++) {
                            load_matrices_transposed(kept[inner][pair], tile_address<most_rank>(s_lane, inner * 16, pair));
                        }
                    }
                }
                const unsigned tile = base + Plan::tiles_at + stage * Plan::tile_bytes;
                const unsigned left = tile + tile_left_offset<Plan::outputs>();
                const unsigned turned = tile + tile_right_offset<Plan::outputs>();
#pragma unroll
                for (int inner = 0; inner < Plan::outputs / 16; inner++) {
                    unsigned of_rows[4], of_outputs[4];
                    if (with_s) {
                        load_matrices(of_rows, tile_address<Plan::outputs>(left, warp * 16, inner));
                    }
                    load_matrices_transposed(of_outputs, tile_address<Plan::outputs>(turned, inner * 16, warp));
#pragma unroll
                    for (int pair = 0; pair < pairs; pair++) {
                        if (with_s) {
                            unsigned right[4];
                            load_matrices_transposed(right,
                                                     tile_address<most_rank>(b_lane, step * Plan::outputs + inner * 16, pair));
                            multiply_add(of_s[pair * 2], of_rows, right[0], right[1]);
                            multiply_add(of_s[pair * 2 + 1], of_rows, right[2], right[3]);
                        }
                        if (!Plan::keeps_s) {
                            load_matrices_transposed(kept[inner][pair], tile_address<most_rank>(s_lane, inner * 16, pair));
                        }
                        multiply_add(of_b[step][pair * 2], of_outputs, kept[inner][pair][0], kept[inner][pair][1]);
                        multiply_add(of_b[step][pair * 2 + 1], of_outputs, kept[inner][pair][2], kept[inner][pair][3]);
                    }
                }
                stage = stage + 1 == Plan::stages ? 0 : stage + 1;
            }
        }
        slot = slot + 1 == Plan::stages ? 0 : slot + 1;
#pragma unroll
        for (int half = 0; with_s && half < 2; half++) {
            const long long row = first_row + pass * Plan::rows + warp * 16 + half * 8 + lane / 4;
#pragma unroll
            for (int tile = 0; tile < most_rank / 8; tile++) {
                const int column = tile * 8 + lane % 4 * 2;
                const float first = of_s[tile][half * 2], second = of_s[tile][half * 2 + 1];
                if (row < rows && column < rank) {
                    if (alone) {
                        *reinterpret_cast<unsigned*>(ds + row * ld_ds + column) = to_bf16_pair(first, second);
                    } else {
                        *reinterpret_cast<float2*>(s_sums + row * rank + column) = make_float2(first, second);
                    }
                }
            }
        }
    }
#pragma unroll
    for (int step = 0; step < Plan::steps; step++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int output = step * Plan::outputs + warp * 16 + half * 8 + lane / 4;
#pragma unroll
            for (int tile = 0; tile < most_rank / 8; tile++) {
                const int column = tile * 8 + lane % 4 * 2;
                const float(&sum)[4] = of_b[step][tile];
                if (output < width && column < rank) {
                    *reinterpret_cast<float2*>(b_sums + static_cast<long long>(output) * rank + column) =
                        make_float2(sum[half * 2], sum[half * 2 + 1]);
                }
            }
        }
    }
}

#define LOW_RANK_BACKWARD(most_rank)                                                                                             \
    extern "C" __global__ void __launch_bounds__(LOW_RANK_THREADS, 1) low_rank_backward_r##most_rank(                            \
        float* s_sums, float* b_sums, bf16* ds, int ld_ds, const bf16* dy, int ld_dy, const bf16* s, int ld_s, const bf16* b,    \
        int ld_b, int rows, int rank, int block_rows, int output_0, int width_0, int column_0, int chunk_0, int chunks_0,        \
        int output_1, int width_1, int column_1, int chunk_1, int chunks_1, int output_2, int width_2, int column_2,             \
        int chunk_2, int chunks_2) {                                                                                             \
        const LowRankLayer layers[LOW_RANK_LAYERS] = {{output_0, width_0, column_0, chunk_0, chunks_0},                          \
                                                      {output_1, width_1, column_1, chunk_1, chunks_1},                          \
                                                      {output_2, width_2, column_2, chunk_2, chunks_2}};                         \
        low_rank_backward<most_rank, true>(s_sums, b_sums, ds, ld_ds, dy, ld_dy, s, ld_s, b, ld_b, rows, rank, block_rows,       \
                                           layers);                                                                              \
    }                                                                                                                            \
    EXPORT(low_rank_backward_r##most_rank)                                                                                       \
    extern "C" __global__ void __launch_bounds__(LOW_RANK_THREADS, 1) low_rank_a_r##most_rank(                                   \
        float* sums, const bf16* x, int ld_x, const bf16* ds, int ld_ds, int rows, int columns, int block_rows, int inputs,      \
        int chunk, int chunks) {                                                                                                 \
        const LowRankLayer layers[LOW_RANK_LAYERS] = {{0, inputs, 0, chunk, chunks}, {}, {}};                                    \
        low_rank_backward<most_rank, false>(nullptr, sums, nullptr, 0, x, ld_x, ds, ld_ds, nullptr, 0, rows, columns,            \
                                            block_rows, layers);                                                                 \
    }                                                                                                                            \
    EXPORT(low_rank_a_r##most_rank)

LOW_RANK_BACKWARD(16)
LOW_RANK_BACKWARD(32)
LOW_RANK_BACKWARD(64)

// Terms of a sum that a thread has under way at once; of longer sums eight threads take turns.
constexpr int LOW_RANK_TERMS = 8;

__device__ __forceinline__ void low_rank_add(float4& sum, const float4& value) {
    sum.x += value.x;
    sum.y += value.y;
    sum.z += value.z;
    sum.w += value.w;
}

extern "C" __global__ void __launch_bounds__(LOW_RANK_THREADS) low_rank_sums(
    float* db_0, float* db_1, float* db_2, bf16* ds, int ld_ds, const float* s_sums, const float* b_sums, int rows, int rank,
    int row_blocks, float scale, int ld_turned, int width_0, int column_0, int chunks_0, int width_1, int column_1, int chunks_1, int width_2,
    int column_2, int chunks_2) {
    __shared__ float4 partials[LOW_RANK_THREADS];
    const LowRankLayer layers[LOW_RANK_LAYERS] = {
        {0, width_0, column_0, 0, chunks_0}, {0, width_1, column_1, 0, chunks_1}, {0, width_2, column_2, 0, chunks_2}};
    float* const db[LOW_RANK_LAYERS] = {db_0, db_1, db_2};

    // What this block adds up.
    int block = blockIdx.x;
    int count = 0, values = 0, column = 0;
    long long slice = 0;
    const float* from = nullptr;
    float* to = nullptr;
#pragma unroll
    for (int part = 0; part < 2 * LOW_RANK_LAYERS; part++) {
        const LowRankLayer layer = layers[part / 2];
        const bool is_s = part % 2 == 0;
        if (from != nullptr || (is_s && layer.chunks <= 1)) {
            continue;
        }
        count = is_s ? layer.chunks : row_blocks;
        values = (is_s ? rows : layer.width) * rank;
        slice = static_cast<long long>(is_s ? rows : width_0 + width_1 + width_2) * rank;
        const int per_block = LOW_RANK_THREADS * 4 / (count > LOW_RANK_TERMS ? 8 : 1);
        const int blocks = (values + per_block - 1) / static_cast<unsigned>(per_block);
        if (block < blocks) {
            from = is_s ? s_sums : b_sums;
            to = is_s ? nullptr : db[part / 2];
            column = layer.column;
        } else {
            block -= blocks;
            s_sums += is_s ? count * slice : 0;
            b_sums += is_s ? 0 : values;
        }
    }
    if (from == nullptr) {
        return;
    }
    const bool shared_sum = count > LOW_RANK_TERMS;
    const int turns = shared_sum ? 8 : 1;
    const int own = shared_sum ? threadIdx.x % (LOW_RANK_THREADS / 8) : threadIdx.x;
    const int turn = shared_sum ? threadIdx.x / (LOW_RANK_THREADS / 8) : 0;
    const int at = (block * (shared_sum ? LOW_RANK_THREADS / 8 : LOW_RANK_THREADS) + own) * 4;
    const bool valid = at < values;
    float4 sum = {};
    for (int first = turn; valid && first < count; first += turns * LOW_RANK_TERMS) {
        float4 terms[LOW_RANK_TERMS];
#pragma unroll
        for (int term = 0; term < LOW_RANK_TERMS; term++) {
            const int index = first + term * turns;
            terms[term] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
            if (index < count) {
                terms[term] = *reinterpret_cast<const float4*>(from + index * slice + at);
            }
        }
#pragma unroll
        for (int term = 0; term < LOW_RANK_TERMS; term++) {
            low_rank_add(sum, terms[term]);
        }
    }
    if (shared_sum) {
        partials[threadIdx.x] = sum;
        __syncthreads();
        if (turn > 0) {
            return;
        }
#pragma unroll
        for (int other = 1; other < 8; other++) {
            low_rank_add(sum, partials[other * (LOW_RANK_THREADS / 8) + own]);
        }
    }
    if (!valid) {
        return;
    }
    const int row = at / rank;
    const int within = at - row * rank;
    if (to == nullptr) {
        const uint2 rounded = make_uint2(to_bf16_pair(sum.x, sum.y), to_bf16_pair(sum.z, sum.w));
        *reinterpret_cast<uint2*>(ds + static_cast<long long>(row) * ld_ds + column + within) = rounded;
    } else if (ld_turned > 0) {
        const float values_of_row[4] = {sum.x, sum.y, sum.z, sum.w};
#pragma unroll
        for (int value = 0; value < 4; value++) {
            to[static_cast<long long>(within + value) * ld_turned + row] += scale * values_of_row[value];
        }
    } else {
        float4 value = *reinterpret_cast<float4*>(to + at);
        value.x += scale * sum.x;
        value.y += scale * sum.y;
        value.z += scale * sum.z;
        value.w += scale * sum.w;
        *reinterpret_cast<float4*>(to + at) = value;
    }
}
EXPORT(low_rank_sums)
