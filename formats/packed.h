// Packed files: safetensors files in which zeros take almost no room. read_safetensors reads them as any
// other; docs/formats.md has the layout. In short, a tensor NAME whose zeros pay is kept as
//
//   NAME.bitmask     u8 [rows, ceil(columns / 8)]: a bit for each number, 1 where it is not 0
//   or NAME.gaps     u8: how many zeros stand before each number that is not 0
//   NAME.compressed  the numbers that are not 0, in order; none of a mask
//
// and each of these, where that pays, as a Zstandard frame, NAME.bitmask.zstd. The names of bitmask and
// compressed and the order of bits are those of compressed-tensors
// (github.com/vllm-project/compressed-tensors). Metadata "espalier.packed" has shapes and types.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "espalier/formats/safetensors.h"

namespace espalier {

/// What numbers of tensors with two and more axes, which are weights, are kept as. Vectors, biases and norms,
/// stay f32.
enum class PackedValues : uint8_t { f32, bf16, f16 };
const std::vector<std::string>& packed_values_names();
PackedValues packed_values_named(const std::string& name);

class StoredFile;

/// A file's tensors packed, each the smallest of dense, bitmask and gaps.
class PackedFile {
 public:
  /// Error for a number that bf16 or f16 cannot hold, with its tensor.
  PackedFile(const TensorFile& file, PackedValues values, const std::string& name);
  ~PackedFile();

  struct Row {
    std::string name, encoding;  ///< "dense", "bitmask", "gaps"
    uint64_t dense_bytes, bytes;
  };
  const std::vector<Row>& rows() const { return rows_; }
  uint64_t bytes() const;  ///< of the file
  void write(const OutputPath& to) const;

 private:
  std::vector<std::vector<std::byte>> bytes_;  // of the parts of all tensors
  std::vector<Row> rows_;
  std::unique_ptr<StoredFile> file_;
};

/// Puts what was packed in the place of what a packed file keeps, and leaves any other file as it is. Error
/// that begins with `name` for what does not fit together, for a later version, and for a file that claims to
/// hold more than 2,000 times its bytes and 256 MiB on top. On `meta` (Device) only shapes are made.
void unpack(TensorFile& file, const std::string& name);

}  // namespace espalier
