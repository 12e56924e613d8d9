// Round trips, the layout by hand, and every way in which a packed file can be wrong.
#include "espalier/formats/packed.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "espalier/core/random.h"
#include "espalier/formats/half.h"
#include "espalier/formats/stored_tensor.h"
#include "espalier/formats/zstd.h"
#include "support/bad_input.h"
#include "support/numbers.h"
#include "support/temporary_folder.h"

namespace espalier {
namespace {

namespace fs = std::filesystem;
using Named = std::vector<std::pair<std::string, Tensor>>;

/// Of these numbers a share is 0.
Tensor sparse_tensor(const Shape& shape, double sparsity, uint64_t key = 1) {
  Tensor tensor = Tensor::empty(shape);
  for (int64_t i = 0; i < tensor.elements(); ++i) {
    const float u = random_uniform(key, static_cast<uint64_t>(2 * i));
    tensor.f32()[i] = u < sparsity ? 0.0f : random_uniform(key, static_cast<uint64_t>(2 * i + 1)) - 0.5f;
  }
  return tensor;
}

bool identical(const Tensor& a, const Tensor& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape() && std::memcmp(a.raw(), b.raw(), a.bytes()) == 0;
}

Tensor mask_of(const Tensor& weight) {
  Tensor mask = Tensor::empty(weight.shape(), DType::u8);
  for (int64_t i = 0; i < mask.elements(); ++i) mask.data<uint8_t>()[i] = weight.f32()[i] != 0;
  return mask;
}

TEST(Packed, ComesBackBitByBit) {
  const TemporaryFolder folder;
  TensorFile file{.tensors = {{"dense", sparse_tensor({17, 9}, 0)},
                              {"half", sparse_tensor({64, 3, 3, 5}, 0.5)},
                              {"most", sparse_tensor({100, 333}, 0.9)},
                              {"nearly_all", sparse_tensor({200, 500}, 0.995)},
                              {"all", Tensor::zeros({40, 30})},
                              {"vector", sparse_tensor({1000}, 0.9)},
                              {"none", Tensor::empty({0, 4})},
                              {"scalar", Tensor::from({}, Floats{0})},
                              {"most.gaps", sparse_tensor({50, 50}, 0.9)},
                              {"half.bitmask.zstd", sparse_tensor({3}, 0)},
                              {"odd", Tensor::from({2, 4}, Floats{-0.0f, 0, NAN, 0, 0, INFINITY, 1e-42f, 0})},
                              {"counts", Tensor::from<int64_t>({3}, {0, 0, 1})},
                              {"bytes", Tensor::from<uint8_t>({4}, {0, 2, 0, 0})}},
                  .metadata = {{"format", "pt"}, {"espalier.config", "{}"}}};
  file.tensors.emplace_back("mask/most", mask_of(*file.find("most")));
  const fs::path plain = folder / "plain", packed = folder / "packed", back = folder / "back";
  write_safetensors(plain, file, Checksums::kept);
  const PackedFile pack(read_safetensors(plain), PackedValues::f32, "plain");
  pack.write(packed);
  EXPECT_EQ(pack.bytes(), fs::file_size(packed));
  EXPECT_LT(pack.bytes(), fs::file_size(plain) / 2);

  const TensorFile read = read_safetensors(packed);
  EXPECT_EQ(read.metadata, file.metadata);
  ASSERT_EQ(read.tensors.size(), file.tensors.size());
  for (const auto& [name, tensor] : file.tensors) EXPECT_TRUE(identical(*read.find(name), tensor)) << name;
  write_safetensors(back, read, Checksums::kept);
  EXPECT_EQ(read_file(back), read_file(plain));

  const TensorFile header = read_safetensors_header(packed);
  for (const auto& [name, tensor] : file.tensors) {
    ASSERT_TRUE(header.find(name)) << name;
    EXPECT_EQ(header.find(name)->shape(), tensor.shape()) << name;
    EXPECT_EQ(header.find(name)->dtype(), tensor.dtype()) << name;
  }
}

TEST(Packed, TakesTheSmallestOfEach) {
  const TensorFile file{.tensors = {{"all", sparse_tensor({300, 300}, 0)},
                                    {"half", sparse_tensor({300, 300}, 0.5)},
                                    {"few", sparse_tensor({300, 300}, 0.999)}},
                        .metadata = {}};
  const PackedFile packed(file, PackedValues::f32, "f");
  std::vector<std::string> encodings;
  for (const auto& row : packed.rows()) encodings.push_back(row.encoding);
  EXPECT_EQ(encodings, (std::vector<std::string>{"dense", "bitmask", "gaps"}));
  for (const auto& row : packed.rows()) EXPECT_EQ(row.dense_bytes, 360'000u);
  EXPECT_EQ(packed.rows()[0].bytes, 360'000u);
  EXPECT_LT(packed.rows()[1].bytes, 180'000u + 300 * 38 + 3000);
  EXPECT_LT(packed.rows()[2].bytes, 600u);
}

/// Two rows of nine: the second row's bits begin in a byte of their own.
TEST(Packed, TheBitmaskByHand) {
  const TemporaryFolder folder;
  const Tensor w = Tensor::from({2, 9}, Floats{0, 5, 0, 0, 0, 0, 0, 7, 9, /**/ 3, 0, 0, 0, 0, 0, 0, 0, 0});
  PackedFile({.tensors = {{"w", w}}, .metadata = {}}, PackedValues::f32, "f").write(folder / "f");
  // What another program sees: 0b10000010, 0b1; 0b1, 0.
  const std::string bytes = read_file(folder / "f");
  EXPECT_TRUE(contains(bytes, R"("w.bitmask":{"dtype":"U8","shape":[2,2],)")) << bytes;
  EXPECT_TRUE(contains(bytes, R"("w.compressed":{"dtype":"F32","shape":[4],)")) << bytes;
  EXPECT_TRUE(bytes.ends_with(std::string("\x82\x01\x01\x00", 4)));
}

TEST(Packed, HalvesOfWeightsAreTheNearestNumbers) {
  const TemporaryFolder folder;
  const TensorFile file{.tensors = {{"w", sparse_tensor({30, 40}, 0.9)},
                                    {"d", sparse_tensor({30, 40}, 0)},
                                    {"b", sparse_tensor({40}, 0)}},
                        .metadata = {}};
  for (const PackedValues values : {PackedValues::bf16, PackedValues::f16}) {
    PackedFile(file, values, "f").write(folder / "f");
    const TensorFile read = read_safetensors(folder / "f");
    EXPECT_TRUE(identical(*read.find("b"), *file.find("b"))) << "vectors stay what they are";
    for (const char* name : {"w", "d"}) {
      const auto before = file.find(name)->span<float>(), after = read.find(name)->span<float>();
      for (size_t i = 0; i < before.size(); ++i)
        ASSERT_EQ(after[i],
                  values == PackedValues::bf16 ? from_bf16(to_bf16(before[i])) : from_f16(to_f16(before[i])));
    }
  }
  const TensorFile large{.tensors = {{"w", Tensor::from({1, 2}, Floats{0, 1e6f})}}, .metadata = {}};
  EXPECT_EQ(message_of([&] { PackedFile(large, PackedValues::f16, "f"); }),
            "f: tensor 'w' holds 1e+06, which F16 cannot: expected other values, f32 at least");
  const TensorFile largest{.tensors = {{"w", Tensor::from({1, 2}, Floats{0, 3.4e38f})}}, .metadata = {}};
  EXPECT_EQ(message_of([&] { PackedFile(largest, PackedValues::bf16, "f"); }),
            "f: tensor 'w' holds 3.4e+38, which BF16 cannot: expected other values, f32 at least");
}

// --- What is wrong ---

/// What becomes of a packed file of one tensor [4,100] of 9 in 10 zeros, whose metadata and tensors a test
/// has changed.
template <class Change>
std::string unpacking(const Change& change) {
  const Tensor w = sparse_tensor({4, 100}, 0.9);
  // As it lies in a file: what read_safetensors reads before it unpacks.
  int64_t stay = 0;
  std::vector<uint8_t> gaps;
  int gap = 0;
  for (const float x : w.span<float>()) {
    if (x != 0) {
      gaps.push_back(static_cast<uint8_t>(gap));
      gap = 0;
      ++stay;
    } else {
      ++gap;
    }
  }
  std::vector<float> left;
  for (const float x : w.span<float>())
    if (x != 0) left.push_back(x);
  TensorFile file{
      .tensors = {{"w.gaps", Tensor::from<uint8_t>({stay}, gaps)},
                  {"w.compressed", Tensor::from({stay}, left)}},
      .metadata = {{"espalier.packed", R"({"version":1,"tensors":{"w":{"shape":[4,100],"dtype":"F32",)"
                                       R"("encoding":"gaps","values":"F32"}}})"}}};
  change(file);
  try {
    unpack(file, "f");
  } catch (const Error& error) {
    return error.what();
  }
  EXPECT_EQ(file.tensors.size(), 1u);
  EXPECT_TRUE(identical(*file.find("w"), w));
  return "";
}

void say(TensorFile& file, const std::string& from, const std::string& to) {
  std::string& text = file.metadata["espalier.packed"];
  const size_t at = text.find(from);
  ASSERT_NE(at, text.npos) << from;
  text.replace(at, from.size(), to);
}

Tensor& tensor(TensorFile& file, const std::string& name) {
  return std::ranges::find(file.tensors, name, &Named::value_type::first)->second;
}

TEST(Packed, WhatIsWholeIsRead) {
  EXPECT_EQ(unpacking([](TensorFile&) {}), "");
}

TEST(Packed, WhatDoesNotFitIsSaid) {
  const auto expect = [](const auto& change, const std::string& message) {
    EXPECT_EQ(unpacking(change), "f: espalier.packed" + message);
  };
  const std::string damaged = ": the file is damaged, or was packed by another program";
  expect([](TensorFile& f) { say(f, R"("version":1,)", ""); }, ": /version: missing");
  EXPECT_EQ(unpacking([](TensorFile& f) { say(f, "\"version\":1", "\"version\":2"); }),
            "f: was packed by a later version of Espalier: its layout is version 2, this program reads 1");
  expect([](TensorFile& f) { say(f, "gaps", "runs"); },
         ": /tensors/w/encoding: found 'runs', which this version of Espalier does not know");
  expect([](TensorFile& f) { say(f, "\"values\":\"F32\"", "\"values\":\"F8\""); },
         ": /tensors/w/values: found 'F8', expected F32, BF16 or F16");
  expect([](TensorFile& f) { say(f, "[4,100]", "[4,10]"); },
         ": /tensors/w: where its numbers stand does not fit [4, 10]" + damaged);
  for (const std::string shape : {"[]", "[4,-100]", "[1,1,1,1,1,400]", "[0,4611686018427387904,4]"})
    expect([&](TensorFile& f) { say(f, "[4,100]", shape); },
           ": /tensors/w/shape: found " + shape + ", expected 1 to 5 sizes of a tensor");
  expect([](TensorFile& f) { say(f, "\"dtype\":\"F32\"", "\"dtype\":\"I64\""); },
         ": /tensors/w/dtype: found 'I64', expected F32 or U8");
  expect([](TensorFile& f) { say(f, "\"dtype\":\"F32\"", "\"dtype\":\"U8\""); },
         ": /tensors/w/values: is for dtype F32, and the dtype is U8");
  expect([](TensorFile& f) { say(f, "\"version\":1", "\"version\":0"); }, ": /version: found 0, expected 1");
  expect([](TensorFile& f) { say(f, "[4,100]", "[0,100]"); },
         ": /tensors/w: where its numbers stand does not fit [0, 100]" + damaged);
  expect([](TensorFile& f) { say(f, "[4,100]", "[400,100]"); },
         ": /tensors/w: where its numbers stand does not fit [400, 100]" + damaged);
  expect([](TensorFile& f) { f.tensors.erase(f.tensors.begin()); }, ": no tensor is 'w.gaps'" + damaged);
  expect([](TensorFile& f) { f.tensors.emplace_back("w.gaps.zstd", Tensor::from<uint8_t>({1}, {0})); },
         ": two tensors are 'w.gaps'" + damaged);
  expect([](TensorFile& f) { tensor(f, "w.gaps") = Tensor::zeros({3}); },
         ": /tensors/w: where its numbers stand is no U8" + damaged);
  expect(
      [](TensorFile& f) { tensor(f, "w.compressed") = Tensor::zeros({3}); },
      join(": /tensors/w: it has 12 bytes of numbers for ",
           std::ranges::count_if(sparse_tensor({4, 100}, 0.9).span<float>(), [](float x) { return x != 0; }),
           " places of 4", damaged));
  EXPECT_EQ(unpacking([](TensorFile& f) { f.tensors.emplace_back("w", Tensor::zeros({1})); }),
            "f: tensor 'w' is there packed and as it is");
}

TEST(Packed, FramesThatHoldOtherThanTheySayAreRefused) {
  const auto framed = [](TensorFile& f, const std::vector<std::byte>& frame) {
    std::vector<uint8_t> bytes;
    for (const std::byte b : frame) bytes.push_back(static_cast<uint8_t>(b));
    auto& named = *std::ranges::find(f.tensors, "w.gaps", &Named::value_type::first);
    named = {"w.gaps.zstd", Tensor::from<uint8_t>({std::ssize(bytes)}, bytes)};
  };
  const std::string damaged = ": the file is damaged, or was packed by another program";
  EXPECT_EQ(unpacking([&](TensorFile& f) {
              const Tensor gaps = tensor(f, "w.gaps");
              framed(f, zstd_compressed({static_cast<const std::byte*>(gaps.raw()), gaps.bytes()}));
            }),
            "");
  EXPECT_EQ(unpacking([&](TensorFile& f) { framed(f, zstd_compressed(std::vector<std::byte>(1 << 20))); }),
            "f: espalier.packed: /tensors/w: where its numbers stand does not fit [4, 100]" + damaged);
  EXPECT_EQ(unpacking([&](TensorFile& f) { framed(f, std::vector<std::byte>(9)); }),
            "f: espalier.packed: /tensors/w: a part that should be a Zstandard frame is none, or does not "
            "say how much it "
            "holds" +
                damaged);
  EXPECT_EQ(unpacking([&](TensorFile& f) {
              std::vector<std::byte> frame = zstd_compressed(std::vector<std::byte>(40));
              frame.resize(frame.size() - 2);
              framed(f, frame);
            }),
            "f: espalier.packed: /tensors/w: a Zstandard frame cannot be read" + damaged);
}

/// A byte less and a byte more than the numbers that there are places for.
TEST(Packed, FramesOfNumbersHaveToHoldThemAll) {
  for (const int more : {-1, 0, 1}) {
    const std::string message = unpacking([&](TensorFile& f) {
      auto& named = *std::ranges::find(f.tensors, "w.compressed", &Named::value_type::first);
      std::vector<std::byte> bytes(named.second.bytes());
      std::memcpy(bytes.data(), named.second.raw(), bytes.size());
      bytes.resize(bytes.size() + static_cast<size_t>(more));
      std::vector<uint8_t> frame;
      for (const std::byte b : zstd_compressed(bytes)) frame.push_back(static_cast<uint8_t>(b));
      named = {"w.compressed.zstd", Tensor::from<uint8_t>({std::ssize(frame)}, frame)};
    });
    EXPECT_EQ(message.empty(), more == 0) << message;
  }
}

/// So that what is written can be read, whatever its size: of almost nothing the frames are left out.
TEST(Packed, NothingIsKeptInLessThanAFileMayClaim) {
  Tensor ones = Tensor::empty({1000, 3000}, DType::u8);
  std::ranges::fill(ones.span<uint8_t>(), uint8_t{1});
  const TensorFile file{.tensors = {{"zeros", Tensor::zeros({3'000'000})}, {"ones", ones}}, .metadata = {}};
  const PackedFile packed(file, PackedValues::f32, "f");
  for (const PackedFile::Row& row : packed.rows()) {
    EXPECT_NE(row.encoding, "dense");
    EXPECT_GE(2000 * row.bytes, row.dense_bytes) << row.name;
  }
}

TEST(Packed, AFileThatClaimsTooMuchIsRefusedBeforeItTakesMemory) {
  EXPECT_TRUE(unpacking([](TensorFile& f) {
                say(f, "[4,100]", "[4000000,1000000]");
              }).starts_with("f: claims to hold 16"));
}

TEST(Packed, ADamagedFileIsNoticed) {
  const TemporaryFolder folder;
  PackedFile({.tensors = {{"w", sparse_tensor({4, 100}, 0.9)}}, .metadata = {}}, PackedValues::f32, "f")
      .write(folder / "f");
  const std::string bytes = read_file(folder / "f");
  for (size_t i = bytes.find("espalier.packed") + 15; i < bytes.size(); i += 3) {
    std::string broken = bytes;
    broken[i] = static_cast<char>(broken[i] ^ 4);
    EXPECT_NE(message_of([&] { parse_safetensors(std::as_bytes(std::span(broken)), "f"); }), "") << i;
  }
}

}  // namespace
}  // namespace espalier
