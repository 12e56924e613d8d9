// What went wrong, in words: cudaGetErrorString says them after the runtime's own text.
#pragma once

#include <cuda_runtime.h>

#include <mutex>
#include <string>

namespace espalier::emulation {

/// Held by every call of the runtime: the emulator has one lock.
std::recursive_mutex& api_mutex();

/// For a call to return: refused, and nothing has happened. cudaSuccess: the refusal is a library's, and only
/// the words are kept.
cudaError_t refuse(cudaError_t code, const std::string& why);
/// From now on every call fails, as after an error on a card.
void break_device(cudaError_t code, const std::string& why);
/// Success until break_device was called.
cudaError_t device_error();
/// Why the last call was refused, or the device broke; for stand-ins of libraries.
std::string last_explanation();

}  // namespace espalier::emulation
