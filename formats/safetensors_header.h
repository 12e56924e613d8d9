// The header of a safetensors file (safetensors.h): JSON text to a checked list of tensors, and back.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "espalier/core/tensor.h"

namespace espalier {

/// The dtypes a file may hold, in the order in which Hugging Face's writer lays tensors out.
enum class FileDType : uint8_t { i64, f64, f32, i32, bf16, f16, i8, u8 };

size_t file_dtype_bytes(FileDType dtype);
FileDType file_dtype(DType dtype);
/// "F32"
const char* dtype_name_in_files(FileDType dtype);

struct HeaderEntry {
  std::string name;
  FileDType dtype;
  Shape shape;
  uint64_t begin, end;  ///< bytes, counted from the start of the data
};

struct SafetensorsHeader {
  std::vector<HeaderEntry> entries;
  std::map<std::string, std::string> metadata;
};

/// `text` as a header for `data_bytes` bytes of data. The entries come back in the order of their data, which
/// they cover without overlap or gap; each has the bytes that its shape and dtype need. Otherwise an Error
/// that begins with `file`.
SafetensorsHeader parse_header(std::string_view text, uint64_t data_bytes, const std::string& file);

/// The entries in their order, as JSON padded with spaces to a multiple of 8 bytes. An Error that begins with
/// `file` if a string is not UTF-8.
std::string format_header(const SafetensorsHeader& header, const std::string& file);

/// "F32[2, 3]"
std::string describe(FileDType dtype, const Shape& shape);

/// A name as it may stand in a message: in quotes, escaped, cut short, whatever a broken file holds.
std::string shown(std::string_view name);

}  // namespace espalier
