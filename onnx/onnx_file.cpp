#include "espalier/onnx/onnx_file.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <cstring>
#include <limits>
#include <optional>

#include "espalier/formats/half.h"
#include "espalier/util/input_file.h"
#include "espalier/util/utf8.h"

namespace espalier {
namespace {

using onnx::TensorProto;

constexpr uint64_t max_file_bytes = std::numeric_limits<int32_t>::max();

/// Bytes of one number in raw data; 0: of a type that is not known.
size_t bytes_of(int type) {
  switch (type) {
    case TensorProto::DOUBLE:
    case TensorProto::INT64:
      return 8;
    case TensorProto::FLOAT:
    case TensorProto::INT32:
      return 4;
    case TensorProto::FLOAT16:
    case TensorProto::BFLOAT16:
    case TensorProto::INT16:
    case TensorProto::UINT16:
      return 2;
    case TensorProto::INT8:
    case TensorProto::UINT8:
    case TensorProto::BOOL:
      return 1;
    default:
      return 0;
  }
}

int64_t elements_of(const TensorProto& tensor) {
  int64_t elements = 1;
  for (const int64_t size : tensor.dims())
    ESP_CHECK(size >= 0 && !__builtin_mul_overflow(elements, size, &elements), "has an axis of ", size,
              ", which cannot be");
  return elements;
}

template <class T>
T number_at(const char* bytes, int64_t i) {
  T number;
  std::memcpy(&number, bytes + i * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return number;
}

float real_at(const char* bytes, int type, int64_t i) {
  switch (type) {
    case TensorProto::DOUBLE:
      return static_cast<float>(number_at<double>(bytes, i));
    case TensorProto::FLOAT16:
      return from_f16(number_at<uint16_t>(bytes, i));
    case TensorProto::BFLOAT16:
      return from_bf16(number_at<uint16_t>(bytes, i));
    default:
      return number_at<float>(bytes, i);
  }
}

int64_t whole_at(const char* bytes, int type, int64_t i) {
  switch (type) {
    case TensorProto::INT64:
      return number_at<int64_t>(bytes, i);
    case TensorProto::INT32:
      return number_at<int32_t>(bytes, i);
    case TensorProto::INT16:
      return number_at<int16_t>(bytes, i);
    case TensorProto::UINT16:
      return number_at<uint16_t>(bytes, i);
    case TensorProto::INT8:
      return number_at<int8_t>(bytes, i);
    default:
      return number_at<uint8_t>(bytes, i);
  }
}

/// The numbers as little-endian bytes.
OnnxConstant from_bytes(OnnxConstant constant, const char* bytes, int type, int64_t elements) {
  if (is_real_type(type)) {
    constant.numbers.resize(static_cast<size_t>(elements));
    for (int64_t i = 0; i < elements; ++i) constant.numbers[static_cast<size_t>(i)] = real_at(bytes, type, i);
  } else {
    constant.integers.resize(static_cast<size_t>(elements));
    for (int64_t i = 0; i < elements; ++i)
      constant.integers[static_cast<size_t>(i)] = whole_at(bytes, type, i);
  }
  return constant;
}

/// How many numbers there are in protobuf's list for this type.
int64_t listed(const TensorProto& tensor) {
  switch (tensor.data_type()) {
    case TensorProto::FLOAT:
      return tensor.float_data_size();
    case TensorProto::DOUBLE:
      return tensor.double_data_size();
    case TensorProto::INT64:
      return tensor.int64_data_size();
    default:
      return tensor.int32_data_size();
  }
}

/// The numbers in protobuf's lists.
OnnxConstant from_lists(OnnxConstant constant, const TensorProto& tensor, int64_t elements) {
  ESP_CHECK(listed(tensor) == elements, "holds ", listed(tensor), " numbers, expected ", elements);
  const int type = tensor.data_type();
  if (is_real_type(type)) {
    constant.numbers.resize(static_cast<size_t>(elements));
    for (int i = 0; i < elements; ++i)
      constant.numbers[static_cast<size_t>(i)] =
          type == TensorProto::FLOAT     ? tensor.float_data(i)
          : type == TensorProto::DOUBLE  ? static_cast<float>(tensor.double_data(i))
          : type == TensorProto::FLOAT16 ? from_f16(static_cast<uint16_t>(tensor.int32_data(i)))
                                         : from_bf16(static_cast<uint16_t>(tensor.int32_data(i)));
  } else if (type == TensorProto::INT64) {
    constant.integers.assign(tensor.int64_data().begin(), tensor.int64_data().end());
  } else {
    constant.integers.assign(tensor.int32_data().begin(), tensor.int32_data().end());
  }
  return constant;
}

struct External {
  std::string location;
  uint64_t offset = 0;
  std::optional<uint64_t> length = {};
};

uint64_t count_in(const std::string& text, const std::string& key) {
  size_t end = 0;
  uint64_t number = 0;
  try {
    number = std::stoull(text, &end);
  } catch (const std::exception&) {
    end = 0;
  }
  ESP_CHECK(end > 0 && end == text.size() && text[0] != '-', "external data: ", key, " is '", printable(text),
            "', expected a count of bytes");
  return number;
}

External external_of(const TensorProto& tensor) {
  External external;
  for (const auto& entry : tensor.external_data()) {
    if (entry.key() == "location") external.location = entry.value();
    if (entry.key() == "offset") external.offset = count_in(entry.value(), "offset");
    if (entry.key() == "length") external.length = count_in(entry.value(), "length");
  }
  return external;
}

/// Bytes that lie in another file of the folder; one outside of it is none of this network's.
std::string external_bytes(const TensorProto& tensor, const std::filesystem::path& folder, uint64_t wanted) {
  const External external = external_of(tensor);
  const std::filesystem::path location(external.location);
  const auto climbs = [&] {
    for (const auto& part : location)
      if (part == "..") return true;
    return false;
  };
  ESP_CHECK(!location.empty() && location.is_relative() && !climbs() &&
                external.location.find('\0') == std::string::npos,
            "external data: location '", printable(external.location), "' is not in the file's own folder");
  const std::filesystem::path path = folder / location, real = std::filesystem::weakly_canonical(path),
                              home = std::filesystem::weakly_canonical(folder.empty() ? "." : folder);
  const auto [at, rest] = std::mismatch(home.begin(), home.end(), real.begin(), real.end());
  ESP_CHECK(at == home.end(), "external data: '", printable(external.location),
            "' is a link to somewhere out of the file's own folder");
  ESP_CHECK(std::filesystem::exists(path), "external data: ", printable(path.string()), ": no such file");
  const InputFile file(path);
  ESP_CHECK(external.length.value_or(wanted) == wanted, "external data: ", external.length.value_or(0),
            " bytes long, expected ", wanted);
  ESP_CHECK(external.offset <= file.size() && wanted <= file.size() - external.offset,
            "external data: ", printable(path.string()), " has ", file.size(), " bytes, expected ", wanted,
            " from ", external.offset);
  std::string bytes(wanted, '\0');
  file.read(bytes.data(), wanted, external.offset);
  return bytes;
}

}  // namespace

bool is_real_type(int64_t type) {
  return type == TensorProto::DOUBLE || type == TensorProto::FLOAT || type == TensorProto::FLOAT16 ||
         type == TensorProto::BFLOAT16;
}

onnx::ModelProto read_onnx(const std::filesystem::path& path) {
  require_file(path);
  const std::string name = printable(path.string());
  const InputFile file(path);
  ESP_CHECK(file.size() <= max_file_bytes, name, ": has ", file.size(),
            " bytes; ONNX files have at most 2 GB, and what is larger has its numbers in files beside it");
  std::string bytes(file.size(), '\0');
  file.read(bytes.data(), bytes.size(), 0);
  onnx::ModelProto model;
  google::protobuf::io::ArrayInputStream stream(bytes.data(), static_cast<int>(bytes.size()));
  google::protobuf::io::CodedInputStream coded(&stream);
  coded.SetTotalBytesLimit(std::numeric_limits<int32_t>::max());
  ESP_CHECK(!bytes.empty() && model.ParseFromCodedStream(&coded) && coded.ConsumedEntireMessage(), name,
            ": is no ONNX file, or is cut short");
  ESP_CHECK(model.has_graph() && model.graph().node_size() > 0, name, ": is no ONNX file: it has no graph");
  return model;
}

OnnxConstant constant_of(const TensorProto& tensor, const std::filesystem::path& folder) {
  const int type = tensor.data_type();
  const size_t each = bytes_of(type);
  ESP_CHECK(each > 0, "holds ",
            onnx::TensorProto_DataType_IsValid(type)
                ? onnx::TensorProto_DataType_Name(static_cast<onnx::TensorProto_DataType>(type))
                : join("type ", type),
            ", expected FLOAT, DOUBLE, FLOAT16, BFLOAT16, INT8, INT16, INT32, INT64, UINT8, UINT16 or BOOL");
  const int64_t elements = elements_of(tensor);
  OnnxConstant constant{.dims = {tensor.dims().begin(), tensor.dims().end()}, .name = tensor.name()};
  uint64_t wanted = 0;
  ESP_CHECK(!__builtin_mul_overflow(static_cast<uint64_t>(elements), each, &wanted), "is too large");
  if (tensor.data_location() == TensorProto::EXTERNAL)
    return from_bytes(std::move(constant), external_bytes(tensor, folder, wanted).data(), type, elements);
  if (!tensor.has_raw_data()) return from_lists(std::move(constant), tensor, elements);
  ESP_CHECK(tensor.raw_data().size() == wanted, "holds ", tensor.raw_data().size(), " bytes, expected ",
            wanted);
  return from_bytes(std::move(constant), tensor.raw_data().data(), type, elements);
}

void write_onnx(const OutputPath& to, const onnx::ModelProto& model) {
  const std::string name = printable(to.path.string());
  const size_t size = model.ByteSizeLong();
  ESP_CHECK(size <= max_file_bytes, name, ": would have ", size, " bytes; ONNX files have at most 2 GB");
  std::string bytes;
  ESP_CHECK(model.SerializeToString(&bytes), name, ": cannot be written as protobuf");
  write_file(to, bytes);
}

}  // namespace espalier
