// Fuzzes the archive reader: whatever the bytes, paths stay inside and the content is no more than the
// archive, or it throws an Error. Each input is read as it is, and again with the checksums of its headers
// set right, so that mutations get past them.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <vector>

#include "espalier/data/archive.h"
#include "espalier/util/error.h"

namespace {

void read(const std::vector<uint8_t>& bytes) {
  constexpr size_t most_bytes = 1 << 20;
  try {
    const espalier::Archive archive = espalier::parse_archive(bytes, "fuzz", most_bytes);
    size_t total = 0;
    for (const auto& file : archive.files) {
      total += file.bytes.size();
      if (file.path.empty() || file.path.front() == '/') __builtin_trap();
      for (const auto& part : std::filesystem::path(file.path))
        if (part == ".." || part == "." || part.empty()) __builtin_trap();
    }
    if (total > most_bytes) __builtin_trap();
  } catch (const espalier::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr size_t block = 512, checksum = 148, magic = 257;
  std::vector<uint8_t> bytes(data, data + size);
  read(bytes);
  for (size_t at = 0; at + block <= size; at += block) {
    uint8_t* header = bytes.data() + at;
    if (std::memcmp(header + magic, "ustar", 5) != 0) continue;
    std::memset(header + checksum, ' ', 8);
    unsigned sum = 0;
    for (size_t i = 0; i < block; ++i) sum += header[i];
    std::snprintf(reinterpret_cast<char*>(header + checksum), 8, "%06o", sum);
  }
  read(bytes);
  return 0;
}
