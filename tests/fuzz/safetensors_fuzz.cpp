// Fuzzes the safetensors reader: whatever the bytes, it returns tensors or throws an Error. Each input is
// read as a file, and again as header and data whose border is the last brace, so that mutations get past
// the first eight bytes.
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "espalier/formats/safetensors.h"

namespace {

void read(std::span<const std::byte> bytes) {
  try {
    const espalier::TensorFile file = espalier::parse_safetensors(bytes, "fuzz");
    size_t total = 0;
    for (const auto& [name, tensor] : file.tensors) {
      std::vector<std::byte> copy(tensor.bytes());
      if (!copy.empty()) std::memcpy(copy.data(), tensor.raw(), copy.size());
      total += tensor.bytes();
      if (file.find(name) != &tensor) __builtin_trap();
    }
    // At most two bytes of memory for one of the file: F16 to f32.
    if (total > 2 * bytes.size()) __builtin_trap();
  } catch (const espalier::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  read(bytes);
  const uint64_t length = std::string_view(reinterpret_cast<const char*>(data), size).rfind('}') + 1;
  std::vector<std::byte> file(8 + size);
  std::memcpy(file.data(), &length, 8);
  if (size > 0) std::memcpy(file.data() + 8, data, size);
  read(file);
  return 0;
}
