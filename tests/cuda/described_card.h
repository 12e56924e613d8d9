// A card for which cuDNN makes plans on machines that have none.
#pragma once

namespace espalier {

inline constexpr const char* h100 = R"({"deviceVer": 900, "driverVer": 13000, "cudaDeviceId": 0,
"maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64], "regsPerBlock": 65536,
"multiProcessorCount": 132, "warpSize": 32, "maxSharedMemoryPerBlock": 49152,
"maxSharedMemoryPerBlockOptin": 232448, "reservedSharedMemoryPerBlock": 1024, "maxRegistersPerSM": 65536,
"maxCtasPerSM": 32, "maxThreadsPerBlock": 1024, "maxThreadsPerSM": 2048, "pciDeviceId": 0, "isTccDriver": 0,
"supportCoopLaunch": 1, "smClockRateKHz": 1980000, "memClockRateKHz": 2619000, "l2CacheSize": 52428800,
"totalGlobalMem": 85899345920, "deviceName": "NVIDIA H100 80GB HBM3"})";

}  // namespace espalier
