// Matrix products for tests, as `libcublasLt.so.13`: column-major, as cuBLASLt's documentation has it, and strict about sizes of
// attributes, shapes of layouts and promised alignments.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <vector>

#define CALL extern "C" __attribute__((visibility("default"))) int

extern "C" int clara_enqueue(void* stream, const std::function<void()>* work);
extern "C" bool clara_holds(unsigned long long at, size_t bytes);

namespace {

constexpr int INVALID_VALUE = 7, NOT_SUPPORTED = 15;
constexpr int BF16 = 14, F32 = 0, COMPUTE_F32 = 68;
// Algorithms that the heuristic proposes; the second is refused when it is used.
constexpr int PROPOSED = 3, REFUSED = 1;

struct Description {
    int transposed_a = 0, transposed_b = 0;
    unsigned epilogue = 1;
    const void* bias = nullptr;
};

struct Layout {
    int type;
    size_t rows, columns, stride;

    size_t value_bytes() const { return type == BF16 ? 2 : 4; }
    size_t bytes() const { return ((columns - 1) * stride + rows) * value_bytes(); }
};

typedef std::map<int, unsigned long long> Preference;

struct Algorithm {
    unsigned char id, alignments[4], unused[59];
};
static_assert(sizeof(Algorithm) == 64, "as cublasLtMatmulAlgo_t");

struct Result {
    Algorithm algorithm;
    size_t workspace_bytes;
    int state;
    float waves;
    int reserved[4];
};

float get(const void* values, int type, size_t index) {
    if (type == F32) {
        return static_cast<const float*>(values)[index];
    }
    const unsigned bits = static_cast<unsigned>(static_cast<const uint16_t*>(values)[index]) << 16;
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

void set(void* values, int type, size_t index, float value) {
    if (type == F32) {
        static_cast<float*>(values)[index] = value;
        return;
    }
    unsigned bits;
    std::memcpy(&bits, &value, 4);
    static_cast<uint16_t*>(values)[index] = static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

bool fits(const Description& description, const Layout& a, const Layout& b, const Layout& c, const Layout& d) {
    const size_t a_rows = description.transposed_a ? a.columns : a.rows, a_columns = description.transposed_a ? a.rows : a.columns;
    const size_t b_rows = description.transposed_b ? b.columns : b.rows, b_columns = description.transposed_b ? b.rows : b.columns;
    for (const Layout* layout : {&a, &b, &c, &d}) {
        if (layout->stride < layout->rows) {
            return false;
        }
    }
    return a.type == BF16 && b.type == BF16 && c.type == d.type && a_rows == d.rows && b_columns == d.columns && a_columns == b_rows &&
           c.rows == d.rows && c.columns == d.columns;
}

}  // namespace

CALL cublasLtCreate(void** handle) {
    *handle = new int;
    return 0;
}
CALL cublasLtDestroy(void* handle) {
    delete static_cast<int*>(handle);
    return 0;
}
extern "C" __attribute__((visibility("default"))) size_t cublasLtGetVersion() {
    return 130000;
}
CALL cublasLtMatmulDescCreate(Description** description, int compute, int scale) {
    *description = new Description;
    return compute == COMPUTE_F32 && scale == F32 ? 0 : INVALID_VALUE;
}
CALL cublasLtMatmulDescDestroy(Description* description) {
    delete description;
    return 0;
}
CALL cublasLtMatmulDescSetAttribute(Description* description, int attribute, const void* value, size_t bytes) {
    void* to = attribute == 3   ? static_cast<void*>(&description->transposed_a)
               : attribute == 4 ? static_cast<void*>(&description->transposed_b)
               : attribute == 7 ? static_cast<void*>(&description->epilogue)
               : attribute == 8 ? static_cast<void*>(&description->bias)
                                : nullptr;
    if (to == nullptr || bytes != (attribute == 8 ? 8 : 4)) {
        return INVALID_VALUE;
    }
    std::memcpy(to, value, bytes);
    return 0;
}
CALL cublasLtMatrixLayoutCreate(Layout** layout, int type, uint64_t rows, uint64_t columns, int64_t stride) {
    *layout = new Layout{type, rows, columns, static_cast<size_t>(stride)};
    return 0;
}
CALL cublasLtMatrixLayoutDestroy(Layout* layout) {
    delete layout;
    return 0;
}
CALL cublasLtMatmulPreferenceCreate(Preference** preference) {
    *preference = new Preference;
    return 0;
}
CALL cublasLtMatmulPreferenceDestroy(Preference* preference) {
    delete preference;
    return 0;
}
CALL cublasLtMatmulPreferenceSetAttribute(Preference* preference, int attribute, const void* value, size_t bytes) {
    if (bytes != (attribute == 1 ? 8 : 4) || (attribute != 1 && attribute != 3 && (attribute < 5 || attribute > 8))) {
        return INVALID_VALUE;
    }
    unsigned long long number = 0;
    std::memcpy(&number, value, bytes);
    (*preference)[attribute] = number;
    return 0;
}
CALL cublasLtMatmulAlgoGetHeuristic(void*, Description* description, Layout* a, Layout* b, Layout* c, Layout* d,
                                    Preference* preference, int wanted, Result* results, int* count) {
    *count = 0;
    if (!fits(*description, *a, *b, *c, *d) || (description->epilogue == 4 && (description->bias == nullptr || d->type != BF16))) {
        return INVALID_VALUE;
    }
    for (; *count < PROPOSED && *count < wanted; ++*count) {
        Result& result = results[*count];
        result = Result{};
        result.algorithm.id = static_cast<unsigned char>(*count);
        for (int operand = 0; operand < 4; operand++) {
            // As the number of its zero bits; 256 when nothing was promised.
            const auto found = preference->find(5 + operand);
            result.algorithm.alignments[operand] =
                static_cast<unsigned char>(__builtin_ctzll(found == preference->end() ? 256 : found->second));
        }
        result.workspace_bytes = (*preference)[1];
    }
    return 0;
}
CALL cublasLtMatmulAlgoConfigGetAttribute(const Algorithm* algorithm, int attribute, unsigned* value, size_t bytes, size_t* written) {
    *value = attribute == 0 ? algorithm->id : 0;
    *written = 4;
    return bytes == 4 ? 0 : INVALID_VALUE;
}
CALL cublasLtMatmul(void*, Description* description, const float* alpha, const void* a, Layout* a_layout, const void* b,
                    Layout* b_layout, const float* beta, const void* c, Layout* c_layout, void* d, Layout* d_layout,
                    const Algorithm* algorithm, void* workspace, size_t workspace_bytes, void* stream) {
    if (algorithm->id == REFUSED) {
        return NOT_SUPPORTED;
    }
    const void* operands[4] = {a, b, c, d};
    const Layout* layouts[4] = {a_layout, b_layout, c_layout, d_layout};
    for (int operand = 0; operand < 4; operand++) {
        const unsigned long long address = reinterpret_cast<unsigned long long>(operands[operand]);
        if (address % (1ull << algorithm->alignments[operand]) != 0 || !clara_holds(address, layouts[operand]->bytes())) {
            return INVALID_VALUE;
        }
    }
    const bool has_bias = description->epilogue == 4;
    const bool in_place = c == d && (c_layout->stride != d_layout->stride);
    if (!fits(*description, *a_layout, *b_layout, *c_layout, *d_layout) || in_place ||
        !clara_holds(reinterpret_cast<unsigned long long>(workspace), workspace_bytes) ||
        (has_bias && !clara_holds(reinterpret_cast<unsigned long long>(description->bias), d_layout->rows * 2))) {
        return INVALID_VALUE;
    }
    const Description described = *description;
    const Layout la = *a_layout, lb = *b_layout, lc = *c_layout, ld = *d_layout;
    const float product_factor = *alpha, addend_factor = *beta;
    const std::function<void()> work = [=] {
        const size_t inner_count = described.transposed_a ? la.rows : la.columns;
        // The rows of the result share their column's factors, which lie side by side once they are unpacked.
        std::vector<float> unpacked(inner_count * ld.rows), sums(ld.rows);
        for (size_t inner = 0; inner < inner_count; inner++) {
            for (size_t row = 0; row < ld.rows; row++) {
                const size_t at = described.transposed_a ? row * la.stride + inner : inner * la.stride + row;
                unpacked[inner * ld.rows + row] = get(a, la.type, at);
            }
        }
        for (size_t column = 0; column < ld.columns; column++) {
            sums.assign(ld.rows, 0.0f);
            for (size_t inner = 0; inner < inner_count; inner++) {
                const float factor = get(b, lb.type, described.transposed_b ? inner * lb.stride + column : column * lb.stride + inner);
                for (size_t row = 0; row < ld.rows; row++) {
                    sums[row] += factor * unpacked[inner * ld.rows + row];
                }
            }
            for (size_t row = 0; row < ld.rows; row++) {
                float value = product_factor * sums[row];
                if (addend_factor != 0.0f) {
                    value += addend_factor * get(c, lc.type, column * lc.stride + row);
                }
                if (has_bias) {
                    value += get(described.bias, BF16, row);
                }
                set(d, ld.type, column * ld.stride + row, value);
            }
        }
    };
    return clara_enqueue(stream, &work);
}
