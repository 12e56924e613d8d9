// Reading and writing; what the header may say is in safetensors_header.cpp.
#include "espalier/formats/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <functional>
#include <optional>
#include <set>
#include <tuple>

#include "espalier/config/json.h"
#include "espalier/core/parallel.h"
#include "espalier/formats/checksum.h"
#include "espalier/formats/half.h"
#include "espalier/formats/packed.h"
#include "espalier/formats/safetensors_header.h"
#include "espalier/formats/stored_tensor.h"
#include "espalier/util/atomic_file.h"
#include "espalier/util/input_file.h"
#include "espalier/util/utf8.h"

namespace espalier {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors files are little-endian");

constexpr uint64_t longest_header = 100'000'000;  // the limit of Hugging Face's reader

constexpr const char* damaged =
    "does not have the checksum that is kept with it: the file is damaged, or what changed it left "
    "'espalier.checksums' in its metadata";

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
           {"\x89PNG"sv, "an image (PNG)"},
           {"\xFF\xD8\xFF"sv, "an image (JPEG)"},
           {"\x1F\x8B"sv, "a gzip archive"},
           {"\x7F"
            "ELF"sv,
            "a program (ELF)"},
           {"version https://"sv, "a Git LFS pointer: the file it stands for was not fetched"},
       }) {
    if (start.starts_with(magic)) return kind;
  }
  return nullptr;
}

/// "it begins with the text 'name,accur'", past blanks and empty lines, or with its bytes in hexadecimal
/// where they are no text.
std::string beginning(std::string_view start) {
  const bool is_text = std::ranges::all_of(
      start, [](unsigned char c) { return (c >= ' ' && c < 0x7F) || c == '\n' || c == '\r' || c == '\t'; });
  const size_t text = start.find_first_not_of(" \t\r\n");
  if (is_text && text != start.npos) {
    const std::string_view line = start.substr(text, start.find_first_of("\r\n", text) - text);
    return join("it begins with the text '", printable(std::string(line)), "'");
  }
  std::string bytes;
  for (const char c : start.substr(0, 8)) {
    constexpr char digits[] = "0123456789abcdef";
    const auto byte = static_cast<unsigned char>(c);
    bytes += {' ', digits[byte / 16], digits[byte % 16]};
  }
  return "it begins with the bytes" + bytes;
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
  ESP_CHECK(start[8] == '{', file, ": is not a safetensors file: ",
            length >= 2 && length <= longest_header
                ? "its header does not begin with {"
                : beginning({start.data(), std::min<uint64_t>(size, start.size())}));
  ESP_CHECK(length >= 2 && length <= longest_header, file,
            ": is not a safetensors file: its first 8 bytes give a header of ", length,
            " bytes, expected 2 to ", longest_header);
  ESP_CHECK(length <= size - 8, file, ": is cut off: it has ", size, " bytes, its header alone needs ",
            8 + length);
  std::string text(length, '\0');
  read(text.data(), length, 8);
  return text;
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
    if (tensor.bytes() > 0 && tensor.device() != Device::meta) read(tensor.raw(), tensor.bytes(), offset);
    return tensor;
  };
  const auto as_f32 = [&]<class Stored>(Stored, auto convert) {
    Tensor tensor = Tensor::empty(entry.shape);
    if (tensor.device() != Device::meta) read_converted<Stored>(tensor, offset, read, convert);
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

// --- checksums ---

const std::string checksums_key = "espalier.checksums";
const std::string of_metadata = "__metadata__";  // a name that no tensor has

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

uint32_t checksum_of(const std::map<std::string, std::string>& metadata) {
  uint32_t sum = 0;
  for (const auto& [key, value] : metadata)
    for (const std::string* text : {&key, &value})
      sum = checksum({reinterpret_cast<const std::byte*>(text->c_str()), text->size() + 1},
                     sum);  // with its zero
  return sum;
}

/// What a tensor's checksum begins with, so that its bytes cannot pass for something else.
uint32_t checksum_of(FileDType dtype, const Shape& shape) {
  return checksum(bytes_of(describe(dtype, shape)));
}

std::string checksums_text(const std::vector<StoredTensor>& tensors,
                           const std::map<std::string, std::string>& metadata) {
  std::vector<uint32_t> sums(tensors.size());
  const auto count = static_cast<int64_t>(tensors.size());
  parallel_items(count, parts_for(count, 1), [&](int, int64_t i) {
    const StoredTensor& tensor = tensors[static_cast<size_t>(i)];
    sums[static_cast<size_t>(i)] = checksum(tensor.bytes, checksum_of(tensor.dtype, tensor.shape));
  });
  std::string text = "{";
  const auto add = [&](const std::string& name, uint32_t sum) {
    constexpr size_t most_digits = 10;  // spaces before them: equal networks make files of equal size
    const std::string digits = std::to_string(sum);
    text += (text.size() > 1 ? "," : "") +
            nlohmann::json(name).dump(-1, ' ', false,
                                      nlohmann::json::error_handler_t::replace) +  // format_header refuses
            ":" +
            std::string(most_digits - digits.size(), ' ') + digits;
  };
  add(of_metadata, checksum_of(metadata));
  for (size_t i = 0; i < sums.size(); ++i) add(tensors[i].name, sums[i]);
  return text + "}";
}

using KeptChecksums = std::map<std::string, uint32_t>;

/// Takes the checksums from the metadata, and checks that of the rest; nothing if the file keeps none.
std::optional<KeptChecksums> take_checksums(std::map<std::string, std::string>& metadata,
                                            const std::string& file) {
  const auto node = metadata.extract(checksums_key);
  if (node.empty()) return std::nullopt;
  const std::string place = join(file, ": its checksums cannot be read");
  auto kept = json_value<KeptChecksums>(parse_json(node.mapped(), place), place);
  const auto own = kept.extract(of_metadata);
  ESP_CHECK(!own.empty() && own.mapped() == checksum_of(metadata), file, ": its metadata ", damaged);
  return kept;
}

TensorFile read_all(const std::string& file, uint64_t size, const ReadAt& read) {
  const std::string text = read_header(file, size, read);
  const uint64_t data = 8 + text.size();
  SafetensorsHeader header = parse_header(text, size - data, file);
  TensorFile result;
  result.metadata = std::move(header.metadata);
  const std::optional<KeptChecksums> kept = take_checksums(result.metadata, file);
  result.tensors.reserve(header.entries.size());
  for (HeaderEntry& entry : header.entries) {
    uint32_t sum = kept ? checksum_of(entry.dtype, entry.shape) : 0;
    const ReadAt summed = [&](void* into, size_t bytes, uint64_t offset) {
      constexpr size_t piece = 1 << 18;  // still in the cache when it is summed
      for (size_t at = 0; at < bytes; at += piece) {
        const std::span part(static_cast<std::byte*>(into) + at, std::min(piece, bytes - at));
        read(part.data(), part.size(), offset + at);
        sum = checksum(part, sum);
      }
    };
    Tensor tensor = read_tensor(entry, data + entry.begin, kept ? summed : read);
    if (kept && tensor.device() != Device::meta) {
      const auto own = kept->find(entry.name);
      ESP_CHECK(own != kept->end() && own->second == sum, file, ": tensor ", shown(entry.name), " ", damaged);
    }
    result.tensors.emplace_back(std::move(entry.name), std::move(tensor));
  }
  unpack(result, file);
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

TensorFile read_safetensors_header(const std::filesystem::path& path) {
  const MetaDevice header_alone;
  return read_safetensors(path);
}

TensorFile parse_safetensors(std::span<const std::byte> bytes, const std::string& name) {
  return read_all(name, bytes.size(), [&](void* into, size_t count, uint64_t offset) {
    std::memcpy(into, bytes.data() + offset, count);
  });
}

StoredFile::StoredFile(std::vector<StoredTensor> tensors, const std::map<std::string, std::string>& metadata,
                       Checksums checksums, const std::string& file)
    : tensors_(std::move(tensors)) {
  std::ranges::sort(tensors_, {}, [](const StoredTensor& one) { return std::tie(one.dtype, one.name); });
  SafetensorsHeader header{.entries = {}, .metadata = metadata};
  std::set<std::string_view> names;
  uint64_t end = 0;
  for (const StoredTensor& one : tensors_) {
    const std::string where = join(file, ": cannot write: tensor ", shown(one.name), " ");
    ESP_CHECK(names.insert(one.name).second, where, "occurs twice");
    ESP_CHECK(one.name != "__metadata__", where, "has the name of the metadata");
    header.entries.push_back({one.name, one.dtype, one.shape, end, end + one.bytes.size()});
    end += one.bytes.size();
  }
  if (checksums == Checksums::kept) header.metadata[checksums_key] = checksums_text(tensors_, metadata);
  header_ = format_header(header, file);
  ESP_CHECK(header_.size() <= longest_header, file, ": cannot write: the header would have ", header_.size(),
            " bytes, at most ", longest_header, " are allowed");
}

uint64_t StoredFile::bytes() const {
  uint64_t bytes = sizeof(uint64_t) + header_.size();
  for (const StoredTensor& one : tensors_) bytes += one.bytes.size();
  return bytes;
}

void StoredFile::write(const OutputPath& to) const {
  const uint64_t length = header_.size();
  AtomicFile out(to);
  out.write(&length, sizeof length);
  out.write(header_);
  for (const StoredTensor& one : tensors_) out.write(one.bytes.data(), one.bytes.size());
  out.commit();
}

std::vector<StoredTensor> stored(const std::vector<std::pair<std::string, Tensor>>& tensors,
                                 const std::string& file) {
  std::vector<StoredTensor> all;
  for (const auto& [name, tensor] : tensors) {
    const std::string where = join(file, ": cannot write: tensor ", shown(name), " ");
    ESP_CHECK(tensor.defined(), where, "is undefined");
    ESP_CHECK(tensor.device() == Device::cpu, where, "has no memory, it is on ",
              device_name(tensor.device()));
    all.push_back({name,
                   file_dtype(tensor.dtype()),
                   tensor.shape(),
                   {static_cast<const std::byte*>(tensor.raw()), tensor.bytes()}});
  }
  return all;
}

void write_safetensors(const OutputPath& to, const TensorFile& file, Checksums checksums) {
  std::vector<std::pair<std::string, Tensor>> on_host = file.tensors;
  for (auto& [name, tensor] : on_host)
    if (tensor.defined()) tensor = tensor.to(Device::cpu);
  const std::string path = to.path.string();
  StoredFile(stored(on_host, path), file.metadata, checksums, path).write(to);
}

}  // namespace espalier
