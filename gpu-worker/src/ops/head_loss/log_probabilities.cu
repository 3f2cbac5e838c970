// Logarithms of the probabilities of given tokens, from logits in f32.
//
// Launch: 512 threads (any number up to 1024 is correct), grid x = rows; any grid is correct.

extern "C" __global__ void __launch_bounds__(1024)
    log_probabilities(const float* logits, int ld, const unsigned* labels, float* out, int rows, int vocab) {
    for (long long r = blockIdx.x; r < rows; r += gridDim.x) {
        const float* row = logits + r * ld;
        float largest = -infinity();
        for (int i = threadIdx.x; i < vocab; i += blockDim.x) largest = fmaxf(largest, row[i]);
        largest = block_max(largest);
        float sum = 0.0f;
        for (int i = threadIdx.x; i < vocab; i += blockDim.x) sum += expf(row[i] - largest);
        sum = block_sum(sum);
        if (threadIdx.x == 0) {
            const float target = labels[r] < static_cast<unsigned>(vocab) ? row[labels[r]] : __uint_as_float(0x7fc00000u);
            out[r] = target - largest - logf(sum);
        }
    }
}
EXPORT(log_probabilities)
