// Reading and writing; what the header may say is in safetensors_header.cpp.
#include "espalier/formats/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <functional>
#include <set>

#include "espalier/formats/atomic_file.h"
#include "espalier/formats/input_file.h"
#include "espalier/formats/safetensors_header.h"

namespace espalier {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors files are little-endian");

constexpr uint64_t longest_header = 100'000'000;  // the limit of Hugging Face's reader

/// Reads that many bytes from an offset of the file.
using ReadAt = std::function<void(void* into, size_t bytes, uint64_t offset)>;

/// What a file that is no safetensors file seems to be, by its first bytes; null if unknown.
const char* foreign_kind(std::string_view start) {
  using namespace std::string_view_literals;
  constexpr auto zip = "a PyTorch file (a zip archive): scripts/from-torch turns it into safetensors";
  constexpr auto pickle = "an old PyTorch file (a pickle): scripts/from-torch turns it into safetensors";
  for (const auto& [magic, kind] : {
           std::pair{"PK\x03\x04"sv, zip},
           {"\x80\x02"sv, pickle},
           {"\x80\x03"sv, pickle},
           {"\x80\x04"sv, pickle},
           {"\x80\x05"sv, pickle},
           {"\x89HDF"sv, "an HDF5 file"},
           {"GGUF"sv, "a GGUF file"},
           {"\x93NUMPY"sv, "a NumPy array"},
           {"version https://"sv, "a Git LFS pointer: the file it stands for was not fetched"},
       }) {
    if (start.starts_with(magic)) return kind;
  }
  return nullptr;
}

std::string read_header(const std::string& file, uint64_t size, const ReadAt& read) {
  ESP_CHECK(size > 0, file, ": is empty, a safetensors file is expected");
  std::array<char, 16> start{};
  read(start.data(), std::min<uint64_t>(size, start.size()), 0);
  uint64_t length;
  std::memcpy(&length, start.data(), 8);
  const bool possible = length <= longest_header && start[8] == '{';
  const char* foreign = possible ? nullptr : foreign_kind({start.data(), start.size()});
  ESP_CHECK(!foreign, file, ": is not a safetensors file, it looks like ", foreign);
  ESP_CHECK(size >= 10, file, ": is not a safetensors file, or cut off: it has ", size, " bytes");
  ESP_CHECK(length >= 2 && length <= longest_header, file,
            ": is not a safetensors file: its first 8 bytes give a header of ", length,
            " bytes, expected 2 to ", longest_header);
  ESP_CHECK(start[8] == '{', file, ": is not a safetensors file: its header does not begin with {");
  ESP_CHECK(length <= size - 8, file, ": is cut off: it has ", size, " bytes, its header alone needs ",
            8 + length);
  std::string text(length, '\0');
  read(text.data(), length, 8);
  return text;
}

float from_bf16(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

float from_f16(uint16_t bits) {
  const uint32_t sign = (bits & 0x8000u) << 16, rest = bits & 0x7FFFu;
  const uint32_t magnitude = rest < 0x0400u   ? std::bit_cast<uint32_t>(static_cast<float>(rest) * 0x1p-24f)
                             : rest < 0x7C00u ? (rest << 13) + ((127u - 15u) << 23)
                                              : (rest << 13) + ((255u - 31u) << 23);  // infinity, NaN
  return std::bit_cast<float>(sign | magnitude);
}

/// Fills `tensor` from numbers of another type, through a small buffer.
template <class Stored, class Convert>
void read_converted(Tensor& tensor, uint64_t offset, const ReadAt& read, Convert convert) {
  std::array<Stored, 8192> buffer;
  float* to = tensor.f32();
  for (size_t left = static_cast<size_t>(tensor.elements()); left > 0;) {
    const size_t count = std::min(left, buffer.size());
    read(buffer.data(), count * sizeof(Stored), offset);
    to = std::transform(buffer.begin(), buffer.begin() + count, to, convert);
    offset += count * sizeof(Stored);
    left -= count;
  }
}

Tensor read_tensor(const HeaderEntry& entry, uint64_t offset, const ReadAt& read) {
  const auto as_stored = [&](DType dtype) {
    Tensor tensor = Tensor::empty(entry.shape, dtype);
    if (tensor.bytes() > 0) read(tensor.raw(), tensor.bytes(), offset);
    return tensor;
  };
  const auto as_f32 = [&]<class Stored>(Stored, auto convert) {
    Tensor tensor = Tensor::empty(entry.shape);
    read_converted<Stored>(tensor, offset, read, convert);
    return tensor;
  };
  switch (entry.dtype) {
    case FileDType::i64:
      return as_stored(DType::i64);
    case FileDType::f32:
      return as_stored(DType::f32);
    case FileDType::i32:
      return as_stored(DType::i32);
    case FileDType::i8:
      return as_stored(DType::i8);
    case FileDType::u8:
      return as_stored(DType::u8);
    case FileDType::f64:
      return as_f32(double{}, [](double value) { return static_cast<float>(value); });
    case FileDType::bf16:
      return as_f32(uint16_t{}, from_bf16);
    case FileDType::f16:
      return as_f32(uint16_t{}, from_f16);
  }
  __builtin_unreachable();
}

TensorFile read_all(const std::string& file, uint64_t size, const ReadAt& read) {
  const std::string text = read_header(file, size, read);
  const uint64_t data = 8 + text.size();
  SafetensorsHeader header = parse_header(text, size - data, file);
  TensorFile result;
  result.metadata = std::move(header.metadata);
  result.tensors.reserve(header.entries.size());
  for (HeaderEntry& entry : header.entries) {
    Tensor tensor = read_tensor(entry, data + entry.begin, read);
    result.tensors.emplace_back(std::move(entry.name), std::move(tensor));
  }
  return result;
}

}  // namespace

const Tensor* TensorFile::find(std::string_view name) const {
  const auto found =
      std::find_if(tensors.begin(), tensors.end(), [&](const auto& named) { return named.first == name; });
  return found == tensors.end() ? nullptr : &found->second;
}

TensorFile read_safetensors(const std::filesystem::path& path) {
  const InputFile file(path);
  return read_all(path.string(), file.size(),
                  [&](void* into, size_t bytes, uint64_t offset) { file.read(into, bytes, offset); });
}

TensorFile parse_safetensors(std::span<const std::byte> bytes, const std::string& name) {
  return read_all(name, bytes.size(), [&](void* into, size_t count, uint64_t offset) {
    std::memcpy(into, bytes.data() + offset, count);
  });
}

void write_safetensors(const std::filesystem::path& path, const TensorFile& file) {
  std::vector<const std::pair<std::string, Tensor>*> order;
  for (const auto& named : file.tensors) order.push_back(&named);
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    const FileDType of_a = file_dtype(a->second.dtype()), of_b = file_dtype(b->second.dtype());
    return of_a != of_b ? of_a < of_b : a->first < b->first;
  });

  SafetensorsHeader header{.entries = {}, .metadata = file.metadata};
  std::set<std::string_view> names;
  uint64_t end = 0;
  for (const auto* named : order) {
    const auto& [name, tensor] = *named;
    const std::string where = join(path.string(), ": cannot write: tensor ", shown(name), " ");
    ESP_CHECK(names.insert(name).second, where, "occurs twice");
    ESP_CHECK(name != "__metadata__", where, "has the name of the metadata");
    ESP_CHECK(tensor.defined(), where, "is undefined");
    ESP_CHECK(tensor.device() == Device::cpu, where, "is on ", device_name(tensor.device()),
              ", expected cpu");
    header.entries.push_back({name, file_dtype(tensor.dtype()), tensor.shape(), end, end + tensor.bytes()});
    end += tensor.bytes();
  }
  const std::string text = format_header(header, path.string());
  const uint64_t length = text.size();
  ESP_CHECK(length <= longest_header, path.string(), ": cannot write: the header would have ", length,
            " bytes, at most ", longest_header, " are allowed");

  AtomicFile out(path);
  out.write(&length, sizeof length);
  out.write(text);
  for (const auto* named : order) out.write(named->second.raw(), named->second.bytes());
  out.commit();
}

}  // namespace espalier
