// Runs the kernels on the CPU, for tests: `c++ -std=c++17 -O2 -shared -fPIC emulator.cpp`.

// Jumps between stacks are what fibers do.
#undef _FORTIFY_SOURCE

#include "block.h"
#include "copies.h"
#include "fibers.h"
#include "fragments.h"
#include "warpgroups.h"

#include <map>
#include <mutex>
#include <string>

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace clara {
namespace {

std::mutex one_at_a_time;

std::map<std::string, Entry>& kernels() {
    static std::map<std::string, Entry> all;
    return all;
}

void run_block(unsigned shared_bytes) {
    std::memset(shared_memory, UNWRITTEN, shared_bytes + GUARD_BYTES);
    std::memset(published_memory, UNWRITTEN, shared_bytes + GUARD_BYTES);
    for (unsigned thread = 0; thread < threads; thread++) {
        fibers[thread].state = State::Ready;
        fibers[thread].copies.clear();
        fibers[thread].groups = 0;
        fibers[thread].unpublished.clear();
    }
    for (unsigned warp = 0; warp < threads / 32; warp++) {
        warps[warp].arrived = 0;
        warps[warp].products.clear();
        warps[warp].sums.clear();
        warps[warp].groups = 0;
        warps[warp].begun = false;
        warps[warp].history = 0;
    }
    unfinished = threads;
    waiting = 0;
    run_fibers();
    for (unsigned byte = 0; byte < GUARD_BYTES; byte++) {
        failed = failed || shared_memory[shared_bytes + byte] != UNWRITTEN;
    }
    for (unsigned warp = 0; warp < threads / 32; warp++) {
        failed = failed || !warps[warp].products.empty() || warps[warp].history != warps[warp / 4 * 4].history;
    }
}

}  // namespace

void register_kernel(const char* name, const void* function, void (*call)(const void* function, void** arguments),
                     const char* signature) {
    kernels()[name] = {function, call, signature};
}

void ballot(void* const* requests) {
    unsigned votes = 0;
    for (unsigned lane = 0; lane < 32; lane++) {
        votes |= static_cast<unsigned>(static_cast<Ballot*>(requests[lane])->vote) << lane;
    }
    for (unsigned lane = 0; lane < 32; lane++) {
        static_cast<Ballot*>(requests[lane])->result = votes;
    }
}

}  // namespace clara

#pragma GCC visibility push(hidden)
#include "../../ops/common.cuh"
#include "../../ops/tiles.cuh"
#include "../../ops/warpgroups.cuh"

#include "../../ops/attention/attention.cu"
#include "../../ops/attention/attention_backward.cu"
#include "../../ops/attention/attention_backward_hopper.cu"
#include "../../ops/attention/attention_backward_keys.cu"
#include "../../ops/attention/attention_cached.cu"
#include "../../ops/attention/attention_hopper.cu"
#include "../../nf4/dequantise.cu"
#include "../../ops/embedding/embedding.cu"
#include "../../ops/gated/gated.cu"
#include "../../ops/head_loss/cross_entropy.cu"
#include "../../ops/head_loss/log_probabilities.cu"
#include "../../ops/lora_linear/dropout.cu"
#include "../../ops/lora_linear/low_rank.cu"
#include "../../ops/lora_linear/low_rank_forward.cu"
#include "../../ops/lora_linear/magnitude.cu"
#include "../../ops/lora_linear/scatter_adapter.cu"
#include "../../ops/rms_norm/rms_norm.cu"
#include "../../ops/rope/rope.cu"
#include "../../ops/rows.cu"
#include "../../optim/adamw.cu"
#include "../../optim/hold.cu"
#pragma GCC visibility pop

#include "reference_product.h"

int clara_launch(const char* kernel, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned threads, unsigned shared_bytes,
                 void** arguments) {
    const std::lock_guard<std::mutex> guard(clara::one_at_a_time);
    const auto found = clara::kernels().find(kernel);
    if (found == clara::kernels().end()) {
        return 1;
    }
    if (threads == 0 || threads % 32 != 0 || threads > clara::MAX_THREADS || shared_bytes > clara::MAX_SHARED_BYTES || grid_x == 0 ||
        grid_y == 0 || grid_z == 0 || grid_y > 65535 || grid_z > 65535) {
        return 2;
    }
    clara::create_fibers(threads);
    clara::entry = &found->second;
    clara::entry_arguments = arguments;
    clara::threads = threads;
    clara::failed = false;
    blockDim = {threads, 1, 1};
    gridDim = {grid_x, grid_y, grid_z};
    threadIdx = {0, 0, 0};
    for (unsigned z = 0; z < grid_z; z++) {
        for (unsigned y = 0; y < grid_y; y++) {
            for (unsigned x = 0; x < grid_x; x++) {
                blockIdx = {x, y, z};
                clara::run_block(shared_bytes);
                if (clara::failed) {
                    // The fibers stand in the midst of the kernel; they are made anew.
                    clara::created = 0;
                    return 2;
                }
            }
        }
    }
    return 0;
}

const char* clara_signature(const char* kernel) {
    const auto found = clara::kernels().find(kernel);
    return found == clara::kernels().end() ? nullptr : found->second.signature;
}

void clara_schedule(unsigned seed) {
    const std::lock_guard<std::mutex> guard(clara::one_at_a_time);
    clara::random_state = seed;
}
