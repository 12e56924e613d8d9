// The safetensors format (github.com/huggingface/safetensors): named tensors and a few strings in one file.
//
//   8 bytes    little-endian: how long the header is
//   header     JSON: {"NAME": {"dtype": "F32", "shape": [2, 3], "data_offsets": [BEGIN, END]}, ...,
//                     "__metadata__": {"KEY": "VALUE", ...}}, padded with spaces; some writers leave the
//              metadata out, or null
//   data       the tensors, row-major and little-endian, one after the other without gaps; offsets count
//   from here
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "espalier/core/tensor.h"
#include "espalier/util/atomic_file.h"

namespace espalier {

struct TensorFile {
  std::vector<std::pair<std::string, Tensor>> tensors;  ///< after reading: in the order of their data
  std::map<std::string, std::string> metadata;

  /// Null if there is no tensor of that name.
  const Tensor* find(std::string_view name) const;
};

/// Whether a file keeps a checksum of each tensor (of its dtype, shape and bytes) and of its metadata, as
/// metadata under "espalier.checksums".
enum class Checksums : uint8_t { none, kept };

/// Reads a file; each tensor's data goes straight to its place. F16, BF16 and F64 become f32; F32, I64, I32,
/// I8 and U8 stay what they are; any other dtype is refused. Sizes, offsets and names are all checked before
/// the first tensor is made, and an Error names the file, the tensor and what is wrong. Checksums that the
/// file keeps must be right; they are not among the metadata that are returned. While a MetaDevice
/// (core/tensor.h) is alive only the header is read: tensors have their shapes, and no memory.
TensorFile read_safetensors(const std::filesystem::path& path);

/// The same from memory; `name` stands for the file in messages.
TensorFile parse_safetensors(std::span<const std::byte> bytes, const std::string& name);

/// Only the header: the metadata, and tensors that have shapes and no memory (on `meta`).
/// What the header says is checked as above, also against the file's size; no tensor's bytes are read, and
/// their checksums are not looked at. For whoever asks what a file is, of any size, before reading it.
TensorFile read_safetensors_header(const std::filesystem::path& path);

/// Writes a file atomically (atomic_file.h). The same content gives the same bytes, whatever the order of
/// `tensors`: those of Hugging Face's writer, which sorts by dtype, the widest first, then by name, so that
/// every tensor is aligned. A bf16 tensor is written as BF16. An Error if names repeat or are not UTF-8, if a
/// tensor is undefined or has no memory (on `meta`), or if the disk refuses. Tensors on the GPU are copied
/// from there.
void write_safetensors(const OutputPath& to, const TensorFile& file, Checksums checksums = Checksums::none);

}  // namespace espalier
