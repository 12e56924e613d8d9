// Round trips, the reference writer's bytes, and every way a file can be wrong.
#include "espalier/formats/safetensors.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

#include "espalier/formats/safetensors_header.h"
#include "espalier/util/atomic_file.h"
#include "support/bad_input.h"
#include "support/temporary_folder.h"

namespace espalier {
namespace {

namespace fs = std::filesystem;
using namespace std::string_literals;

TensorFile parse(const std::string& bytes) { return parse_safetensors(std::as_bytes(std::span(bytes)), "f"); }
std::string refusal(const std::string& bytes) {
  return message_of([&] { parse(bytes); });
}

/// A file with that header and data, its length told as it is.
std::string file_of(const std::string& header, const std::string& data = "") {
  const uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + data;
}

/// A file of one tensor "t" with that dtype, shape and data_offsets.
std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets,
                size_t data_bytes) {
  return file_of(
      R"({"t":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}",
      std::string(data_bytes, '\1'));
}

template <class T>
std::vector<T> values(const Tensor* tensor) {
  if (!tensor) return {};
  return {tensor->span<T>().begin(), tensor->span<T>().end()};
}

Tensor bf16(const std::vector<uint16_t>& bits) {
  Tensor tensor = Tensor::empty({static_cast<int64_t>(bits.size())}, DType::bf16);
  std::memcpy(tensor.raw(), bits.data(), tensor.bytes());
  return tensor;
}

TensorFile sample() {
  return {.tensors = {{"fc1.weight", Tensor::from<float>({2, 3}, {1.5f, -2, 0.25f, 3, 4, 5})},
                      {"fc1.bias", Tensor::from<float>({3}, {0.f, -0.f, INFINITY})},
                      {"mask", Tensor::from<uint8_t>({3}, {0, 1, 255})},
                      {"i8", Tensor::from<int8_t>({2}, {-128, 127})},
                      {"labels", Tensor::from<int32_t>({2, 1}, {5, -6})},
                      {"num_batches_tracked", Tensor::from<int64_t>({}, {int64_t{1} << 40})},
                      {"empty", Tensor::empty({0, 3})},
                      {"conv", Tensor::from<float>({1, 1, 2, 1, 1}, {8, 9})}},
          .metadata = {{"format", "pt"}, {"quote \" and line\n", "\u00e9 \\ "}}};
}

// --- writing and reading
// -------------------------------------------------------------------------------------------

TEST(Safetensors, RoundTripKeepsEverything) {
  const TemporaryFolder folder;
  const TensorFile written = sample();
  write_safetensors(folder / "f.safetensors", written);
  const TensorFile read = read_safetensors(folder / "f.safetensors");
  EXPECT_EQ(read.metadata, written.metadata);
  ASSERT_EQ(read.tensors.size(), written.tensors.size());
  for (const auto& [name, tensor] : written.tensors) {
    const Tensor* found = read.find(name);
    ASSERT_TRUE(found) << name;
    EXPECT_EQ(found->shape(), tensor.shape()) << name;
    ASSERT_EQ(found->dtype(), tensor.dtype()) << name;
    EXPECT_EQ(std::memcmp(found->raw(), tensor.raw(), tensor.bytes()), 0) << name;
  }
  EXPECT_EQ(read.find("fc1"), nullptr);
}

TEST(Safetensors, BytesDependOnTheContentAlone) {
  const TemporaryFolder folder;
  TensorFile file = sample();
  write_safetensors(folder / "a", file);
  std::reverse(file.tensors.begin(), file.tensors.end());
  write_safetensors(folder / "b", file);
  EXPECT_EQ(read_file(folder / "a"), read_file(folder / "b"));
  write_safetensors(folder / "c", read_safetensors(folder / "a"));
  EXPECT_EQ(read_file(folder / "a"), read_file(folder / "c"));
}

TEST(Safetensors, MetadataThatAreNullAreNone) {
  const TensorFile file =
      parse(file_of(R"({"__metadata__":null,"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", "x"));
  EXPECT_TRUE(file.metadata.empty());
  EXPECT_TRUE(file.find("t"));
}

TEST(Safetensors, EveryTensorIsAligned) {
  const TemporaryFolder folder;
  write_safetensors(folder / "f", sample());
  const std::string bytes = read_file(folder / "f");
  uint64_t length;
  std::memcpy(&length, bytes.data(), 8);
  EXPECT_EQ(length % 8, 0u);
  for (const HeaderEntry& entry :
       parse_header(bytes.substr(8, length), bytes.size() - 8 - length, "f").entries) {
    EXPECT_EQ(entry.begin % file_dtype_bytes(entry.dtype), 0u) << entry.name;
  }
}

TEST(Safetensors, NoTensorsAtAll) {
  const TemporaryFolder folder;
  write_safetensors(folder / "f", {});
  EXPECT_EQ(read_file(folder / "f"), file_of("{}      "));
  EXPECT_TRUE(read_safetensors(folder / "f").tensors.empty());
}

TEST(Safetensors, TensorsComeInTheOrderOfTheirData) {
  const TensorFile file = parse(file_of(R"({"late":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},)"
                                        R"("early":{"data_offsets":[0,1],"shape":[1],"dtype":"U8"}})",
                                        "\1\2"));
  ASSERT_EQ(file.tensors.size(), 2u);
  EXPECT_EQ(file.tensors[0].first, "early");
  EXPECT_EQ(values<uint8_t>(&file.tensors[0].second), std::vector<uint8_t>{1});
  EXPECT_EQ(values<uint8_t>(file.find("late")), std::vector<uint8_t>{2});
}

// --- checksums
// ----------------------------------------------------------------------------------------------------

TEST(Safetensors, ChecksumsOfAnyDigitsTakeAsManyBytes) {
  const TemporaryFolder folder;
  std::set<uintmax_t> sizes;
  for (int numbers = 0; numbers < 20; ++numbers) {
    TensorFile file;
    for (int i = 0; i < 24; ++i) {
      Tensor tensor = Tensor::full({3}, static_cast<float>(24 * numbers + i));
      file.tensors.emplace_back(join("weight", i), std::move(tensor));
    }
    write_safetensors(folder / "f", file, Checksums::kept);
    sizes.insert(std::filesystem::file_size(folder / "f"));
  }
  EXPECT_EQ(sizes.size(), 1u);
}

TEST(Safetensors, AnyByteThatTurnsIsFound) {
  const TemporaryFolder folder;
  write_safetensors(folder / "f", sample(), Checksums::kept);
  const std::string good = read_file(folder / "f");
  const TensorFile whole = parse(good);
  EXPECT_EQ(whole.metadata, sample().metadata) << "the checksums are not the caller's";
  size_t refused = 0;
  for (size_t at = 0; at < good.size(); ++at)
    for (const char turned : {'\x01', '\x08', '\x0f', '\x80'}) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ turned);
      try {
        const TensorFile read = parse(bad);
        // In the spaces that pad the header, or in the checksums' own key.
        for (size_t i = 0; i < whole.tensors.size(); ++i) {
          const auto& [name, tensor] = read.tensors[i];
          ASSERT_EQ(name, whole.tensors[i].first) << at;
          ASSERT_EQ(tensor.shape(), whole.tensors[i].second.shape()) << at;
          ASSERT_EQ(tensor.dtype(), whole.tensors[i].second.dtype()) << at;
          ASSERT_EQ(std::memcmp(tensor.raw(), whole.tensors[i].second.raw(), tensor.bytes()), 0) << at;
        }
        for (const auto& [key, value] : whole.metadata) ASSERT_EQ(read.metadata.at(key), value) << at;
      } catch (const Error&) {
        ++refused;
      }
    }
  EXPECT_GT(refused, 4 * good.size() - 4 * 40);
}

TEST(Safetensors, ADamagedTensorIsNamed) {
  const TemporaryFolder folder;
  write_safetensors(folder / "f", sample(), Checksums::kept);
  std::string bytes = read_file(folder / "f");
  bytes.back() ^= 1;  // of "mask", the last
  EXPECT_EQ(refusal(bytes),
            "f: tensor 'mask' does not have the checksum that is kept with it: the file is damaged, "
            "or what changed it left 'espalier.checksums' in its metadata");
  bytes = read_file(folder / "f");
  bytes[bytes.find("\"pt\"") + 1] = 'q';
  EXPECT_TRUE(contains(refusal(bytes), "f: its metadata does not have the checksum"));
}

TEST(Safetensors, ChecksumsAreOfWhatIsStored) {
  const TemporaryFolder folder;
  write_safetensors(folder / "f", {.tensors = {{"b", bf16({0x4040, 0x3f80})}}, .metadata = {}},
                    Checksums::kept);
  EXPECT_EQ(values<float>(read_safetensors(folder / "f").find("b")), (std::vector<float>{3, 1}));
}

// --- Hugging Face's writer
// -----------------------------------------------------------------------------------------

/// save({...}, {"format": "pt"}) of safetensors 0.8.0: a tensor of each dtype that we read.
const char* const reference =
    "28020000000000007b225f5f6d657461646174615f5f223a7b22666f726d6174223a227074227d2c226e223a7b226474"
    "797065223a22493634222c227368617065223a5b5d2c22646174615f6f666673657473223a5b302c385d7d2c2264223a"
    "7b226474797065223a22463634222c227368617065223a5b315d2c22646174615f6f666673657473223a5b382c31365d"
    "7d2c22656d7074792fc3a95c22223a7b226474797065223a22463332222c227368617065223a5b302c335d2c22646174"
    "615f6f666673657473223a5b31362c31365d7d2c226663312e776569676874223a7b226474797065223a22463332222c"
    "227368617065223a5b322c335d2c22646174615f6f666673657473223a5b31362c34305d7d2c2269223a7b2264747970"
    "65223a22493332222c227368617065223a5b325d2c22646174615f6f666673657473223a5b34302c34385d7d2c226222"
    "3a7b226474797065223a2242463136222c227368617065223a5b325d2c22646174615f6f666673657473223a5b34382c"
    "35325d7d2c2268223a7b226474797065223a22463136222c227368617065223a5b345d2c22646174615f6f6666736574"
    "73223a5b35322c36305d7d2c226938223a7b226474797065223a224938222c227368617065223a5b325d2c2264617461"
    "5f6f666673657473223a5b36302c36325d7d2c2275223a7b226474797065223a225538222c227368617065223a5b335d"
    "2c22646174615f6f666673657473223a5b36322c36355d7d7d2020202020202007000000000000009a9999999999b93f"
    "0000c03f000000c00000803e00004040000080400000a04005000000faffffff40404af1003c00b8ff7b0100ff020102"
    "ff";

/// save({"w": F32 [2], "b": BF16 [1], "m": U8 [1], "n": I64 [], "l": I32 [1], "i": I8 [1]}): only dtypes that
/// we write.
const char* const reference_of_ours =
    "48010000000000007b226e223a7b226474797065223a22493634222c227368617065223a5b5d2c22646174615f6f6666"
    "73657473223a5b302c385d7d2c2277223a7b226474797065223a22463332222c227368617065223a5b325d2c22646174"
    "615f6f666673657473223a5b382c31365d7d2c226c223a7b226474797065223a22493332222c227368617065223a5b31"
    "5d2c22646174615f6f666673657473223a5b31362c32305d7d2c2262223a7b226474797065223a2242463136222c2273"
    "68617065223a5b315d2c22646174615f6f666673657473223a5b32302c32325d7d2c2269223a7b226474797065223a22"
    "4938222c227368617065223a5b315d2c22646174615f6f666673657473223a5b32322c32335d7d2c226d223a7b226474"
    "797065223a225538222c227368617065223a5b315d2c22646174615f6f666673657473223a5b32332c32345d7d7d2020"
    "05000000000000000000803f000000400600000040400704";

std::string from_hex(std::string_view hex) {
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2)
    bytes += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
  return bytes;
}

TEST(Safetensors, ReadsTheReferenceWritersFile) {
  const TensorFile file = parse(from_hex(reference));
  EXPECT_EQ(file.metadata, (std::map<std::string, std::string>{{"format", "pt"}}));
  EXPECT_EQ(file.tensors.size(), 9u);
  EXPECT_EQ(values<int64_t>(file.find("n")), std::vector<int64_t>{7});
  EXPECT_EQ(file.find("n")->shape(), Shape{});
  EXPECT_EQ(values<float>(file.find("d")), std::vector<float>{0.1f});
  EXPECT_EQ(file.find("empty/\u00e9\"")->shape(), Shape({0, 3}));
  EXPECT_EQ(values<float>(file.find("fc1.weight")), (std::vector<float>{1.5f, -2, 0.25f, 3, 4, 5}));
  EXPECT_EQ(file.find("fc1.weight")->shape(), Shape({2, 3}));
  EXPECT_EQ(values<int32_t>(file.find("i")), (std::vector<int32_t>{5, -6}));
  EXPECT_EQ(values<float>(file.find("b")), (std::vector<float>{3, std::bit_cast<float>(0xF14A0000u)}));
  EXPECT_EQ(values<float>(file.find("h")), (std::vector<float>{1, -0.5f, 65504, 0x1p-24f}));
  EXPECT_EQ(values<int8_t>(file.find("i8")), (std::vector<int8_t>{-1, 2}));
  EXPECT_EQ(values<uint8_t>(file.find("u")), (std::vector<uint8_t>{1, 2, 255}));
}

TEST(Safetensors, WritesTheReferenceWritersBytes) {
  const TemporaryFolder folder;
  write_safetensors(folder / "f", {.tensors = {{"w", Tensor::from<float>({2}, {1, 2})},
                                               {"b", bf16({0x4040})},
                                               {"m", Tensor::from<uint8_t>({1}, {4})},
                                               {"n", Tensor::from<int64_t>({}, {5})},
                                               {"l", Tensor::from<int32_t>({1}, {6})},
                                               {"i", Tensor::from<int8_t>({1}, {7})}},
                                   .metadata = {}});
  EXPECT_EQ(read_file(folder / "f"), from_hex(reference_of_ours));
}

// --- conversion to f32
// ---------------------------------------------------------------------------------------------

TEST(Safetensors, EveryHalfPrecisionNumberIsExact) {
  std::string data(2 * 65536, '\0');
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    data[2 * bits] = static_cast<char>(bits);
    data[2 * bits + 1] = static_cast<char>(bits >> 8);
  }
  const std::string fields = R"(","shape":[65536],"data_offsets":[0,131072]}})";
  const TensorFile f16 = parse(file_of(R"({"t":{"dtype":"F16)" + fields, data));
  const TensorFile bf16 = parse(file_of(R"({"t":{"dtype":"BF16)" + fields, data));
  const auto expected = [](uint32_t bits, int mantissa_bits, int bias) {
    const int mantissa = static_cast<int>(bits & ((1u << mantissa_bits) - 1));
    const int exponent = static_cast<int>((bits & 0x7FFFu) >> mantissa_bits), largest = 2 * bias + 1;
    const double hidden = exponent > 0 ? 1 << mantissa_bits : 0;
    const double magnitude =
        exponent == largest ? (mantissa ? NAN : INFINITY)
                            : std::ldexp(mantissa + hidden, std::max(exponent, 1) - bias - mantissa_bits);
    return static_cast<float>(bits & 0x8000u ? -magnitude : magnitude);
  };
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const float half = f16.tensors[0].second.f32()[bits], brain = bf16.tensors[0].second.f32()[bits];
    const float want_half = expected(bits, 10, 15), want_brain = expected(bits, 7, 127);
    ASSERT_TRUE(half == want_half || (std::isnan(half) && std::isnan(want_half))) << bits;
    ASSERT_TRUE(brain == want_brain || (std::isnan(brain) && std::isnan(want_brain))) << bits;
    ASSERT_EQ(std::signbit(half), bits >= 0x8000u) << bits;
    ASSERT_EQ(std::signbit(brain), bits >= 0x8000u) << bits;
  }
}

TEST(SafetensorsHeaderAlone, IsReadOfAFileThatMemoryWouldNotHold) {
  const TemporaryFolder folder;
  const std::string head =
      file_of(R"({"__metadata__":{"who":"me"},"big":{"dtype":"F32","shape":[16384,1048576],)"
              R"("data_offsets":[0,68719476736]}})");
  write_file(folder / "f", head);
  fs::resize_file(folder / "f", head.size() + (uint64_t{1} << 36));  // sparse: it takes no disk
  const TensorFile read = read_safetensors_header(folder / "f");
  EXPECT_EQ(read.metadata, (std::map<std::string, std::string>{{"who", "me"}}));
  ASSERT_TRUE(read.find("big"));
  EXPECT_EQ(read.find("big")->shape(), (Shape{16384, 1048576}));
  EXPECT_EQ(read.find("big")->device(), Device::meta);
  EXPECT_FALSE(MetaDevice::active());
}

TEST(SafetensorsHeaderAlone, IsHeldToTheSizeOfTheFileAndNotToItsTensors) {
  const TemporaryFolder folder;
  write_safetensors(folder / "f", sample(), Checksums::kept);
  const auto size = fs::file_size(folder / "f");
  {
    std::fstream file(folder / "f", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(size) - 1);
    file.put('\7');
  }
  EXPECT_TRUE(contains(message_of([&] { read_safetensors(folder / "f"); }), "the file is damaged"));
  EXPECT_EQ(read_safetensors_header(folder / "f").metadata, sample().metadata);
  fs::resize_file(folder / "f", size - 1);
  EXPECT_TRUE(contains(message_of([&] { read_safetensors_header(folder / "f"); }), "is it cut off?"));
}

// --- files that are not what they should be
// ------------------------------------------------------------------------

TEST(SafetensorsBadInput, CutOffAnywhereIsRefused) {
  const TemporaryFolder folder;
  const std::string whole = from_hex(reference);
  for (size_t length = 0; length < whole.size(); ++length) {
    const std::string message = refusal(whole.substr(0, length));
    ASSERT_TRUE(message.starts_with("f: ")) << length;
    ASSERT_TRUE(length == 0 || contains(message, "cut off")) << length;
  }
  write_file(folder / "short", whole.substr(0, whole.size() - 1));
  EXPECT_EQ(message_of([&] { read_safetensors(folder / "short"); }),
            (folder / "short").string() +
                ": tensor 'u': data_offsets [62, 65] reach beyond the file, which has 64 bytes of data: is "
                "it cut off?");
}

TEST(SafetensorsBadInput, MissingFileAndFolder) {
  const TemporaryFolder folder;
  EXPECT_TRUE(
      contains(message_of([&] { read_safetensors(folder / "none"); }), "none: cannot open: No such file"));
  EXPECT_TRUE(contains(message_of([&] { read_safetensors(folder.path()); }), "is a folder"));
}

TEST(SafetensorsBadInput, HeaderLengthLies) {
  std::string bytes = file_of("{}");
  const auto with_length = [&](uint64_t length) {
    std::memcpy(bytes.data(), &length, 8);
    return refusal(bytes);
  };
  EXPECT_TRUE(contains(with_length(0), "give a header of 0 bytes, expected 2 to 100000000"));
  EXPECT_TRUE(contains(with_length(1), "give a header of 1 bytes"));
  EXPECT_EQ(with_length(3), "f: is cut off: it has 10 bytes, its header alone needs 11");
  EXPECT_TRUE(contains(with_length(100'000'000), "its header alone needs 100000008"));
  EXPECT_TRUE(contains(with_length(100'000'001), "give a header of 100000001 bytes"));
  EXPECT_TRUE(contains(with_length(UINT64_MAX), "give a header of 18446744073709551615 bytes"));
}

TEST(SafetensorsBadInput, ForeignFilesAreRecognised) {
  const std::string rest(100, '\0');
  EXPECT_EQ(refusal(""), "f: is empty, a safetensors file is expected");
  EXPECT_EQ(refusal("PK\x03\x04"s + rest),
            "f: is not a safetensors file, it looks like a PyTorch file (a zip archive): scripts/from-torch "
            "turns it into "
            "safetensors");
  EXPECT_TRUE(contains(refusal("\x80\x02\x8a\nl\xfc\x9c"s + rest), "a pickle"));
  EXPECT_TRUE(contains(refusal("\x80\x04\x95"s + rest), "scripts/from-torch"));
  EXPECT_TRUE(contains(refusal("\x89HDF\r\n\x1a\n"s + rest), "looks like an HDF5 file"));
  EXPECT_TRUE(contains(refusal("GGUF\3"s + rest), "looks like a GGUF file"));
  EXPECT_TRUE(contains(refusal("\x93NUMPY"s + rest), "looks like a NumPy array"));
  EXPECT_TRUE(
      contains(refusal("version https://git-lfs.github.com/spec/v1\n"), "looks like a Git LFS pointer"));
  EXPECT_TRUE(contains(refusal(R"({"name": "mnist_mlp"})"),
                       R"(is not a safetensors file: it begins with the text '{"name": "mnist_')"));
  EXPECT_TRUE(contains(refusal("run,accuracy\nruns/a,97.5\n"), "begins with the text 'run,accuracy'"));
  EXPECT_TRUE(contains(refusal("\x89PNG\r\n\x1a\n"s + rest), "looks like an image (PNG)"));
  EXPECT_TRUE(contains(refusal("tiny"), "is not a safetensors file, or cut off: it has 4 bytes"));
  EXPECT_EQ(refusal("\n\n  run,accuracy\n"),
            "f: is not a safetensors file: it begins with the text 'run,accuracy'");
  EXPECT_EQ(refusal("\r\nrun\r\nrest of it"), "f: is not a safetensors file: it begins with the text 'run'");
  EXPECT_TRUE(contains(refusal(std::string(16, '\n')), "it begins with the bytes 0a 0a 0a 0a 0a 0a 0a 0a"));
  EXPECT_EQ(refusal(file_of("[]")), "f: is not a safetensors file: its header does not begin with {");
}

TEST(SafetensorsBadInput, AHeaderWhoseLengthLooksLikeAPickleIsNone) {
  EXPECT_TRUE(parse(file_of("{}" + std::string(0x280 - 2, ' '))).tensors.empty());
}

TEST(SafetensorsBadInput, HeaderIsNotJson) {
  EXPECT_EQ(refusal(file_of("{ nonsense }")), "f: the header is not JSON: error at byte 11 of the file");
  EXPECT_TRUE(contains(refusal(file_of("{} {}")), "not JSON: error at byte 11"));
  EXPECT_TRUE(contains(refusal(file_of("{}\0\0"s)), "not JSON: error at byte 10"));
  EXPECT_TRUE(contains(refusal(file_of(R"({"t":{"dtype":"F32")")), "not JSON"));
  EXPECT_TRUE(contains(refusal(file_of("{\"\xff\":{}}")), "not JSON"));
  EXPECT_TRUE(contains(refusal(file_of("{\"\xed\xa0\x80\":{}}")), "not JSON"));
  EXPECT_TRUE(contains(refusal(file_of("{\"line\nbreak\":{}}")), "not JSON"));
  EXPECT_TRUE(contains(refusal(file_of(R"({"t":{"shape":[1e999]}})")), "not JSON"));
}

TEST(SafetensorsBadInput, DepthIsRefusedAtOnce) {
  const std::string deep(1'000'000, '[');
  EXPECT_EQ(refusal(file_of(R"({"t":)" + deep)), "f: tensor 't': is an array, expected an object");
  EXPECT_TRUE(contains(refusal(file_of(R"({"t":{"shape":)" + deep)), "shape holds an array"));
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += R"({"t":)";
  EXPECT_TRUE(contains(refusal(file_of(objects)), "has a field 't', expected dtype, shape and data_offsets"));
}

TEST(SafetensorsBadInput, MissingMistypedAndUnknownFields) {
  const auto entry = [](const std::string& fields) {
    return refusal(file_of(R"({"t":{)" + fields + "}}", "\1"));
  };
  EXPECT_TRUE(contains(entry(""), "tensor 't': has no dtype, expected dtype, shape and data_offsets"));
  EXPECT_TRUE(contains(entry(R"("dtype":"U8","data_offsets":[0,1])"), "has no shape"));
  EXPECT_TRUE(contains(entry(R"("dtype":"U8","shape":[1])"), "has no data_offsets"));
  EXPECT_TRUE(contains(entry(R"("dtype":1)"), "dtype is a number, expected a string"));
  EXPECT_TRUE(contains(entry(R"("dtype":null)"), "dtype is null, expected a string"));
  EXPECT_TRUE(contains(entry(R"("dtype":{})"), "dtype is an object"));
  EXPECT_TRUE(contains(entry(R"("shape":"1")"), "shape is a string, expected an array of whole numbers"));
  EXPECT_TRUE(contains(entry(R"("shape":["1"])"), "shape holds a string, expected whole numbers from 0"));
  EXPECT_TRUE(contains(entry(R"("shape":[1.5])"), "shape holds the number 1.5"));
  EXPECT_TRUE(contains(entry(R"("shape":[true])"), "shape holds true or false"));
  EXPECT_TRUE(contains(entry(R"("shape":[{}])"), "shape holds an object"));
  EXPECT_TRUE(contains(entry(R"("data_offsets":5)"), "data_offsets is a number"));
  EXPECT_TRUE(contains(entry(R"("data_offsets":[-1,0])"), "data_offsets holds the negative number -1"));
  EXPECT_TRUE(contains(entry(R"("data_offsets":[0,1,2])"), "data_offsets has more than two numbers"));
  EXPECT_TRUE(
      contains(entry(R"("dtype":"U8","shape":[1],"data_offsets":[0])"), "data_offsets has 1 numbers"));
  EXPECT_TRUE(
      contains(entry(R"("dtypes":"U8")"), "has a field 'dtypes', expected dtype, shape and data_offsets"));
  EXPECT_TRUE(contains(refusal(file_of(R"({"t":5})")), "tensor 't': is a number, expected an object"));
  EXPECT_TRUE(contains(refusal(file_of(R"({"__metadata__":{"epoch":3}})")),
                       "__metadata__: 'epoch' is a number, expected a string"));
  EXPECT_TRUE(
      contains(refusal(file_of(R"({"__metadata__":"x"})")), "__metadata__: is a string, expected an object"));
  EXPECT_TRUE(contains(refusal(file_of(R"({"t":null})")), "tensor 't': is null, expected an object"));
}

TEST(SafetensorsBadInput, RepeatedNames) {
  const std::string empty = R"({"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  EXPECT_EQ(refusal(file_of(R"({"t":)" + empty + R"(,"t":)" + empty + "}")), "f: the header has 't' twice");
  EXPECT_TRUE(
      contains(refusal(file_of(R"({"__metadata__":{},"__metadata__":{}})")), "has '__metadata__' twice"));
  EXPECT_TRUE(
      contains(refusal(file_of(R"({"__metadata__":{"a":"1","a":"2"}})")), "__metadata__: has 'a' twice"));
  EXPECT_TRUE(
      contains(refusal(file_of(R"({"t":{"dtype":"U8","dtype":"U8"}})")), "tensor 't': has 'dtype' twice"));
}

TEST(SafetensorsBadInput, DtypeAndAxes) {
  EXPECT_EQ(refusal(one("F8_E4M3", "[1]", "[0,1]", 1)),
            "f: tensor 't': dtype 'F8_E4M3' is not supported, expected I64, F64, F32, I32, BF16, F16, I8 "
            "or U8");
  EXPECT_TRUE(contains(refusal(one("f32", "[1]", "[0,4]", 4)), "dtype 'f32' is not supported"));
  EXPECT_EQ(refusal(one("U8", "[1,1,1,1,1,1]", "[0,1]", 1)), "f: tensor 't': shape has more than 5 axes");
}

TEST(SafetensorsBadInput, ShapesThatCannotBe) {
  EXPECT_TRUE(contains(refusal(one("U8", "[-1]", "[0,1]", 1)), "shape holds the negative number -1"));
  EXPECT_TRUE(contains(refusal(one("U8", "[9223372036854775808]", "[0,0]", 0)),
                       "shape has an axis of size 9223372036854775808"));
  EXPECT_TRUE(contains(refusal(one("U8", "[18446744073709551616]", "[0,0]", 0)),
                       "shape holds the number 18446744073709551616"));
  // 2^62 x 4 bytes wrap round to 0, as do 2^32 x 2^32 elements.
  EXPECT_TRUE(contains(refusal(one("F32", "[4611686018427387904]", "[0,0]", 0)),
                       "[4611686018427387904] is too large"));
  EXPECT_TRUE(contains(refusal(one("U8", "[4294967296,4294967296]", "[0,0]", 0)), "is too large"));
  // No element, but the other axes would overflow wherever they are multiplied.
  EXPECT_TRUE(contains(refusal(one("U8", "[4294967296,4294967296,0]", "[0,0]", 0)), "is too large"));
  EXPECT_TRUE(contains(refusal(one("U8", "[0,4294967296,4294967296]", "[0,0]", 0)), "is too large"));
}

TEST(SafetensorsBadInput, OffsetsThatDoNotFit) {
  EXPECT_EQ(refusal(one("F32", "[3,4]", "[0,40]", 40)),
            "f: tensor 't': data_offsets [0, 40] hold 40 bytes, F32[3, 4] needs 48");
  EXPECT_TRUE(contains(refusal(one("U8", "[]", "[0,0]", 0)), "hold 0 bytes, U8[] needs 1"));
  EXPECT_TRUE(contains(refusal(one("U8", "[1]", "[1,0]", 1)), "data_offsets [1, 0] end before they begin"));
  EXPECT_TRUE(contains(refusal(one("U8", "[1]", "[18446744073709551615,0]", 1)), "end before they begin"));
  EXPECT_TRUE(
      contains(refusal(one("U8", "[2]", "[0,2]", 1)), "reach beyond the file, which has 1 bytes of data"));
  EXPECT_TRUE(contains(refusal(one("U8", "[1]", "[18446744073709551614,18446744073709551615]", 1)),
                       "reach beyond the file"));
  EXPECT_EQ(refusal(one("U8", "[1]", "[1,2]", 2)),
            "f: tensor 't': begins at byte 1 of the data, where a gap was left; expected 0");
  EXPECT_EQ(refusal(one("U8", "[1]", "[0,1]", 3)), "f: has 2 bytes after the last tensor");
  EXPECT_EQ(refusal(file_of("{}", "\1")), "f: has 1 bytes after the last tensor");
  EXPECT_EQ(refusal(file_of(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                            R"("b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
                            "\1\2\3")),
            "f: tensor 'b': begins at byte 1 of the data, where another tensor lies; expected 2");
}

TEST(SafetensorsBadInput, NamesAreShownOnOneShortLine) {
  const std::string message =
      refusal(file_of(R"({"a\n\u001b[31m)" + std::string(1'000'000, 'x') + R"(":1})"));
  EXPECT_TRUE(contains(message, R"(tensor 'a\n\x1b[31mxxx)"));
  EXPECT_LT(message.size(), 300u);
}

// --- writing that fails
// --------------------------------------------------------------------------------------------

TEST(SafetensorsWrite, WhatCannotBeWrittenIsRefusedBeforeTheDiskIsTouched) {
  const TemporaryFolder folder;
  write_file(folder / "f", "old");
  const auto message = [&](TensorFile file) {
    return message_of([&] { write_safetensors(folder / "f", file); });
  };
  const Tensor t = Tensor::from<float>({1}, {1});
  EXPECT_TRUE(contains(message({{{"a", t}, {"a", t}}, {}}), "f: cannot write: tensor 'a' occurs twice"));
  EXPECT_TRUE(
      contains(message({{{"a", t}, {"a", Tensor::from<uint8_t>({1}, {1})}}, {}}), "tensor 'a' occurs twice"));
  EXPECT_TRUE(contains(message({{{"a", Tensor()}}, {}}), "tensor 'a' is undefined"));
  EXPECT_TRUE(contains(message({{{"__metadata__", t}}, {}}), "has the name of the metadata"));
  EXPECT_TRUE(contains(message({{{"\xff", t}}, {}}), "is not UTF-8"));
  EXPECT_TRUE(contains(message({{}, {{"key", "\xff"}}}), "is not UTF-8"));
  EXPECT_EQ(read_file(folder / "f"), "old");
  EXPECT_EQ(folder.files(), 1u);
}

TEST(SafetensorsWrite, AtAFileSizeLimitTheOldFileStays) {
  const TemporaryFolder folder;
  write_safetensors(folder / "f", sample());
  const std::string before = read_file(folder / "f");
  std::string message;
  {
    const FileSizeLimit limit(4096);
    message = message_of([&] { write_safetensors(folder / "f", {{{"w", Tensor::empty({2000})}}, {}}); });
  }
  EXPECT_EQ(message, (folder / "f").string() + ": cannot write: File too large");
  EXPECT_EQ(read_file(folder / "f"), before);
  EXPECT_EQ(folder.files(), 1u);
}

}  // namespace
}  // namespace espalier
