// Products of warpgroups: started in groups, done when they are waited for, or at random.

#pragma once

#include "fragments.h"

#include <algorithm>

namespace clara {
namespace {

// Value (row, k) of an operand of a warpgroup's product, or (k, row) where `transposed`, in rows of 128 bytes whose chunks of 16
// bytes are permuted.
float published_value(unsigned long long descriptor, bool transposed, unsigned row, unsigned k) {
    const unsigned start = descriptor & 0x3fff, leading = descriptor >> 16 & 0x3fff, stride = descriptor >> 32 & 0x3fff;
    if ((descriptor & 0xffffc000c000c000) != 1ull << 62) {
        fail();
    }
    unsigned address = start * 16;
    if (transposed) {
        address += row / 64 * leading * 16 + row % 64 * 2 + k / 8 * stride * 16 + k % 8 * 128;
    } else {
        address += row / 8 * stride * 16 + row % 8 * 128 + k * 2;
    }
    address ^= (address >> 7 & 7) << 4;
    if (address + 2 > sizeof published_memory) {
        fail();
    }
    unsigned short bits;
    std::memcpy(&bits, published_memory + address, 2);
    return bf16_value(bits);
}

std::list<WarpSums>::iterator sums_of(Warp& warp, const GroupProduct& product) {
    return std::find_if(warp.sums.begin(), warp.sums.end(), [&](const WarpSums& sums) { return sums.registers[0] == product.sums; });
}

// The oldest product of a warp; `index` is the warp's place in its group.
void perform_product(Warp& warp, unsigned index) {
    const WarpProduct& product = warp.products.front();
    const GroupProduct& first = product.of_lanes[0];
    const unsigned columns = first.columns;
    float a[16][16];
    static float b[16][256];
    for (unsigned lane = 0; lane < 32; lane++) {
        const unsigned g = lane / 4, t = lane % 4 * 2;
        for (unsigned part = 0; part < 4 && first.a != nullptr; part++) {
            const unsigned row = g + part % 2 * 8, column = t + part / 2 * 8, pair = product.of_lanes[lane].a[part];
            a[row][column] = bf16_value(pair & 0xffff);
            a[row][column + 1] = bf16_value(pair >> 16);
        }
    }
    for (unsigned k = 0; k < 16; k++) {
        for (unsigned row = 0; row < 16 && first.a == nullptr; row++) {
            a[row][k] = published_value(first.a_descriptor, false, index * 16 + row, k);
        }
        for (unsigned column = 0; column < columns; column++) {
            b[k][column] = published_value(first.b_descriptor, first.transposed, column, k);
        }
    }
    const auto sums = sums_of(warp, first);
    for (unsigned row = 0; row < 16; row++) {
        float* to = &sums->values[row * columns];
        for (unsigned column = 0; column < columns && !first.accumulate; column++) {
            to[column] = 0.0f;
        }
        for (unsigned k = 0; k < 16; k++) {
            for (unsigned column = 0; column < columns; column++) {
                to[column] += a[row][k] * b[k][column];
            }
        }
    }
    if (--sums->products == 0) {
        for (unsigned lane = 0; lane < 32; lane++) {
            for (unsigned part = 0; part < columns / 2; part++) {
                float& to = sums->registers[lane][part];
                if (__float_as_uint(to) != 0xffffffffu) {
                    fail();
                }
                to = sums->values[(lane / 4 + part / 2 % 2 * 8) * columns + part / 4 * 8 + lane % 4 * 2 + part % 2];
            }
        }
        warp.sums.erase(sums);
    }
    warp.products.pop_front();
}

void start_product(void* const* requests) {
    const unsigned index = running / 32;
    Warp& warp = warps[index];
    WarpProduct product;
    product.group = warp.groups;
    for (unsigned lane = 0; lane < 32; lane++) {
        product.of_lanes[lane] = *static_cast<const GroupProduct*>(requests[lane]);
    }
    const GroupProduct& first = product.of_lanes[0];
    for (const GroupProduct& other : product.of_lanes) {
        if (other.a_descriptor != first.a_descriptor || other.b_descriptor != first.b_descriptor ||
            other.accumulate != first.accumulate) {
            fail();
        }
    }
    if (!warp.begun || threads % 128 != 0) {
        fail();
    }
    warp.history = (warp.history ^ first.b_descriptor ^ first.a_descriptor << 14) * 6364136223846793005u + first.accumulate;
    auto sums = sums_of(warp, first);
    if (sums == warp.sums.end()) {
        sums = warp.sums.insert(sums, WarpSums());
        sums->products = 0;
        sums->values.resize(16 * first.columns);
        for (unsigned lane = 0; lane < 32; lane++) {
            sums->registers[lane] = product.of_lanes[lane].sums;
            for (unsigned part = 0; part < first.columns / 2; part++) {
                float& from = sums->registers[lane][part];
                sums->values[(lane / 4 + part / 2 % 2 * 8) * first.columns + part / 4 * 8 + lane % 4 * 2 + part % 2] = from;
                from = __uint_as_float(0xffffffffu);
            }
        }
    }
    sums->products++;
    warp.products.push_back(product);
    while (random_state != 0 && !warp.products.empty() && random_below(4) == 0) {
        perform_product(warp, index % 4);
    }
}

void begin_products(void* const*) {
    warps[running / 32].begun = true;
}

void commit_products(void* const*) {
    Warp& warp = warps[running / 32];
    warp.begun = false;
    warp.groups++;
}

void wait_for_products(void* const* requests) {
    Warp& warp = warps[running / 32];
    const unsigned pending = *static_cast<const unsigned*>(requests[0]);
    while (!warp.products.empty() && warp.products.front().group + pending < warp.groups) {
        perform_product(warp, running / 32 % 4);
    }
}

}  // namespace

void warpgroup_begin() {
    warp_exchange(&begin_products, nullptr);
}

void warpgroup_commit() {
    warp_exchange(&commit_products, nullptr);
}

void warpgroup_wait(int pending) {
    unsigned request = static_cast<unsigned>(pending);
    warp_exchange(&wait_for_products, &request);
}

void warpgroup_multiply(const GroupProduct& product) {
    GroupProduct request = product;
    warp_exchange(&start_product, &request);
}

}  // namespace clara
