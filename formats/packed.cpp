#include "espalier/formats/packed.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <span>

#include "espalier/config/json.h"
#include "espalier/core/parallel.h"
#include "espalier/formats/half.h"
#include "espalier/formats/stored_tensor.h"
#include "espalier/formats/zstd.h"
#include "espalier/util/spelling.h"
#include "espalier/util/table.h"

namespace espalier {
namespace {

using Bytes = std::vector<std::byte>;
using Json = nlohmann::ordered_json;

constexpr int64_t version = 1;
/// A file may claim to hold so many times the bytes that it has, and so many bytes on top.
constexpr double likely_times = 2000, allowed_bytes = 256 << 20;
const std::string packed_key = "espalier.packed", zstd_suffix = ".zstd", values_suffix = ".compressed";

/// What a mask or a weight is kept as beside its numbers that are not 0: where they are.
struct Encoding {
  const char* name;
  std::string suffix() const { return join(".", name); }
  /// `kept` [rows, columns]: 1 where a number is not 0.
  Bytes (*write)(std::span<const uint8_t> kept, int64_t columns);
  /// Fills `kept`; false where the bytes are not those of a tensor of this size.
  bool (*read)(std::span<const uint8_t> places, int64_t columns, std::span<uint8_t> kept);
  /// Whether a tensor of so many rows and columns may have so many bytes.
  bool (*fits)(uint64_t bytes, int64_t rows, int64_t columns);
};

// --- bitmask ---

bool is_bitmask(uint64_t bytes, int64_t rows, int64_t columns) {
  return bytes == static_cast<uint64_t>(rows) * static_cast<uint64_t>((columns + 7) / 8);
}

Bytes to_bitmask(std::span<const uint8_t> kept, int64_t columns) {
  if (kept.empty()) return {};
  const auto width = static_cast<size_t>(columns), row_bytes = (width + 7) / 8;
  Bytes bits(kept.size() / width * row_bytes);
  for (size_t row = 0, at = 0; at < kept.size(); ++row)
    for (size_t c = 0; c < width; ++c, ++at)
      bits[row * row_bytes + c / 8] |= static_cast<std::byte>(kept[at] << c % 8);
  return bits;
}

bool from_bitmask(std::span<const uint8_t> bits, int64_t columns, std::span<uint8_t> kept) {
  const auto width = static_cast<size_t>(columns), row_bytes = (width + 7) / 8;
  for (size_t row = 0, at = 0; at < kept.size(); ++row) {
    for (size_t c = 0; c < width; ++c, ++at) kept[at] = bits[row * row_bytes + c / 8] >> c % 8 & 1;
    if (width % 8 != 0 && bits[(row + 1) * row_bytes - 1] >> width % 8 != 0) return false;  // beyond the row
  }
  return true;
}

// --- gaps ---

constexpr uint8_t only_zeros = 255;

bool are_gaps(uint64_t bytes, int64_t rows, int64_t columns) {
  const auto n = static_cast<uint64_t>(rows * columns);
  return bytes <= n && n <= only_zeros * bytes + only_zeros - 1;
}

Bytes to_gaps(std::span<const uint8_t> kept, int64_t) {
  Bytes gaps;
  int gap = 0;
  for (const uint8_t one : kept) {
    if (one) {
      gaps.push_back(static_cast<std::byte>(gap));
      gap = 0;
    } else if (++gap == only_zeros) {
      gaps.push_back(static_cast<std::byte>(only_zeros));
      gap = 0;
    }
  }
  return gaps;
}

bool from_gaps(std::span<const uint8_t> gaps, int64_t, std::span<uint8_t> kept) {
  std::ranges::fill(kept, uint8_t{0});
  size_t at = 0;
  for (const uint8_t gap : gaps) {
    at += gap;
    if (gap == only_zeros) continue;
    if (at >= kept.size()) return false;
    kept[at++] = 1;
  }
  return at <= kept.size() && kept.size() - at < only_zeros;
}

const Encoding encodings[] = {{"bitmask", to_bitmask, from_bitmask, is_bitmask},
                              {"gaps", to_gaps, from_gaps, are_gaps}};

// --- Packing ---

FileDType dtype_of(PackedValues values) {
  return values == PackedValues::f32    ? FileDType::f32
         : values == PackedValues::bf16 ? FileDType::bf16
                                        : FileDType::f16;
}

/// One tensor of the file that is written.
struct Part {
  std::string name;
  FileDType dtype;
  Shape shape;
  Bytes bytes;
};

template <class T>
Bytes bytes_of(const std::vector<T>& numbers) {
  Bytes bytes(numbers.size() * sizeof(T));
  if (!bytes.empty()) std::memcpy(bytes.data(), numbers.data(), bytes.size());
  return bytes;
}

Bytes narrowed(std::span<const float> numbers, FileDType dtype, const std::string& where) {
  if (dtype == FileDType::f32) {
    const auto bytes = std::as_bytes(numbers);
    return {bytes.begin(), bytes.end()};
  }
  std::vector<uint16_t> half(numbers.size());
  for (size_t i = 0; i < numbers.size(); ++i) {
    half[i] = dtype == FileDType::bf16 ? to_bf16(numbers[i]) : to_f16(numbers[i]);
    const float back = dtype == FileDType::bf16 ? from_bf16(half[i]) : from_f16(half[i]);
    ESP_CHECK(std::isfinite(back) || !std::isfinite(numbers[i]), where, "holds ", numbers[i], ", which ",
              dtype_name_in_files(dtype), " cannot: expected other values, f32 at least");
  }
  return bytes_of(half);
}

/// The part, or a frame of what it holds where that saves a twentieth at least.
Part squeezed(Part part, size_t tensor_bytes) {
  constexpr size_t too_few = 64;
  if (part.bytes.size() < too_few) return part;
  Bytes frame = zstd_compressed(part.bytes);
  const bool is_likely =
      static_cast<double>(tensor_bytes) <= likely_times * static_cast<double>(frame.size());
  if (frame.size() > part.bytes.size() / 20 * 19 || !is_likely) return part;
  const auto size = static_cast<int64_t>(frame.size());
  return {part.name + zstd_suffix, FileDType::u8, {size}, std::move(frame)};
}

uint64_t bytes_of(const std::vector<Part>& parts) {
  uint64_t bytes = 0;
  for (const Part& part : parts) bytes += part.bytes.size();
  return bytes;
}

struct PackedOne {
  std::vector<Part> parts;
  Json entry = nullptr;  ///< of what is not dense
};

/// 1 where the bits of a number are not all 0, so that -0 stays one.
std::vector<uint8_t> kept_of(const Tensor& tensor) {
  std::vector<uint8_t> kept(static_cast<size_t>(tensor.elements()));
  if (tensor.dtype() == DType::u8) {
    std::ranges::transform(tensor.span<uint8_t>(), kept.begin(), [](uint8_t x) { return x != 0; });
  } else {
    std::ranges::transform(tensor.span<float>(), kept.begin(),
                           [](float x) { return std::bit_cast<uint32_t>(x) != 0; });
  }
  return kept;
}

/// Whether a tensor has a name that a part of another would have.
bool has_parts(const std::string& name, const std::set<std::string>& names) {
  std::vector<std::string> parts = {name + values_suffix};
  for (const Encoding& encoding : encodings) parts.push_back(name + encoding.suffix());
  return std::ranges::any_of(parts, [&](const std::string& part) {
    return names.contains(part) || names.contains(part + zstd_suffix);
  });
}

PackedOne pack(const std::string& name, const Tensor& tensor, PackedValues values,
               const std::set<std::string>& names, const std::string& file) {
  const std::string where = join(file, ": tensor ", shown(name), " ");
  const bool is_weight = tensor.dtype() == DType::f32 && tensor.shape().axes() >= 2;
  const FileDType dtype = is_weight ? dtype_of(values) : file_dtype(tensor.dtype());
  const auto dense = [&] {  // all its numbers are copied: only where it stays so
    const auto whole = std::span(static_cast<const std::byte*>(tensor.raw()), tensor.bytes());
    PackedOne one;
    one.parts.push_back(
        {name, dtype, tensor.shape(),
         is_weight ? narrowed(tensor.span<float>(), dtype, where) : Bytes(whole.begin(), whole.end())});
    return one;
  };
  const bool is_mask = tensor.dtype() == DType::u8 &&
                       std::ranges::all_of(tensor.span<uint8_t>(), [](uint8_t x) { return x <= 1; });
  const bool is_dense = tensor.dtype() != DType::f32 && !is_mask;
  if (is_dense || tensor.elements() == 0 || tensor.shape().axes() == 0 || has_parts(name, names))
    return dense();

  const std::vector<uint8_t> kept = kept_of(tensor);
  const int64_t stay = std::ranges::count(kept, uint8_t{1});
  if (!is_mask && 100 * stay > 97 * tensor.elements()) return dense();
  std::optional<Part> numbers;
  if (!is_mask) {
    std::vector<float> left;
    left.reserve(static_cast<size_t>(stay));
    for (size_t i = 0; i < kept.size(); ++i)
      if (kept[i]) left.push_back(tensor.f32()[i]);
    numbers = squeezed({name + values_suffix, dtype, {stay}, narrowed(left, dtype, where)}, tensor.bytes());
  }
  std::optional<PackedOne> best;
  uint64_t best_bytes = static_cast<uint64_t>(tensor.elements()) * file_dtype_bytes(dtype);
  const int64_t columns = tensor.shape().row_elements();
  for (const Encoding& encoding : encodings) {
    Bytes places = encoding.write(kept, columns);
    const auto bytes = static_cast<int64_t>(places.size());
    const bool is_matrix = encoding.write == to_bitmask;
    const int64_t rows = tensor.elements() / columns;
    PackedOne one;
    one.parts.push_back(squeezed({name + encoding.suffix(), FileDType::u8,
                                  is_matrix ? Shape{rows, bytes / rows} : Shape{bytes}, std::move(places)},
                                 tensor.bytes()));
    if (numbers) one.parts.push_back(*numbers);
    if (bytes_of(one.parts) >= best_bytes) continue;
    best_bytes = bytes_of(one.parts);
    one.entry = {{"shape", tensor.shape().sizes()},
                 {"dtype", dtype_name_in_files(file_dtype(tensor.dtype()))},
                 {"encoding", encoding.name}};
    if (numbers) one.entry["values"] = dtype_name_in_files(dtype);
    best = std::move(one);
  }
  return best ? std::move(*best) : dense();
}

// --- Unpacking ---

/// What a packed file's metadata says of a tensor.
struct Entry {
  Shape shape;
  bool is_mask;
  const Encoding* encoding;
  FileDType values;
};

[[noreturn]] void does_not_fit(const std::string& place, const std::string& what) {
  fail(place, ": ", what, ": the file is damaged, or was packed by another program");
}

template <class Rows>
const auto& named(const Rows& rows, const std::string& name, const std::string& place) {
  const auto found = std::ranges::find_if(rows, [&](const auto& row) { return row.name == name; });
  if (found == std::end(rows))
    fail(place, ": found ", shown(name), ", which this version of Espalier does not know");
  return *found;
}

Entry entry_from(const Json& json, const std::string& place) {
  const auto sizes = json_field<std::vector<int64_t>>(json, "shape", place);
  int64_t elements = 1;
  bool is_shape = !sizes.empty() && sizes.size() <= Shape::max_axes;
  for (const int64_t size : sizes)
    is_shape =
        is_shape && size >= 0 && !__builtin_mul_overflow(elements, std::max<int64_t>(size, 1), &elements);
  if (!is_shape)
    fail(json_place(place, "shape"), ": found ", Json(sizes).dump(), ", expected 1 to ", Shape::max_axes,
         " sizes of a tensor");
  const auto dtype = json_field<std::string>(json, "dtype", place);
  if (dtype != "U8" && dtype != "F32")
    fail(json_place(place, "dtype"), ": found ", shown(dtype), ", expected F32 or U8");
  Entry entry{.shape = Shape(sizes),
              .is_mask = dtype == "U8",
              .encoding = &named(encodings, json_field<std::string>(json, "encoding", place),
                                 json_place(place, "encoding")),
              .values = FileDType::f32};
  if (entry.is_mask && json.contains("values"))
    fail(json_place(place, "values"), ": is for dtype F32, and the dtype is U8");
  if (entry.is_mask) return entry;
  const auto values = json_field<std::string>(json, "values", place);
  for (const FileDType dtype : {FileDType::f32, FileDType::bf16, FileDType::f16})
    if (values == dtype_name_in_files(dtype)) {
      entry.values = dtype;
      return entry;
    }
  fail(json_place(place, "values"), ": found ", shown(values), ", expected F32, BF16 or F16");
}

/// The parts of packed tensors, by name, taken out of a file.
class Parts {
 public:
  Parts(TensorFile& file, std::string place) : file_(file), place_(std::move(place)) {
    for (size_t i = 0; i < file.tensors.size(); ++i) at_[file.tensors[i].first] = i;
  }

  /// The tensor of that name, or its frame; what it is is said.
  Tensor take(const std::string& name, bool& is_frame) {
    const Tensor* plain = find(name);
    const Tensor* frame = find(name + zstd_suffix);
    is_frame = !plain;
    if (!plain == !frame)
      does_not_fit(place_, join(plain ? "two tensors are " : "no tensor is ", shown(name)));
    taken_.push_back(at_[is_frame ? name + zstd_suffix : name]);
    if (is_frame && frame->dtype() != DType::u8)
      does_not_fit(place_, join(shown(name + zstd_suffix), " is no U8"));
    return plain ? *plain : *frame;
  }

  /// Leaves those that have been taken out of the file.
  void remove() {
    std::vector<std::pair<std::string, Tensor>> left;
    std::vector<char> is_taken(file_.tensors.size());
    for (const size_t at : taken_) is_taken[at] = 1;
    for (size_t i = 0; i < is_taken.size(); ++i)
      if (!is_taken[i]) left.push_back(std::move(file_.tensors[i]));
    file_.tensors = std::move(left);
  }

  bool has(const std::string& name) const { return at_.contains(name); }

 private:
  const Tensor* find(const std::string& name) const {
    const auto found = at_.find(name);
    return found == at_.end() ? nullptr : &file_.tensors[found->second].second;
  }

  TensorFile& file_;
  std::string place_;
  std::map<std::string, size_t> at_;
  std::vector<size_t> taken_;
};

std::span<const uint8_t> plain_bytes(const Tensor& tensor) {
  return {static_cast<const uint8_t*>(tensor.raw()), tensor.bytes()};
}

/// How many bytes a frame says that it holds.
uint64_t content_bytes(const Tensor& frame, const std::string& place) {
  const std::optional<uint64_t> size = zstd_content_bytes(std::as_bytes(plain_bytes(frame)));
  if (!size)
    does_not_fit(place, "a part that should be a Zstandard frame is none, or does not say how much it holds");
  return *size;
}

/// What a frame holds, which is content_bytes().
std::vector<uint8_t> opened(const Tensor& frame, const std::string& place) {
  std::vector<uint8_t> content(content_bytes(frame, place));
  if (!zstd_decompress(std::as_bytes(plain_bytes(frame)), std::as_writable_bytes(std::span(content))))
    does_not_fit(place, "a Zstandard frame cannot be read");
  return content;
}

std::vector<float> widened(std::span<const uint8_t> bytes, FileDType dtype) {
  const size_t each = file_dtype_bytes(dtype);
  std::vector<float> numbers(bytes.size() / each);
  if (dtype == FileDType::f32) {
    if (!numbers.empty()) std::memcpy(numbers.data(), bytes.data(), numbers.size() * sizeof(float));
    return numbers;
  }
  for (size_t i = 0; i < numbers.size(); ++i) {
    uint16_t half;
    std::memcpy(&half, bytes.data() + 2 * i, 2);
    numbers[i] = dtype == FileDType::bf16 ? from_bf16(half) : from_f16(half);
  }
  return numbers;
}

Tensor unpacked(const std::string& name, const Entry& entry, Parts& parts, const std::string& place) {
  bool is_frame = false, are_framed = false;
  const Tensor places = parts.take(name + entry.encoding->suffix(), is_frame);
  Tensor numbers;
  if (!entry.is_mask) numbers = parts.take(name + values_suffix, are_framed);
  const DType dtype = entry.is_mask ? DType::u8 : DType::f32;
  if (MetaDevice::active()) return Tensor::empty(entry.shape, dtype);

  // What has another size than it must have is refused before it takes memory.
  const int64_t n = entry.shape.elements();
  if (places.dtype() != DType::u8) does_not_fit(place, "where its numbers stand is no U8");
  if (!entry.is_mask && !are_framed && numbers.dtype() != DType::f32)
    does_not_fit(place, "its numbers are not of a float type");
  const uint64_t bytes = is_frame ? content_bytes(places, place) : places.bytes();
  const int64_t columns = n == 0 ? 0 : entry.shape.row_elements();
  if (n == 0 ? bytes != 0 : !entry.encoding->fits(bytes, entry.shape[0], columns))
    does_not_fit(place, join("where its numbers stand does not fit ", entry.shape.str()));
  std::vector<uint8_t> kept(static_cast<size_t>(n)), content;
  if (is_frame) content = opened(places, place);
  if (n > 0 && !entry.encoding->read(is_frame ? content : plain_bytes(places), columns, kept))
    does_not_fit(place, join("where its numbers stand does not fit ", entry.shape.str()));
  Tensor tensor = Tensor::empty(entry.shape, dtype);
  if (entry.is_mask) {
    std::ranges::copy(kept, tensor.data<uint8_t>());
    return tensor;
  }
  const int64_t stay = std::ranges::count(kept, uint8_t{1});
  const auto each = static_cast<int64_t>(file_dtype_bytes(entry.values));
  const auto there =
      are_framed ? static_cast<int64_t>(content_bytes(numbers, place)) : numbers.elements() * each;
  if (there != stay * each)
    does_not_fit(place, join("it has ", there, " bytes of numbers for ", stay, " places of ", each));
  std::vector<float> own;
  if (are_framed) own = widened(opened(numbers, place), entry.values);
  const std::span<const float> left = are_framed ? std::span<const float>(own) : numbers.span<float>();
  size_t next = 0;
  float* const to = tensor.f32();
  for (size_t i = 0; i < kept.size(); ++i) to[i] = kept[i] ? left[next++] : 0.0f;
  return tensor;
}

}  // namespace

const std::vector<std::string>& packed_values_names() {
  static const std::vector<std::string> names = {"f32", "bf16", "f16"};
  return names;
}

PackedValues packed_values_named(const std::string& name) {
  return static_cast<PackedValues>(position_of_name("values", name, packed_values_names()));
}

PackedFile::PackedFile(const TensorFile& file, PackedValues values, const std::string& name) {
  const auto& tensors = file.tensors;
  std::vector<PackedOne> packed(tensors.size());
  std::set<std::string> names;
  for (const auto& [tensor_name, tensor] : tensors) names.insert(tensor_name);
  const auto count = static_cast<int64_t>(tensors.size());
  parallel_items(count, parts_for(count, 1), [&](int, int64_t i) {
    const auto& [tensor_name, tensor] = tensors[static_cast<size_t>(i)];
    packed[static_cast<size_t>(i)] = pack(tensor_name, tensor.to(Device::cpu), values, names, name);
  });
  Json entries = Json::object();
  std::vector<StoredTensor> stored;
  for (size_t i = 0; i < tensors.size(); ++i) {
    PackedOne& one = packed[i];
    rows_.push_back({tensors[i].first,
                     one.entry.is_null() ? "dense" : one.entry["encoding"].get<std::string>(),
                     tensors[i].second.bytes(), bytes_of(one.parts)});
    for (Part& part : one.parts) {
      bytes_.push_back(std::move(part.bytes));
      stored.push_back(
          {part.name, part.dtype, part.shape, bytes_.back()});  // what it holds stays where it is
    }
    if (!one.entry.is_null()) entries[tensors[i].first] = std::move(one.entry);
  }
  std::map<std::string, std::string> metadata = file.metadata;
  metadata[packed_key] =
      Json{{"version", version}, {"tensors", entries}}.dump(-1, ' ', false, Json::error_handler_t::replace);
  file_ = std::make_unique<StoredFile>(std::move(stored), metadata, Checksums::kept, name);
}

PackedFile::~PackedFile() = default;

uint64_t PackedFile::bytes() const { return file_->bytes(); }

void PackedFile::write(const OutputPath& to) const { file_->write(to); }

void unpack(TensorFile& file, const std::string& name) {
  const auto node = file.metadata.extract(packed_key);
  if (node.empty()) return;
  const std::string place = join(name, ": ", packed_key);
  const Json json = parse_json(node.mapped(), place);
  const int64_t found = json_count(json, "version", place);
  ESP_CHECK(found <= version, name, ": was packed by a later version of Espalier: its layout is version ",
            found, ", this program reads ", version);
  ESP_CHECK(found == version, json_place(place, "version"), ": found ", found, ", expected ", version);

  double stored = 0, claimed = 0;
  for (const auto& [of, tensor] : file.tensors) stored += static_cast<double>(tensor.bytes());
  std::vector<std::pair<std::string, Entry>> entries;
  const Json tensors = json_field<Json>(json, "tensors", place);
  const std::string inside = json_place(place, "tensors");
  ESP_CHECK(tensors.is_object(), inside, ": found ", in_words(tensors), ", expected an object");
  for (const auto& [of, fields] : tensors.items()) {
    const std::string at = json_place(inside, of);
    ESP_CHECK(fields.is_object(), at, ": found ", in_words(fields), ", expected an object");
    entries.emplace_back(of, entry_from(fields, at));
    claimed +=
        static_cast<double>(entries.back().second.shape.elements()) * (entries.back().second.is_mask ? 1 : 4);
  }
  ESP_CHECK(claimed <= allowed_bytes + likely_times * stored, name, ": claims to hold ", bytes_text(claimed),
            " in ", bytes_text(stored), ": it is damaged, or made to take all memory");
  Parts parts(file, place);
  std::vector<std::pair<std::string, Tensor>> made;
  for (const auto& [of, entry] : entries) {
    ESP_CHECK(!parts.has(of), name, ": tensor ", shown(of), " is there packed and as it is");
    made.emplace_back(of, unpacked(of, entry, parts, json_place(inside, of)));
  }
  parts.remove();
  std::ranges::move(made, std::back_inserter(file.tensors));
}

}  // namespace espalier
