// Fuzzes the CIFAR reader: whatever the bytes, every label is one of the kind's and every pixel is where the
// planes have it, or it throws an Error.
#include <cstdint>

#include "espalier/data/cifar.h"
#include "espalier/util/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace espalier;
  for (Cifar kind : {Cifar::ten, Cifar::hundred_fine, Cifar::hundred_coarse}) {
    try {
      const Dataset set = parse_cifar({data, size}, kind, "fuzz");
      for (int32_t label : set.labels)
        if (label < 0 || label >= set.classes()) __builtin_trap();
      const size_t record = kind == Cifar::ten ? 3073 : 3074;
      if (static_cast<size_t>(set.size()) * record != size) __builtin_trap();
      const auto pixels = set.images.span<uint8_t>();
      if (pixels.back() != data[size - 1] || pixels[pixels.size() - 2] != data[size - 1 - 1024])
        __builtin_trap();
    } catch (const Error&) {
    }
  }
  return 0;
}
