// NVML for tests, as `libnvidia-ml.so.1`: one GPU without error correction.

#include <cstring>

#define CALL extern "C" __attribute__((visibility("default"))) int

constexpr int INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6;

static int gpu;

struct Utilisation {
    unsigned gpu, memory;
};
struct Memory {
    unsigned long long total, free, used;
};

CALL nvmlInit_v2() {
    return 0;
}
CALL nvmlDeviceGetHandleByPciBusId_v2(const char* bus_id, void** device) {
    *device = &gpu;
    return std::strcmp(bus_id, "0000:00:00.0") == 0 ? 0 : NOT_FOUND;
}
CALL nvmlDeviceGetUtilizationRates(void* device, Utilisation* utilisation) {
    *utilisation = {42, 17};
    return device == &gpu ? 0 : INVALID_ARGUMENT;
}
CALL nvmlDeviceGetMemoryInfo(void* device, Memory* memory) {
    *memory = {80ull << 30, 77ull << 30, 3ull << 30};
    return device == &gpu ? 0 : INVALID_ARGUMENT;
}
CALL nvmlDeviceGetPowerUsage(void* device, unsigned* milliwatts) {
    *milliwatts = 512500;
    return device == &gpu ? 0 : INVALID_ARGUMENT;
}
CALL nvmlDeviceGetTemperature(void* device, unsigned sensor, unsigned* celsius) {
    *celsius = 61;
    return device == &gpu && sensor == 0 ? 0 : INVALID_ARGUMENT;
}
CALL nvmlDeviceGetTotalEccErrors(void*, unsigned, unsigned, unsigned long long*) {
    return NOT_SUPPORTED;
}
