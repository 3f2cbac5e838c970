// Tiles of matrices in shared memory, and the products that a warp makes of them; after `common.cuh`.

// A tile [rows, width] of bf16 in shared memory. The 16-byte chunks of a row are permuted so that one column of chunks lies in
// different banks in any eight rows from a multiple of 8 on. A tile begins at a multiple of its row's bytes, so that a column is
// chosen by an exclusive or with the address.
template <int width>
__device__ __forceinline__ unsigned tile_offset(int row, int chunk) {
    static_assert(width == 16 || width == 32 || width == 64 || width == 128 || width == 256, "a width with a permutation");
    const int turn = width >= 64 ? row & 7 : width == 32 ? row >> 1 & 3 : row >> 2 & 1;
    return static_cast<unsigned>(row * width * 2 + ((chunk ^ turn) << 4));
}

// Starts the copy of a tile by all threads of the block; rows from `valid` on become zeros.
template <int width, int rows, int threads>
__device__ __forceinline__ void copy_tile_async(unsigned to, const bf16* from, int ld, int valid) {
    constexpr int chunks = width / 8;
    constexpr int step = threads / chunks;
    static_assert(rows % step == 0 || rows < step, "whole passes");
    const int row = threadIdx.x / chunks;
    const int chunk = threadIdx.x % chunks;
    if (rows < step && row >= rows) {
        return;
    }
    from += static_cast<long long>(row) * ld + chunk * 8;
#pragma unroll
    for (int done = 0; done < rows; done += step) {
        copy_async_16(to + tile_offset<width>(row + done, chunk), from, row + done < valid);
        from += static_cast<long long>(step) * ld;
    }
}

// Where this lane's row of four matrices lies in a tile: as the left factor, or (transposed) as the right factor [k, n].
template <int width>
__device__ __forceinline__ unsigned tile_left_offset() {
    return tile_offset<width>(threadIdx.x % 16, threadIdx.x % 32 / 16);
}

// As the right factor, for two tiles of 8 columns; the tile holds its transpose [n, k].
template <int width>
__device__ __forceinline__ unsigned tile_right_offset() {
    return tile_offset<width>(threadIdx.x % 8 + threadIdx.x % 32 / 16 * 8, threadIdx.x / 8 % 2);
}

// Address for the 16 columns from 16·column on and the rows from `row` on, a multiple of 16.
template <int width>
__device__ __forceinline__ unsigned tile_address(unsigned lane_address, int row, int column) {
    return (lane_address ^ static_cast<unsigned>(column << 5)) + static_cast<unsigned>(row * width * 2);
}

// sums [16·tiles, width] += left [16·tiles, dim] · right [width, dim]ᵀ; the first `in_registers` steps of 16 of the left factor have
// been kept by tile_keep.
template <int dim, int tiles, int width, int in_registers>
__device__ __forceinline__ void tile_product(float (&sums)[tiles][width / 8][4],
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
__device__ __forceinline__ void tile_keep(unsigned (&kept)[tiles][in_registers > 0 ? in_registers : 1][4], unsigned left) {
#pragma unroll
    for (int tile = 0; tile < tiles; tile++) {
#pragma unroll
        for (int inner = 0; inner < in_registers; inner++) {
            load_matrices(kept[tile][inner], tile_address<dim>(left, tile * 16, inner));
        }
    }
}

// sums [16·tiles, dim] += left [16·tiles, 16] · rows of `right` [.., dim] from `row` on, the left factor from to_left_factor.
template <int dim, int tiles>
__device__ __forceinline__ void tile_product_step(float (&sums)[tiles][dim / 8][4], const unsigned (&left)[tiles][4], unsigned right,
                                                  int row) {
#pragma unroll
    for (int pair = 0; pair < dim / 16; pair++) {
        unsigned b[4];
        load_matrices_transposed(b, tile_address<dim>(right, row, pair));
#pragma unroll
        for (int tile = 0; tile < tiles; tile++) {
            multiply_add(sums[tile][pair * 2], left[tile], b[0], b[1]);
            multiply_add(sums[tile][pair * 2 + 1], left[tile], b[2], b[3]);
        }
    }
}

// Of what multiply_add left as sums, the 16 columns from 16·step on as a left factor in bf16.
template <int tiles, int width>
__device__ __forceinline__ void to_left_factor(unsigned (&factor)[tiles][4], const float (&sums)[tiles][width / 8][4], int step) {
#pragma unroll
    for (int tile = 0; tile < tiles; tile++) {
#pragma unroll
        for (int part = 0; part < 4; part++) {
            const float(&from)[4] = sums[tile][step * 2 + part / 2];
            factor[tile][part] = to_bf16_pair(from[part % 2 * 2], from[part % 2 * 2 + 1]);
        }
    }
}

// sums [16·tiles, 8·columns] of a warp, as multiply_add leaves them, times `factor` as bf16 to rows of memory: by way of a tile in
// shared memory, for whole 16-byte stores. `factors` holds one factor for each half of each tile's rows.
template <int width, int tiles>
__device__ __forceinline__ void store_sums(bf16* to, int ld, int valid, unsigned char* tile, const float (&sums)[tiles][width / 8][4],
                                           const float (&factors)[tiles][2]) {
    const int lane = threadIdx.x % 32;
    __syncwarp();
#pragma unroll
    for (int part = 0; part < tiles; part++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int row = part * 16 + half * 8 + lane / 4;
#pragma unroll
            for (int column = 0; column < width / 8; column++) {
                const float first = sums[part][column][half * 2] * factors[part][half];
                const float second = sums[part][column][half * 2 + 1] * factors[part][half];
                *reinterpret_cast<unsigned*>(tile + tile_offset<width>(row, column) + lane % 4 * 4) = to_bf16_pair(first, second);
            }
        }
    }
    __syncwarp();
    constexpr int chunks = width / 8;
#pragma unroll 4
    for (int chunk = lane; chunk < tiles * 16 * chunks; chunk += 32) {
        const int row = chunk / chunks;
        if (row < valid) {
            const uint4 values = *reinterpret_cast<const uint4*>(tile + tile_offset<width>(row, chunk % chunks));
            *reinterpret_cast<uint4*>(to + static_cast<long long>(row) * ld + chunk % chunks * 8) = values;
        }
    }
}

// Of scores [16·tiles, keys] of a warp, sets those to −∞ whose key, from `key` on, comes after the row's query or before the first
// key that it sees. `row` is the first row within the block, which begins at query `block_row`.
template <int tiles, int keys>
__device__ __forceinline__ void attention_mask(float (&scores)[tiles][keys / 8][4], const int* first_keys, int row, int block_row,
                                               int key) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int part = 0; part < tiles * 2; part++) {
        const int own = row + part * 8 + lane / 4;
        const int first = first_keys[own] - key - lane % 4 * 2;
        const int last = block_row + own - key - lane % 4 * 2;
#pragma unroll
        for (int column = 0; column < keys / 4; column++) {
            const int at = column / 2 * 8 + column % 2;
            if (at < first || at > last) {
                scores[part / 2][column / 2][part % 2 * 2 + column % 2] = -infinity();
            }
        }
    }
}
