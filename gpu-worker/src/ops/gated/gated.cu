// The gated activation `f(gate) * up`, forward and backward.
//
// Launch: 256 threads, grid x = rows * inner / 8 / 256, rounded up, at most 4096; any grid [x, y] is correct.

// Value and slope of the activation at `x`.
template <bool GELU>
static __device__ void gated_activation(float x, float& value, float& slope) {
    if (GELU) {
        const float root = 0.7978846f, cubic = 0.044715f;
        const float inner = root * (x + cubic * x * x * x);
        const float tangent = 1.0f - 2.0f * __fdividef(1.0f, __expf(2.0f * fminf(fmaxf(inner, -15.0f), 15.0f)) + 1.0f);
        value = 0.5f * x * (1.0f + tangent);
        slope = 0.5f * (1.0f + tangent) + 0.5f * x * (1.0f - tangent * tangent) * root * (1.0f + 3.0f * cubic * x * x);
    } else {
        const float sigmoid = __fdividef(1.0f, 1.0f + __expf(-x));
        value = x * sigmoid;
        slope = sigmoid + value * (1.0f - sigmoid);
    }
}

static __device__ long long gated_thread() {
    return ((long long)blockIdx.y * gridDim.x + blockIdx.x) * blockDim.x + threadIdx.x;
}

template <bool GELU>
static __device__ void gated_forward(bf16* out, int ld_out, const bf16* gate_up, int ld_gate_up, int rows, int inner) {
    const int runs = inner / 8;
    const long long count = (long long)rows * runs;
    const long long stride = (long long)gridDim.x * gridDim.y * blockDim.x;
    for (long long i = gated_thread(); i < count; i += stride) {
        const long long row = i / runs;
        const int column = (int)(i - row * runs) * 8;
        const bf16* at = gate_up + row * ld_gate_up + column;
        const Eight gate = load_eight(at);
        Eight up = load_eight(at + inner);
        for (int k = 0; k < 8; k++) {
            float value, slope;
            gated_activation<GELU>(gate.values[k], value, slope);
            up.values[k] *= value;
        }
        store_eight(out + row * ld_out + column, up);
    }
}

template <bool GELU>
static __device__ void gated_gradient(bf16* gate_up, int ld_gate_up, bf16* d, int ld_d, int rows, int inner) {
    const int runs = inner / 8;
    const long long count = (long long)rows * runs;
    const long long stride = (long long)gridDim.x * gridDim.y * blockDim.x;
    for (long long i = gated_thread(); i < count; i += stride) {
        const long long row = i / runs;
        const int column = (int)(i - row * runs) * 8;
        bf16* at = gate_up + row * ld_gate_up + column;
        bf16* at_d = d + row * ld_d + column;
        Eight gate = load_eight(at), up = load_eight(at + inner), gradient = load_eight(at_d);
        for (int k = 0; k < 8; k++) {
            const float d_out = gradient.values[k], up_value = up.values[k];
            float value, slope;
            gated_activation<GELU>(gate.values[k], value, slope);
            gate.values[k] = d_out * up_value * slope;
            up.values[k] = d_out * value;
            gradient.values[k] = value * up_value;
        }
        store_eight(at, gate);
        store_eight(at + inner, up);
        store_eight(at_d, gradient);
    }
}

extern "C" __global__ void gated(bf16* out, int ld_out, const bf16* gate_up, int ld_gate_up, int rows, int inner,
                                 int gelu) {
    if (gelu) {
        gated_forward<true>(out, ld_out, gate_up, ld_gate_up, rows, inner);
    } else {
        gated_forward<false>(out, ld_out, gate_up, ld_gate_up, rows, inner);
    }
}
EXPORT(gated)

// `d` becomes the activation, which the gradient of the next projection's adapter needs.
extern "C" __global__ void gated_backward(bf16* gate_up, int ld_gate_up, bf16* d, int ld_d, int rows, int inner,
                                          int gelu) {
    if (gelu) {
        gated_gradient<true>(gate_up, ld_gate_up, d, ld_d, rows, inner);
    } else {
        gated_gradient<false>(gate_up, ld_gate_up, d, ld_d, rows, inner);
    }
}
EXPORT(gated_backward)
