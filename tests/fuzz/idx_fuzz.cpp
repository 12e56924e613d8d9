// Fuzzes what reads MNIST: whatever the bytes, they unpack and parse to what the header says, or throw an
// Error.
#include <cstdint>
#include <vector>

#include "espalier/data/file.h"
#include "espalier/data/mnist.h"
#include "espalier/util/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr size_t most_bytes = 1 << 20;
  std::vector<uint8_t> bytes;
  try {
    bytes = espalier::unpack({data, data + size}, "fuzz", most_bytes);
  } catch (const espalier::Error&) {
    return 0;
  }
  if (bytes.size() > most_bytes) __builtin_trap();
  try {
    if (espalier::parse_idx_images(bytes, "fuzz").bytes() + 16 != bytes.size()) __builtin_trap();
  } catch (const espalier::Error&) {
  }
  try {
    const auto labels = espalier::parse_idx_labels(bytes, "fuzz");
    if (labels.size() + 8 != bytes.size()) __builtin_trap();
    for (int32_t label : labels)
      if (label < 0 || label > 9) __builtin_trap();
  } catch (const espalier::Error&) {
  }
  return 0;
}
