// Which card, and why not: what core/cuda_device.h's device choice is made of.
#pragma once

#include <cuda_runtime.h>

#include <iosfwd>
#include <string>

namespace espalier::cuda {

/// What the driver says of this machine. Versions as the CUDA runtime gives them: 13020 is 13.2.
struct Driver {
  cudaError_t status = cudaSuccess;  ///< of the question how many cards there are
  int version = 0;                   ///< the newest CUDA that it serves; 0: no driver is installed
  int runtime = 0;                   ///< the CUDA that this program was built with
  int cards = 0;
};
Driver driver() noexcept;

/// The driver's own version out of what it says in /proc/driver/nvidia/version: "580.159.04"; "" if that says
/// none.
std::string driver_version(std::istream& said);
/// "13.2" of 13020.
std::string version_text(int version);
/// Why card `index` cannot be had: one line, or "".
std::string refusal(const Driver& seen, int index);
/// Why a card of this compute capability cannot be used by a program built for `least` (80 is 8.0) and newer.
std::string refusal(const std::string& name, int index, int major, int minor, int least);

/// Makes the selected card the calling thread's, once a thread.
void bind_device();

}  // namespace espalier::cuda
