// Products of matrices as cuBLASLt gives them; after `common.cuh`.

#pragma once

#include "emulator.h"

#include <algorithm>
#include <vector>

void clara_multiply(size_t m, size_t n, size_t k, float alpha, const void* a, size_t a_stride, int a_transposed, const void* b,
                    size_t b_stride, int b_transposed, const void* c, size_t c_stride, int c_transposed, void* d, size_t d_stride, int result_f32,
                    const void* bias) {
    const auto value = [](const void* from, size_t index, bool f32) {
        return f32 ? static_cast<const float*>(from)[index] : to_float(static_cast<const bf16*>(from)[index]);
    };
    std::vector<float> right(k * n), left(k), sums(n);
    for (size_t inner = 0; inner < k; inner++) {
        for (size_t column = 0; column < n; column++) {
            right[inner * n + column] = value(b, b_transposed ? column * b_stride + inner : inner * b_stride + column, false);
        }
    }
    for (size_t row = 0; row < m; row++) {
        for (size_t inner = 0; inner < k; inner++) {
            left[inner] = value(a, a_transposed ? inner * a_stride + row : row * a_stride + inner, false);
        }
        std::fill(sums.begin(), sums.end(), 0.0f);
        for (size_t inner = 0; inner < k; inner++) {
            const float factor = left[inner];
            const float* from = &right[inner * n];
            float* to = sums.data();
            for (size_t column = 0; column < n; column++) {
                to[column] += factor * from[column];
            }
        }
        for (size_t column = 0; column < n; column++) {
            float sum = alpha * sums[column];
            if (c != nullptr) {
                sum += value(c, c_transposed ? column * c_stride + row : row * c_stride + column, result_f32 != 0);
            }
            if (bias != nullptr) {
                sum += value(bias, column, false);
            }
            if (result_f32 != 0) {
                static_cast<float*>(d)[row * d_stride + column] = sum;
            } else {
                static_cast<bf16*>(d)[row * d_stride + column] = to_bf16(sum);
            }
        }
    }
}
