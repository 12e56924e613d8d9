// The C interface: what it computes, from how many threads, and what it says of wrong arguments and files.
#include "espalier/predict/espalier_predict.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <thread>

#include "espalier/nn/inference.h"
#include "espalier/nn/models/models.h"
#include "espalier/run/checkpoint.h"
#include "support/numbers.h"
#include "support/temporary_folder.h"

namespace espalier {
namespace {

class Predict : public testing::Test {
 protected:
  TemporaryFolder folder;
  const std::string file = (folder / "net.safetensors").string();
  const std::unique_ptr<Module> module =
      make_model({.type = "resnet20", .input = {12, 10, 3}, .classes = 4, .width = 0.25}, 1);
  espalier_predict_model* model = nullptr;

  void SetUp() override {
    save_weights(file, *module,
                 {.image = {12, 10, 3},
                  .class_names = {"a", "b", "é", "d"},
                  .mean = {0.5, 0.25, 0},
                  .std = {1, 0.5, 2}});
    ASSERT_EQ(espalier_predict_load(file.c_str(), &model), ESPALIER_PREDICT_OK) << espalier_predict_error();
  }
  void TearDown() override { espalier_predict_free(model); }

  Tensor expected(const Tensor& images) {
    const Inference inference(*module);
    return module->forward(Variable(images)).value();
  }
};

TEST_F(Predict, SaysWhatItTakesAndPutsOut) {
  int64_t shape[3];
  ASSERT_EQ(espalier_predict_input_shape(model, shape), ESPALIER_PREDICT_OK);
  EXPECT_EQ(shape[0], 12);
  EXPECT_EQ(shape[1], 10);
  EXPECT_EQ(shape[2], 3);
  EXPECT_EQ(espalier_predict_outputs(model), 4);
  EXPECT_STREQ(espalier_predict_class_name(model, 2), "é");
  EXPECT_EQ(espalier_predict_class_name(model, 4), nullptr);
  EXPECT_EQ(espalier_predict_class_name(model, -1), nullptr);
  EXPECT_EQ(espalier_predict_version(), ESPALIER_PREDICT_VERSION);
}

TEST_F(Predict, RunsFromManyThreadsToTheSameBits) {
  const Tensor images = random_tensor({5, 12, 10, 3}, 1), logits = expected(images);
  std::vector<std::thread> threads;
  std::vector<Floats> found(4, Floats(3 * 20, 0.0f));
  for (Floats& its : found)
    threads.emplace_back([&] {
      espalier_predict_context* context = nullptr;
      ASSERT_EQ(espalier_predict_new_context(model, &context), ESPALIER_PREDICT_OK);
      for (int i = 0; i < 3; ++i)
        EXPECT_EQ(espalier_predict_run_f32(context, images.f32(), 5, its.data() + 20 * i),
                  ESPALIER_PREDICT_OK);
      espalier_predict_free_context(context);
    });
  for (std::thread& thread : threads) thread.join();
  for (const Floats& its : found)
    for (int i = 0; i < 3; ++i)
      EXPECT_TRUE(
          same_bits(Tensor::from({5, 4}, std::span(its).subspan(static_cast<size_t>(20 * i), 20)), logits));
}

TEST_F(Predict, NormalizesPixelsAsTheFileSays) {
  std::vector<uint8_t> pixels(2 * 12 * 10 * 3);
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(37 * i);
  const double mean[] = {0.5, 0.25, 0}, std[] = {1, 0.5, 2};
  Floats images(pixels.size());
  for (size_t i = 0; i < pixels.size(); ++i)
    images[i] = static_cast<float>((pixels[i] / 255.0 - mean[i % 3]) / std[i % 3]);
  espalier_predict_context* context = nullptr;
  ASSERT_EQ(espalier_predict_new_context(model, &context), ESPALIER_PREDICT_OK);
  Floats logits(8);
  ASSERT_EQ(espalier_predict_run_u8(context, pixels.data(), 2, logits.data()), ESPALIER_PREDICT_OK);
  espalier_predict_free_context(context);
  EXPECT_TRUE(near(logits, doubles(expected(Tensor::from({2, 12, 10, 3}, images)).span<float>()), 1e-5));
}

TEST_F(Predict, LoadsFromMemory) {
  std::ifstream stream(file, std::ios::binary);
  const std::string bytes(std::istreambuf_iterator<char>(stream), {});
  espalier_predict_model* other = nullptr;
  ASSERT_EQ(espalier_predict_load_memory(bytes.data(), bytes.size(), &other), ESPALIER_PREDICT_OK)
      << espalier_predict_error();
  EXPECT_EQ(espalier_predict_outputs(other), 4);
  espalier_predict_free(other);
  EXPECT_EQ(espalier_predict_load_memory(bytes.data(), bytes.size() - 1, &other), ESPALIER_PREDICT_BAD_FILE);
  EXPECT_EQ(other, nullptr);
  EXPECT_NE(std::string(espalier_predict_error()).find("memory"), std::string::npos);
}

TEST_F(Predict, SaysWhatIsWrong) {
  espalier_predict_model* other = model;
  EXPECT_EQ(espalier_predict_load((folder / "gone").string().c_str(), &other), ESPALIER_PREDICT_BAD_FILE);
  EXPECT_EQ(other, nullptr);
  EXPECT_NE(std::string(espalier_predict_error()).find("gone"), std::string::npos);
  write_safetensors(folder / "plain.safetensors", {.tensors = state_dict(*module), .metadata = {}});
  EXPECT_EQ(espalier_predict_load((folder / "plain.safetensors").string().c_str(), &other),
            ESPALIER_PREDICT_BAD_FILE);
  EXPECT_NE(std::string(espalier_predict_error()).find("has no 'espalier.network' in its metadata"),
            std::string::npos);
  EXPECT_EQ(espalier_predict_load(nullptr, &other), ESPALIER_PREDICT_BAD_ARGUMENT);
  EXPECT_EQ(espalier_predict_load(file.c_str(), nullptr), ESPALIER_PREDICT_BAD_ARGUMENT);
  EXPECT_EQ(espalier_predict_load_memory(nullptr, 3, &other), ESPALIER_PREDICT_BAD_ARGUMENT);
  EXPECT_EQ(espalier_predict_outputs(nullptr), 0);
  EXPECT_EQ(espalier_predict_class_name(nullptr, 0), nullptr);
  EXPECT_EQ(espalier_predict_set_threads(0), ESPALIER_PREDICT_BAD_ARGUMENT);
  int64_t shape[3];
  EXPECT_EQ(espalier_predict_input_shape(nullptr, shape), ESPALIER_PREDICT_BAD_ARGUMENT);
  espalier_predict_context* context = nullptr;
  EXPECT_EQ(espalier_predict_new_context(nullptr, &context), ESPALIER_PREDICT_BAD_ARGUMENT);
  ASSERT_EQ(espalier_predict_new_context(model, &context), ESPALIER_PREDICT_OK);
  float image[360] = {}, logits[4];
  EXPECT_EQ(espalier_predict_run_f32(context, image, 0, logits), ESPALIER_PREDICT_BAD_ARGUMENT);
  EXPECT_STREQ(espalier_predict_error(), "found 0 images, expected 1 or more");
  EXPECT_EQ(espalier_predict_run_f32(nullptr, image, 1, logits), ESPALIER_PREDICT_BAD_ARGUMENT);
  EXPECT_EQ(espalier_predict_run_u8(context, nullptr, 1, logits), ESPALIER_PREDICT_BAD_ARGUMENT);
  EXPECT_EQ(espalier_predict_run_f32(context, image, 1, nullptr), ESPALIER_PREDICT_BAD_ARGUMENT);
  EXPECT_NE(espalier_predict_run_f32(context, image, INT64_MAX / 8, logits), ESPALIER_PREDICT_OK);
  espalier_predict_free_context(context);
  espalier_predict_free(nullptr);
  espalier_predict_free_context(nullptr);
}

}  // namespace
}  // namespace espalier
