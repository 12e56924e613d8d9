// The parser is driven by events and takes one form of JSON only, so that it builds no document, cannot be
// led into depth, sees repeated names, and can say where it stands.
#include "espalier/formats/safetensors_header.h"

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_set>

#include "espalier/util/utf8.h"

namespace espalier {
namespace {

using nlohmann::json;

struct FileDTypeRow {
  const char* name;
  size_t bytes;
};
constexpr std::array<FileDTypeRow, 8> file_dtypes = {
    {{"I64", 8}, {"F64", 8}, {"F32", 4}, {"I32", 4}, {"BF16", 2}, {"F16", 2}, {"I8", 1}, {"U8", 1}}};

const FileDTypeRow& row(FileDType dtype) { return file_dtypes[static_cast<size_t>(dtype)]; }

std::optional<FileDType> find_file_dtype(std::string_view name) {
  for (size_t i = 0; i < file_dtypes.size(); ++i) {
    if (file_dtypes[i].name == name) return static_cast<FileDType>(i);
  }
  return std::nullopt;
}

class HeaderParser : public json::json_sax_t {
 public:
  explicit HeaderParser(const std::string& file) : file_(file) {}

  SafetensorsHeader take() { return std::move(header_); }

  bool start_object(size_t) override {
    if (place_ == Place::outside) {
      place_ = Place::header;
    } else if (place_ == Place::header && name_ == "__metadata__") {
      place_ = Place::metadata;
    } else if (place_ == Place::header) {
      place_ = Place::entry;
      dtype_.reset();
      shape_.reset();
      offsets_.reset();
    } else {
      found("an object");
    }
    return true;
  }

  bool key(std::string& key) override {
    if (place_ == Place::header) {
      ESP_CHECK(names_.insert(key).second, file_, ": the header has ", shown(key), " twice");
      name_ = key;
    } else if (place_ == Place::metadata) {
      ESP_CHECK(!header_.metadata.contains(key), where(), "has ", shown(key), " twice");
      field_ = key;
    } else {
      const bool dtype = key == "dtype", shape = key == "shape", offsets = key == "data_offsets";
      ESP_CHECK(dtype || shape || offsets, where(), "has a field ", shown(key), ", expected ", fields);
      const bool seen = dtype ? dtype_.has_value() : shape ? shape_.has_value() : offsets_.has_value();
      ESP_CHECK(!seen, where(), "has ", shown(key), " twice");
      field_ = key;
    }
    return true;
  }

  bool end_object() override {
    if (place_ == Place::entry) {
      ESP_CHECK(dtype_ && shape_ && offsets_, where(), "has no ",
                !dtype_   ? "dtype"
                : !shape_ ? "shape"
                          : "data_offsets",
                ", expected ", fields);
      ESP_CHECK(offsets_->size() == 2, where(), "data_offsets has ", offsets_->size(),
                " numbers, expected two: begin and end");
      header_.entries.push_back({name_, *dtype_, Shape(*shape_), (*offsets_)[0], (*offsets_)[1]});
    }
    place_ = place_ == Place::header ? Place::outside : Place::header;
    return true;
  }

  bool start_array(size_t) override {
    if (place_ == Place::entry && field_ == "shape") {
      place_ = Place::shape;
      shape_.emplace();
    } else if (place_ == Place::entry && field_ == "data_offsets") {
      place_ = Place::offsets;
      offsets_.emplace();
    } else {
      found("an array");
    }
    return true;
  }

  bool end_array() override {
    place_ = Place::entry;
    return true;
  }

  bool number_unsigned(uint64_t value) override {
    if (place_ == Place::shape) {
      ESP_CHECK(shape_->size() < Shape::max_axes, where(), "shape has more than ", Shape::max_axes, " axes");
      ESP_CHECK(value <= std::numeric_limits<int64_t>::max(), where(), "shape has an axis of size ", value);
      shape_->push_back(static_cast<int64_t>(value));
    } else if (place_ == Place::offsets) {
      ESP_CHECK(offsets_->size() < 2, where(),
                "data_offsets has more than two numbers, expected begin and end");
      offsets_->push_back(value);
    } else {
      found("a number");
    }
    return true;
  }

  bool string(std::string& value) override {
    if (place_ == Place::metadata) {
      header_.metadata[field_] = value;
    } else if (place_ == Place::entry && field_ == "dtype") {
      dtype_ = find_file_dtype(value);
      ESP_CHECK(dtype_, where(), "dtype ", shown(value),
                " is not supported, expected I64, F64, F32, I32, BF16, F16, I8 or U8");
    } else {
      found("a string");
    }
    return true;
  }

  bool null() override {
    if (place_ == Place::header && name_ == "__metadata__") return true;  // some writers' word for none
    found("null");
  }
  bool boolean(bool) override { found("true or false"); }
  bool number_integer(int64_t value) override { found(join("the negative number ", value)); }
  bool number_float(double, const std::string& text) override {
    found(join("the number ", text.substr(0, 40)));
  }
  bool binary(json::binary_t&) override { found("binary data"); }

  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception&) override {
    fail(file_, ": the header is not JSON: error at byte ", 8 + position - 1, " of the file");
  }

 private:
  enum class Place { outside, header, metadata, entry, shape, offsets };
  static constexpr const char* fields = "dtype, shape and data_offsets";

  std::string where() const {
    return place_ == Place::outside  ? file_ + ": the header: "
           : name_ == "__metadata__" ? file_ + ": __metadata__: "
                                     : join(file_, ": tensor ", shown(name_), ": ");
  }

  /// Refuses what stands where something else belongs.
  [[noreturn]] void found(const std::string& what) const {
    switch (place_) {
      case Place::outside:
        fail(where(), "is ", what, ", expected an object");
      case Place::header:
        fail(where(), "is ", what, ", expected an object");
      case Place::metadata:
        fail(where(), shown(field_), " is ", what, ", expected a string");
      case Place::entry:
        fail(where(), field_, " is ", what, ", expected ",
             field_ == "dtype" ? "a string" : "an array of whole numbers");
      case Place::shape:
        fail(where(), "shape holds ", what, ", expected whole numbers from 0");
      case Place::offsets:
        fail(where(), "data_offsets holds ", what, ", expected whole numbers from 0");
    }
    __builtin_unreachable();
  }

  const std::string& file_;
  Place place_ = Place::outside;
  std::string name_, field_;  ///< the keys that led here: in the header, and in the object below it
  std::unordered_set<std::string> names_;
  std::optional<FileDType> dtype_;
  std::optional<std::vector<int64_t>> shape_;
  std::optional<std::vector<uint64_t>> offsets_;
  SafetensorsHeader header_;
};

/// Bytes of the tensor; nothing if they, or the product of its axes without the empty ones, overflow.
std::optional<uint64_t> bytes_needed(const HeaderEntry& entry) {
  int64_t bytes = 8;  // the widest dtype there is, so that the numbers fit when they become wider in memory
  for (const int64_t size : entry.shape.sizes()) {
    if (size > 0 && __builtin_mul_overflow(bytes, size, &bytes)) return std::nullopt;
  }
  return static_cast<uint64_t>(entry.shape.elements()) * file_dtype_bytes(entry.dtype);
}

void check_entry(const HeaderEntry& entry, uint64_t data_bytes, const std::string& file) {
  const std::string where = join(file, ": tensor ", shown(entry.name), ": ");
  const std::string offsets = join("data_offsets [", entry.begin, ", ", entry.end, "]");
  ESP_CHECK(entry.begin <= entry.end, where, offsets, " end before they begin");
  const std::optional<uint64_t> needed = bytes_needed(entry);
  ESP_CHECK(needed, where, "shape ", entry.shape, " is too large");
  ESP_CHECK(entry.end - entry.begin == *needed, where, offsets, " hold ", entry.end - entry.begin, " bytes, ",
            describe(entry.dtype, entry.shape), " needs ", *needed);
  ESP_CHECK(entry.end <= data_bytes, where, offsets, " reach beyond the file, which has ", data_bytes,
            " bytes of data: is it cut off?");
}

}  // namespace

const char* dtype_name_in_files(FileDType dtype) { return row(dtype).name; }

size_t file_dtype_bytes(FileDType dtype) { return row(dtype).bytes; }

FileDType file_dtype(DType dtype) {
  switch (dtype) {
    case DType::i64:
      return FileDType::i64;
    case DType::f32:
      return FileDType::f32;
    case DType::i32:
      return FileDType::i32;
    case DType::bf16:
      return FileDType::bf16;
    case DType::i8:
      return FileDType::i8;
    case DType::u8:
      return FileDType::u8;
  }
  fail("safetensors: no dtype for ", dtype_name(dtype));
}

std::string describe(FileDType dtype, const Shape& shape) { return join(row(dtype).name, shape); }

SafetensorsHeader parse_header(std::string_view text, uint64_t data_bytes, const std::string& file) {
  // The parser would take a zero byte for the end of the text.
  const size_t zero = text.find('\0');
  ESP_CHECK(zero == text.npos, file, ": the header is not JSON: error at byte ", 8 + zero, " of the file");
  HeaderParser parser(file);
  json::sax_parse(text.begin(), text.end(), &parser);
  SafetensorsHeader header = parser.take();

  std::stable_sort(header.entries.begin(), header.entries.end(),
                   [](const HeaderEntry& a, const HeaderEntry& b) {
                     return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
                   });
  uint64_t end = 0;
  for (const HeaderEntry& entry : header.entries) {
    check_entry(entry, data_bytes, file);
    ESP_CHECK(entry.begin == end, file, ": tensor ", shown(entry.name), ": begins at byte ", entry.begin,
              " of the data, where ", entry.begin < end ? "another tensor lies" : "a gap was left",
              "; expected ", end);
    end = entry.end;
  }
  ESP_CHECK(end == data_bytes, file, ": has ", data_bytes - end, " bytes after the last tensor");
  return header;
}

std::string format_header(const SafetensorsHeader& header, const std::string& file) {
  nlohmann::ordered_json fields = nlohmann::ordered_json::object();
  if (!header.metadata.empty()) fields["__metadata__"] = header.metadata;
  for (const HeaderEntry& entry : header.entries) {
    fields[entry.name] = {{"dtype", row(entry.dtype).name},
                          {"shape", entry.shape.sizes()},
                          {"data_offsets", {entry.begin, entry.end}}};
  }
  try {
    std::string text = fields.dump();
    text.resize((text.size() + 7) / 8 * 8, ' ');
    return text;
  } catch (const nlohmann::detail::type_error&) {
    fail(file, ": cannot write: a tensor's name or a metadata string is not UTF-8");
  }
}

std::string shown(std::string_view name) {
  constexpr size_t max_bytes = 100;
  return "'" + printable(name, max_bytes) + "'";
}

}  // namespace espalier
