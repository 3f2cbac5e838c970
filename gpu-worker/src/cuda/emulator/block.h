// The block that runs: its threads as fibers, its warps, and its shared memory. Part of emulator.cpp, as the other headers here.

#pragma once

#include "emulator.h"

#include <csetjmp>
#include <cstdint>
#include <deque>
#include <list>
#include <ucontext.h>
#include <vector>

namespace clara {
namespace {

struct Entry {
    const void* function;
    void (*call)(const void* function, void** arguments);
    const char* signature;
};

constexpr unsigned MAX_THREADS = 1024;
constexpr size_t STACK_BYTES = 256 * 1024;
// What a block may use on an H100.
constexpr unsigned MAX_SHARED_BYTES = 227 * 1024;
constexpr unsigned GUARD_BYTES = 1024;
constexpr unsigned char UNWRITTEN = 0xff;

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

unsigned random_below(unsigned bound) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<unsigned>(random_state >> 33) % bound;
}

[[noreturn]] void fail() {
    failed = true;
    _longjmp(host, 1);
}

}  // namespace
}  // namespace clara
