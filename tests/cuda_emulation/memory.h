// Device memory: addresses that only work of the device may touch. Each block has pages of its own with none
// beside them, begins as NaNs (a huge one as zeros), and its addresses are never used again.
#pragma once

#include <cstddef>
#include <string>

namespace espalier::emulation {

/// Null where the card has no more.
void* allocate_device(size_t bytes);
/// False if no block begins there.
bool release_device(void* block);
size_t device_memory_used();
/// What the card has: ESPALIER_EMULATION_MEMORY bytes, or an H100's.
size_t device_memory();

/// Whether `bytes` from `address` lie in one block.
bool on_device(const void* address, size_t bytes = 1);
/// Whether `address` can be nothing but the host's, or a block's that was freed. (Two numbers side by side in
/// a struct may look like any address of the device.)
bool is_foreign(const void* address);
/// "12 bytes past a block of 404 bytes", "in a block of 16 bytes that was freed"...
std::string describe(const void* address);

/// While one lives, device memory may be touched. When the last ends, what lies around the blocks must be as
/// it was: else the device breaks.
class DeviceWork {
 public:
  DeviceWork();
  ~DeviceWork();
  DeviceWork(const DeviceWork&) = delete;
  DeviceWork& operator=(const DeviceWork&) = delete;
};

/// The kernel that runs, for the message of a fault: "softmax launched at loss.cu:40".
void set_running_kernel(const std::string* what);

}  // namespace espalier::emulation
