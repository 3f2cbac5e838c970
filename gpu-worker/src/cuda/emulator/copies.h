// Copies to shared memory, done as late as a kernel's waits allow, or at random.

#pragma once

#include "block.h"

namespace clara {
namespace {

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

}  // namespace

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

}  // namespace clara
