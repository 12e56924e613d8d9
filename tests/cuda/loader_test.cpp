// Batches put together on a card are the CPU's, bit for bit, and in bf16 its numbers rounded.
#include "espalier/data/loader.h"

#include "cuda/on_cuda.h"
#include "support/numbers.h"

namespace espalier::loader_test {
namespace {

using LoaderOnCuda = OnCuda;

Dataset made_up(int64_t n) {
  Dataset dataset{"made up", Tensor::empty({n, 8, 8, 3}, DType::u8), {}, {"a", "b"}};
  for (size_t i = 0; i < dataset.images.bytes(); ++i)
    dataset.images.data<uint8_t>()[i] = static_cast<uint8_t>(random_bits(1, i));
  for (int64_t i = 0; i < n; ++i) dataset.labels.push_back(static_cast<int32_t>(i % 2));
  return dataset;
}

TEST_F(LoaderOnCuda, MakesTheCpusBatchesInEitherType) {
  const Dataset dataset = made_up(21);
  for (const auto precision : {cuda::Precision::f32, cuda::Precision::bf16})
    for (const std::vector<Augmentation>& augment : {std::vector<Augmentation>{},
                                                     {{.type = "crop", .pad = 2}, {.type = "flip"}},
                                                     {{.type = "color_jitter", .brightness = 0.5}}}) {
      SCOPED_TRACE(testing::Message() << precision_name(precision) << ", " << augment.size());
      const WithPrecision with(precision);
      const bool is_bf16 = precision == cuda::Precision::bf16;
      LoaderOptions options{.batch = 8, .augment = augment};
      Loader here(dataset, options);
      options.device = Device::cuda;
      Loader there(dataset, options);
      here.start_epoch(3);
      there.start_epoch(3);
      Batch expected, batch;
      while (here.next(expected)) {
        ASSERT_TRUE(there.next(batch));
        ASSERT_EQ(batch.images.dtype(), is_bf16 ? DType::bf16 : DType::f32);
        const Tensor wanted = is_bf16 ? expected.images.to(DType::bf16).to(DType::f32) : expected.images;
        EXPECT_TRUE(same_bits(batch.images.to(Device::cpu).to(DType::f32), wanted));
      }
      EXPECT_FALSE(there.next(batch));
    }
}

}  // namespace
}  // namespace espalier::loader_test
