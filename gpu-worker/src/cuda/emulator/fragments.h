// What the lanes of a warp do together on the tensor cores: matrices from shared memory, and products of fragments.

#pragma once

#include "block.h"

namespace clara {
namespace {

struct MatricesRequest {
    unsigned address;
    unsigned* to;
};

template <bool transposed>
void load_matrices_of_warp(void* const* requests) {
    for (unsigned matrix = 0; matrix < 4; matrix++) {
        unsigned short rows[8][8];
        for (unsigned row = 0; row < 8; row++) {
            const unsigned address = static_cast<MatricesRequest*>(requests[matrix * 8 + row])->address;
            if (address % 16 != 0 || address + 16 > sizeof shared_memory) {
                fail();
            }
            std::memcpy(rows[row], shared_memory + address, 16);
        }
        for (unsigned lane = 0; lane < 32; lane++) {
            const unsigned g = lane / 4, t = lane % 4 * 2;
            const unsigned first = transposed ? rows[t][g] : rows[g][t];
            const unsigned second = transposed ? rows[t + 1][g] : rows[g][t + 1];
            static_cast<MatricesRequest*>(requests[lane])->to[matrix] = first | second << 16;
        }
    }
}

float bf16_value(unsigned bits) {
    return __uint_as_float(bits << 16);
}

struct ProductRequest {
    float* sum;
    const unsigned* a;
    unsigned b[2];
};

void multiply_add_of_warp(void* const* requests) {
    float a[16][16], b[16][8], sum[16][8];
    for (unsigned lane = 0; lane < 32; lane++) {
        const ProductRequest* request = static_cast<ProductRequest*>(requests[lane]);
        const unsigned g = lane / 4, t = lane % 4 * 2;
        for (unsigned part = 0; part < 4; part++) {
            const unsigned row = g + part % 2 * 8, column = t + part / 2 * 8;
            a[row][column] = bf16_value(request->a[part] & 0xffff);
            a[row][column + 1] = bf16_value(request->a[part] >> 16);
            sum[g + part / 2 * 8][t + part % 2] = request->sum[part];
        }
        for (unsigned part = 0; part < 2; part++) {
            b[t + part * 8][g] = bf16_value(request->b[part] & 0xffff);
            b[t + part * 8 + 1][g] = bf16_value(request->b[part] >> 16);
        }
    }
    for (unsigned row = 0; row < 16; row++) {
        for (unsigned inner = 0; inner < 16; inner++) {
            for (unsigned column = 0; column < 8; column++) {
                sum[row][column] += a[row][inner] * b[inner][column];
            }
        }
    }
    for (unsigned lane = 0; lane < 32; lane++) {
        const unsigned g = lane / 4, t = lane % 4 * 2;
        for (unsigned part = 0; part < 4; part++) {
            static_cast<ProductRequest*>(requests[lane])->sum[part] = sum[g + part / 2 * 8][t + part % 2];
        }
    }
}

}  // namespace

void load_matrices(unsigned (&to)[4], unsigned address, bool transposed) {
    MatricesRequest request = {address, to};
    warp_exchange(transposed ? &load_matrices_of_warp<true> : &load_matrices_of_warp<false>, &request);
}

void multiply_add(float (&sum)[4], const unsigned (&a)[4], unsigned b_first, unsigned b_second) {
    ProductRequest request = {sum, a, {b_first, b_second}};
    warp_exchange(&multiply_add_of_warp, &request);
}

}  // namespace clara
