// Threads as fibers: they change places at barriers and where their warp must be together.

#pragma once

#include "block.h"

#include <sys/mman.h>

namespace clara {
namespace {

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

}  // namespace

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

}  // namespace clara
