// Runs the kernels on the CPU, for tests: `c++ -std=c++17 -O2 -shared -fPIC emulator.cpp`.

// Jumps between stacks are what fibers do.
#undef _FORTIFY_SOURCE

#include "emulator.h"

#include <algorithm>
#include <csetjmp>
#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <mutex>
#include <string>
#include <sys/mman.h>
#include <ucontext.h>
#include <vector>

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace clara {
namespace {

constexpr unsigned MAX_THREADS = 1024;
constexpr size_t STACK_BYTES = 256 * 1024;
// What a block may use on an H100.
constexpr unsigned MAX_SHARED_BYTES = 227 * 1024;
constexpr unsigned GUARD_BYTES = 1024;
constexpr unsigned char UNWRITTEN = 0xff;

struct Entry {
    const void* function;
    void (*call)(const void* function, void** arguments);
    const char* signature;
};

enum class State { Ready, InWarp, AtBarrier, Done };

struct Copy {
    unsigned to;
    const void* from;
    bool valid;
    unsigned group;
};

struct Fiber {
    jmp_buf context;
    State state;
    std::vector<Copy> copies;
    unsigned groups;
    // Where copies were done that products do not see yet.
    std::vector<unsigned> unpublished;
};

// A product of a warp's rows, started and not done.
struct WarpProduct {
    GroupProduct of_lanes[32];
    unsigned group;
};

// Sums in the making. The registers that they will come to hold NaN until then.
struct WarpSums {
    float* registers[32];
    std::vector<float> values;
    unsigned products;
};

struct Warp {
    Exchange exchange;
    unsigned arrived;
    void* requests[32];
    std::deque<WarpProduct> products;
    std::list<WarpSums> sums;
    unsigned groups;
    bool begun;
    // Of all products started, the same in each warp of a warpgroup.
    uint64_t history;
};

std::map<std::string, Entry>& kernels() {
    static std::map<std::string, Entry> all;
    return all;
}

alignas(1024) unsigned char shared_memory[MAX_SHARED_BYTES + GUARD_BYTES];
// The same as products of warpgroups see it.
unsigned char published_memory[MAX_SHARED_BYTES + GUARD_BYTES];
Fiber fibers[MAX_THREADS];
Warp warps[MAX_THREADS / 32];
unsigned created, threads, running, unfinished, waiting;
const Entry* entry;
void** entry_arguments;
jmp_buf host;
ucontext_t creator;
bool failed;
uint64_t random_state;
std::mutex one_at_a_time;

unsigned random_below(unsigned bound) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<unsigned>(random_state >> 33) % bound;
}

[[noreturn]] void fail() {
    failed = true;
    _longjmp(host, 1);
}

// A fiber that can go on: first of the warp of the one that ran, then of the others.
unsigned next_ready() {
    const unsigned count = threads / 32;
    const unsigned own = running / 32;
    const bool leave = random_state != 0 && random_below(4) == 0;
    const unsigned other = random_state != 0 ? random_below(count) : own;
    for (unsigned step = 0; step <= count; step++) {
        const unsigned warp = step == 0 && !leave ? own : (other + step) % count;
        for (unsigned lane = 1; lane <= 32; lane++) {
            const unsigned candidate = warp * 32 + (running + lane) % 32;
            if (fibers[candidate].state == State::Ready) {
                return candidate;
            }
        }
    }
    for (unsigned candidate = 0; candidate < threads; candidate++) {
        if (fibers[candidate].state == State::Ready) {
            return candidate;
        }
    }
    fail();
}

__attribute__((noinline)) void switch_to(unsigned next) {
    Fiber& current = fibers[running];
    if (&fibers[next] == &current) {
        return;
    }
    if (_setjmp(current.context) == 0) {
        running = next;
        threadIdx.x = next;
        _longjmp(fibers[next].context, 1);
    }
}

void fiber_main(unsigned index) {
    if (_setjmp(fibers[index].context) == 0) {
        setcontext(&creator);
    }
    for (;;) {
        entry->call(entry->function, entry_arguments);
        Fiber& fiber = fibers[running];
        fiber.state = State::Done;
        unfinished--;
        if (_setjmp(fiber.context) == 0) {
            if (unfinished == 0) {
                _longjmp(host, 1);
            }
            const unsigned next = next_ready();
            running = next;
            threadIdx.x = next;
            _longjmp(fibers[next].context, 1);
        }
    }
}

__attribute__((noinline)) void create_fibers(unsigned count) {
    static unsigned char* stacks = nullptr;
    if (stacks == nullptr) {
        stacks = static_cast<unsigned char*>(mmap(nullptr, MAX_THREADS * STACK_BYTES, PROT_READ | PROT_WRITE,
                                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    }
    for (; created < count; created++) {
        ucontext_t start;
        getcontext(&start);
        start.uc_stack.ss_sp = stacks + created * STACK_BYTES;
        start.uc_stack.ss_size = STACK_BYTES;
        start.uc_link = nullptr;
        makecontext(&start, reinterpret_cast<void (*)()>(fiber_main), 1, created);
        swapcontext(&creator, &start);
    }
}

__attribute__((noinline)) void run_fibers() {
    if (_setjmp(host) == 0) {
        running = random_state != 0 ? random_below(threads) : 0;
        threadIdx.x = running;
        _longjmp(fibers[running].context, 1);
    }
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

void perform(const Copy& copy) {
    if (copy.to % 16 != 0 || reinterpret_cast<uintptr_t>(copy.from) % 16 != 0 || copy.to + 16 > sizeof shared_memory) {
        fail();
    }
    if (copy.valid) {
        std::memcpy(shared_memory + copy.to, copy.from, 16);
    } else {
        std::memset(shared_memory + copy.to, 0, 16);
    }
    std::memset(published_memory + copy.to, UNWRITTEN, 16);
    fibers[running].unpublished.push_back(copy.to);
}

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

void register_kernel(const char* name, const void* function, void (*call)(const void* function, void** arguments),
                     const char* signature) {
    kernels()[name] = {function, call, signature};
}

void* dynamic_shared() {
    return shared_memory;
}

unsigned shared_offset(const void* pointer) {
    return static_cast<unsigned>(static_cast<const unsigned char*>(pointer) - shared_memory);
}

void copy_async_16(unsigned to, const void* from, bool valid) {
    Fiber& fiber = fibers[running];
    const Copy copy = {to, from, valid, fiber.groups};
    if (random_state != 0 && random_below(2) == 0) {
        perform(copy);
    } else {
        fiber.copies.push_back(copy);
    }
}

void copy_async_commit() {
    fibers[running].groups++;
}

void copy_async_wait(int pending) {
    Fiber& fiber = fibers[running];
    size_t kept = 0;
    for (const Copy& copy : fiber.copies) {
        if (copy.group + static_cast<unsigned>(pending) < fiber.groups) {
            perform(copy);
        } else {
            fiber.copies[kept++] = copy;
        }
    }
    fiber.copies.resize(kept);
}

void publish_shared() {
    Fiber& fiber = fibers[running];
    for (const unsigned address : fiber.unpublished) {
        std::memcpy(published_memory + address, shared_memory + address, 16);
    }
    fiber.unpublished.clear();
}

void block_barrier() {
    if (++waiting == threads) {
        waiting = 0;
        for (unsigned thread = 0; thread < threads; thread++) {
            fibers[thread].state = State::Ready;
        }
    } else {
        fibers[running].state = State::AtBarrier;
    }
    if (fibers[running].state != State::Ready || random_state != 0) {
        switch_to(next_ready());
    }
}

void warp_exchange(Exchange exchange, void* request) {
    Warp& warp = warps[running / 32];
    if (warp.arrived != 0 && warp.exchange != exchange) {
        fail();
    }
    warp.exchange = exchange;
    warp.requests[running % 32] = request;
    if (++warp.arrived == 32) {
        exchange(warp.requests);
        warp.arrived = 0;
        for (unsigned lane = 0; lane < 32; lane++) {
            fibers[running / 32 * 32 + lane].state = State::Ready;
        }
        if (random_state == 0) {
            return;
        }
    } else {
        fibers[running].state = State::InWarp;
    }
    switch_to(next_ready());
}

void load_matrices(unsigned (&to)[4], unsigned address, bool transposed) {
    MatricesRequest request = {address, to};
    warp_exchange(transposed ? &load_matrices_of_warp<true> : &load_matrices_of_warp<false>, &request);
}

void multiply_add(float (&sum)[4], const unsigned (&a)[4], unsigned b_first, unsigned b_second) {
    ProductRequest request = {sum, a, {b_first, b_second}};
    warp_exchange(&multiply_add_of_warp, &request);
}

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
