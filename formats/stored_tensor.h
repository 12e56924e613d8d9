// What safetensors.cpp and packed.cpp share: tensors as a file stores them, of types that Tensor has not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "espalier/formats/safetensors.h"
#include "espalier/formats/safetensors_header.h"

namespace espalier {

struct StoredTensor {
  std::string name;
  FileDType dtype;
  Shape shape;
  std::span<const std::byte> bytes;  ///< whoever made it keeps them
};

/// A file that is still to be written: its tensors in the order that Hugging Face's writer gives them.
class StoredFile {
 public:
  /// Error that begins with `file` if names repeat or are not UTF-8.
  StoredFile(std::vector<StoredTensor> tensors, const std::map<std::string, std::string>& metadata,
             Checksums checksums, const std::string& file);

  uint64_t bytes() const;  ///< of the file
  void write(const OutputPath& to) const;

 private:
  std::vector<StoredTensor> tensors_;
  std::string header_;
};

/// The tensors as they are stored; they must outlive what is returned. Error that begins with `file` for one
/// that is undefined or not on the CPU.
std::vector<StoredTensor> stored(const std::vector<std::pair<std::string, Tensor>>& tensors,
                                 const std::string& file);

}  // namespace espalier
