// A driver for tests, as `libcuda.so.1`: queues work as late as CUDA may, and runs kernels by the emulator.
//
// Only what our driver calls is here. Calls without a context, out of bounds, or while a recording forbids them, are refused as
// CUDA's documentation says.

#include "emulator.cpp"

#include <cstdlib>
#include <deque>
#include <functional>
#include <memory>

namespace {

constexpr int INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_CONTEXT = 201, NOT_FOUND = 500, LAUNCH_FAILED = 719,
              CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901;
constexpr unsigned long long TOTAL_BYTES = 4ull << 30;
constexpr int LARGEST_SHARED = 227 * 1024;

typedef std::function<void()> Work;
typedef unsigned long long Address;

struct Module {
    std::string image;
};

struct Function {
    std::string name;
    int shared_bytes = 48 * 1024;
};

struct Stream {
    std::deque<Work> queue;
    std::vector<Work> recorded;
    bool recording = false, invalid = false;
};

struct Event {
    Stream* stream = nullptr;
    bool done = true;
};

typedef std::vector<Work> Graph;

std::recursive_mutex lock;
std::map<Address, size_t> allocations;
int broken = 0;
int devices = 1;
thread_local bool has_context = false;

bool holds(Address at, size_t bytes) {
    auto next = allocations.upper_bound(at);
    if (next == allocations.begin()) {
        return false;
    }
    --next;
    return at + bytes <= next->first + next->second;
}

void run(Stream* stream) {
    while (!stream->queue.empty()) {
        const Work work = std::move(stream->queue.front());
        stream->queue.pop_front();
        if (broken == 0) {
            work();
        }
    }
}

int enqueue(Stream* stream, Work work) {
    if (broken != 0) {
        return broken;
    }
    if (stream->recording) {
        stream->recorded.push_back(std::move(work));
    } else {
        stream->queue.push_back(std::move(work));
    }
    return 0;
}

// What may not happen while this thread records spoils the recording.
int forbidden(Stream* stream) {
    stream->invalid = true;
    return CAPTURE_UNSUPPORTED;
}

std::vector<Stream*> streams;

}  // namespace

#define CALL CLARA_INTERFACE int
#define NEEDS_CONTEXT                                           \
    const std::lock_guard<std::recursive_mutex> guard(lock);    \
    if (!has_context) {                                         \
        return INVALID_CONTEXT;                                 \
    }

// For the library of products, and for tests.
CLARA_INTERFACE int clara_enqueue(void* stream, const std::function<void()>* work) {
    const std::lock_guard<std::recursive_mutex> guard(lock);
    return enqueue(static_cast<Stream*>(stream), *work);
}
CLARA_INTERFACE bool clara_holds(unsigned long long at, size_t bytes) {
    const std::lock_guard<std::recursive_mutex> guard(lock);
    return holds(at, bytes);
}
// All later work fails with this error.
CLARA_INTERFACE void clara_break(int error) {
    broken = error;
}
CLARA_INTERFACE void clara_devices(int count) {
    devices = count;
}

CALL cuInit(unsigned) {
    return devices == 0 ? NO_DEVICE : 0;
}
CALL cuDriverGetVersion(int* version) {
    *version = 13000;
    return 0;
}
CALL cuGetErrorString(int error, const char** text) {
    *text = error == NO_DEVICE ? "no CUDA-capable device is detected" : "an error of the emulated driver";
    return 0;
}
CALL cuDeviceGetCount(int* count) {
    *count = devices;
    return 0;
}
CALL cuDeviceGet(int* device, int ordinal) {
    *device = ordinal;
    return 0;
}
CALL cuDeviceGetName(char* name, int length, int) {
    std::strncpy(name, "Emulated GPU", length);
    return 0;
}
CALL cuDeviceGetPCIBusId(char* name, int length, int) {
    std::strncpy(name, "0000:00:00.0", length);
    return 0;
}
CALL cuDeviceTotalMem_v2(size_t* bytes, int) {
    *bytes = TOTAL_BYTES;
    return 0;
}
CALL cuDeviceGetAttribute(int* value, int attribute, int) {
    *value = attribute == 75 ? 9 : 0;
    return attribute == 75 || attribute == 76 ? 0 : INVALID_VALUE;
}
CALL cuDevicePrimaryCtxRetain(void** context, int) {
    *context = &allocations;
    return 0;
}
CALL cuDevicePrimaryCtxRelease_v2(int) {
    return 0;
}
CALL cuCtxSetCurrent(void* context) {
    has_context = context != nullptr;
    return 0;
}

CALL cuMemGetInfo_v2(size_t* free, size_t* total) {
    NEEDS_CONTEXT
    *total = TOTAL_BYTES;
    *free = TOTAL_BYTES;
    for (const auto& allocation : allocations) {
        *free -= allocation.second;
    }
    return 0;
}
CALL cuMemAlloc_v2(Address* address, size_t bytes) {
    NEEDS_CONTEXT
    for (Stream* stream : streams) {
        if (stream->recording) {
            return forbidden(stream);
        }
    }
    size_t free, total;
    cuMemGetInfo_v2(&free, &total);
    if (bytes == 0 || bytes > free) {
        return bytes == 0 ? INVALID_VALUE : OUT_OF_MEMORY;
    }
    void* memory = aligned_alloc(256, (bytes + 255) / 256 * 256);
    std::memset(memory, 0xff, bytes);
    *address = reinterpret_cast<Address>(memory);
    allocations[*address] = bytes;
    return 0;
}
CALL cuMemFree_v2(Address address) {
    NEEDS_CONTEXT
    for (Stream* stream : streams) {
        run(stream);
    }
    if (allocations.erase(address) == 0) {
        return INVALID_VALUE;
    }
    free(reinterpret_cast<void*>(address));
    return 0;
}
CALL cuMemHostAlloc(void** memory, size_t bytes, unsigned) {
    NEEDS_CONTEXT
    *memory = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    return 0;
}
CALL cuMemFreeHost(void* memory) {
    NEEDS_CONTEXT
    free(memory);
    return 0;
}

CALL cuStreamCreate(Stream** stream, unsigned) {
    NEEDS_CONTEXT
    *stream = new Stream;
    streams.push_back(*stream);
    return 0;
}
CALL cuStreamDestroy_v2(Stream* stream) {
    NEEDS_CONTEXT
    run(stream);
    streams.erase(std::find(streams.begin(), streams.end(), stream));
    delete stream;
    return 0;
}
CALL cuStreamSynchronize(Stream* stream) {
    NEEDS_CONTEXT
    if (stream->recording) {
        return forbidden(stream);
    }
    run(stream);
    return broken;
}
CALL cuEventCreate(Event** event, unsigned) {
    NEEDS_CONTEXT
    *event = new Event;
    return 0;
}
CALL cuEventDestroy_v2(Event* event) {
    NEEDS_CONTEXT
    delete event;
    return 0;
}
CALL cuEventRecord(Event* event, Stream* stream) {
    NEEDS_CONTEXT
    event->stream = stream;
    event->done = false;
    return enqueue(stream, [event] { event->done = true; });
}
CALL cuEventSynchronize(Event* event) {
    NEEDS_CONTEXT
    while (!event->done && broken == 0) {
        const Work work = std::move(event->stream->queue.front());
        event->stream->queue.pop_front();
        work();
    }
    return broken;
}
CALL cuMemcpyHtoDAsync_v2(Address to, const void* from, size_t bytes, Stream* stream) {
    NEEDS_CONTEXT
    if (!holds(to, bytes)) {
        return INVALID_VALUE;
    }
    return enqueue(stream, [=] { std::memcpy(reinterpret_cast<void*>(to), from, bytes); });
}
CALL cuMemcpyDtoHAsync_v2(void* to, Address from, size_t bytes, Stream* stream) {
    NEEDS_CONTEXT
    if (!holds(from, bytes)) {
        return INVALID_VALUE;
    }
    return enqueue(stream, [=] { std::memcpy(to, reinterpret_cast<const void*>(from), bytes); });
}
CALL cuMemsetD8Async(Address to, unsigned char value, size_t bytes, Stream* stream) {
    NEEDS_CONTEXT
    if (!holds(to, bytes)) {
        return INVALID_VALUE;
    }
    return enqueue(stream, [=] { std::memset(reinterpret_cast<void*>(to), value, bytes); });
}

CALL cuModuleLoadData(Module** module, const char* image) {
    NEEDS_CONTEXT
    // The ends of the two tables of an ELF file.
    unsigned long long programs, sections;
    unsigned short program_bytes, program_count, section_bytes, section_count;
    if (std::memcmp(image, "\x7f"
                           "ELF\x02",
                    5) != 0) {
        return 200;
    }
    std::memcpy(&programs, image + 32, 8);
    std::memcpy(&sections, image + 40, 8);
    std::memcpy(&program_bytes, image + 54, 2);
    std::memcpy(&program_count, image + 56, 2);
    std::memcpy(&section_bytes, image + 58, 2);
    std::memcpy(&section_count, image + 60, 2);
    const size_t bytes = std::max(programs + program_bytes * program_count, sections + section_bytes * section_count);
    *module = new Module{std::string(image, bytes)};
    return 0;
}
CALL cuModuleUnload(Module* module) {
    NEEDS_CONTEXT
    delete module;
    return 0;
}
CALL cuModuleGetFunction(Function** function, Module* module, const char* name) {
    NEEDS_CONTEXT
    const std::string section = std::string(1, '\0') + ".text." + name + std::string(1, '\0');
    if (clara_signature(name) == nullptr || module->image.find(section) == std::string::npos) {
        return NOT_FOUND;
    }
    *function = new Function;
    (*function)->name = name;
    return 0;
}
CALL cuFuncGetParamInfo(Function* function, size_t index, size_t* offset, size_t* bytes) {
    NEEDS_CONTEXT
    const std::string signature = clara_signature(function->name.c_str());
    if (index >= signature.size()) {
        return INVALID_VALUE;
    }
    *offset = 0;
    *bytes = signature[index] == 'p' || signature[index] == 'l' ? 8 : 4;
    return 0;
}
CALL cuFuncSetAttribute(Function* function, int attribute, int value) {
    NEEDS_CONTEXT
    if (attribute != 8 || value > LARGEST_SHARED) {
        return INVALID_VALUE;
    }
    function->shared_bytes = value;
    return 0;
}
CALL cuLaunchKernel(Function* function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned threads, unsigned threads_y,
                    unsigned threads_z, unsigned shared_bytes, Stream* stream, void** arguments, void** extra) {
    NEEDS_CONTEXT
    if (threads == 0 || threads > 1024 || threads_y != 1 || threads_z != 1 || grid_x == 0 || grid_y == 0 || grid_z == 0 ||
        grid_y > 65535 || grid_z > 65535 || static_cast<int>(shared_bytes) > function->shared_bytes || extra != nullptr) {
        return INVALID_VALUE;
    }
    const std::string signature = clara_signature(function->name.c_str());
    std::vector<unsigned long long> values(signature.size());
    for (size_t index = 0; index < signature.size(); index++) {
        std::memcpy(&values[index], arguments[index], signature[index] == 'p' || signature[index] == 'l' ? 8 : 4);
    }
    const std::string name = function->name;
    return enqueue(stream, [=]() mutable {
        std::vector<void*> pointers;
        for (unsigned long long& value : values) {
            pointers.push_back(&value);
        }
        if (clara_launch(name.c_str(), grid_x, grid_y, grid_z, threads, shared_bytes, pointers.data()) != 0) {
            broken = LAUNCH_FAILED;
        }
    });
}

CALL cuStreamBeginCapture_v2(Stream* stream, int mode) {
    NEEDS_CONTEXT
    if (stream->recording || mode != 1) {
        return INVALID_VALUE;
    }
    stream->recording = true;
    stream->invalid = false;
    stream->recorded.clear();
    return 0;
}
CALL cuStreamEndCapture(Stream* stream, Graph** graph) {
    NEEDS_CONTEXT
    if (!stream->recording) {
        return INVALID_VALUE;
    }
    stream->recording = false;
    *graph = stream->invalid ? nullptr : new Graph(stream->recorded);
    return stream->invalid ? CAPTURE_INVALIDATED : 0;
}
CALL cuGraphInstantiateWithFlags(Graph** executable, Graph* graph, unsigned long long) {
    NEEDS_CONTEXT
    *executable = new Graph(*graph);
    return 0;
}
CALL cuGraphDestroy(Graph* graph) {
    NEEDS_CONTEXT
    delete graph;
    return 0;
}
CALL cuGraphExecDestroy(Graph* graph) {
    NEEDS_CONTEXT
    delete graph;
    return 0;
}
CALL cuGraphLaunch(Graph* graph, Stream* stream) {
    NEEDS_CONTEXT
    for (const Work& work : *graph) {
        enqueue(stream, work);
    }
    return broken;
}
