#include "espalier/cuda/device.h"

#include <sstream>

#include "cuda/card.h"
#include "espalier/cuda/runtime.h"
#include "espalier/util/error.h"
#include "support/bad_input.h"

namespace espalier::cuda::device_test {
namespace {

using CudaDevice = OnCard<>;

constexpr Driver one_card{.status = cudaSuccess, .version = 13020, .runtime = 13000, .cards = 1};

TEST(CudaRefusal, NoneForACardThatIsThere) {
  EXPECT_EQ(refusal(one_card, 0), "");
  EXPECT_EQ(refusal("NVIDIA H200", 0, 9, 0, 80), "");
  EXPECT_EQ(refusal("NVIDIA A100", 0, 8, 0, 80), "");
  EXPECT_EQ(refusal("NVIDIA B200", 0, 10, 0, 90), "");
}

TEST(CudaRefusal, NoDriver) {
  const Driver seen{.status = cudaErrorInsufficientDriver, .version = 0, .runtime = 13000, .cards = 0};
  EXPECT_EQ(refusal(seen, 0), "cuda: no NVIDIA driver is installed on this machine");
}

TEST(CudaRefusal, AnOldDriverNamesBothVersions) {
  const Driver seen{.status = cudaErrorInsufficientDriver, .version = 12080, .runtime = 13000, .cards = 0};
  EXPECT_EQ(
      refusal(seen, 0),
      "cuda: the NVIDIA driver is too old: it serves CUDA 12.8, this program needs CUDA 13.0; update the "
      "driver");
}

TEST(CudaRefusal, NoCard) {
  for (const cudaError_t status : {cudaErrorNoDevice, cudaSuccess}) {
    const Driver seen{.status = status, .version = 13000, .runtime = 13000, .cards = 0};
    EXPECT_TRUE(refusal(seen, 0).starts_with("cuda: the NVIDIA driver shows no card"));
  }
}

TEST(CudaRefusal, NoSuchIndexSaysHowManyThereAre) {
  Driver seen = one_card;
  EXPECT_EQ(refusal(seen, 1), "cuda: there is no card 1: the driver shows one, cuda:0");
  EXPECT_EQ(refusal(seen, -1), "cuda: there is no card -1: the driver shows one, cuda:0");
  seen.cards = 8;
  EXPECT_EQ(refusal(seen, 8), "cuda: there is no card 8: the driver shows 8, cuda:0 to cuda:7");
  EXPECT_EQ(refusal(seen, 7), "");
}

TEST(CudaRefusal, AnotherFailureOfTheDriverKeepsItsText) {
  const Driver seen{.status = cudaErrorSystemNotReady, .version = 13000, .runtime = 13000, .cards = 0};
  EXPECT_TRUE(contains(refusal(seen, 0), cudaGetErrorString(cudaErrorSystemNotReady)));
}

TEST(CudaRefusal, AnOlderCardNamesItsCapabilityAndTheBuilds) {
  EXPECT_EQ(
      refusal("Tesla V100", 2, 7, 0, 80),
      "cuda: card 2, Tesla V100, is too old: it has compute capability 7.0, this program was built for 8.0 "
      "and newer (CMAKE_CUDA_ARCHITECTURES)");
  EXPECT_TRUE(contains(refusal("NVIDIA H100", 0, 9, 0, 100), "built for 10.0 and newer"));
}

TEST(CudaErrors, NameTheCallThePlaceAndTheReason) {
  const std::string cuda = message_of([] { ESP_CUDA(cudaErrorInvalidValue); });
  EXPECT_TRUE(contains(cuda, "cuda: cudaErrorInvalidValue failed: "));
  EXPECT_TRUE(contains(cuda, "(device_test.cpp:"));
  EXPECT_TRUE(
      contains(message_of([] { ESP_CUDA(CUBLAS_STATUS_NOT_SUPPORTED); }), "CUBLAS_STATUS_NOT_SUPPORTED"));
  EXPECT_TRUE(contains(message_of([] { ESP_CUDA(CUDNN_STATUS_BAD_PARAM); }), "CUDNN_STATUS_BAD_PARAM"));
  EXPECT_NO_THROW(ESP_CUDA(cudaSuccess));
}

TEST(CudaErrors, WithoutACardEveryEntrySaysSo) {
  if (device_count() > 0) GTEST_SKIP() << "there is a card";
  const std::string why = refusal(driver(), 0);
  EXPECT_NE(why, "");
  EXPECT_EQ(message_of([] { select_device(0); }), why);
  EXPECT_EQ(message_of([] { device_info(); }), why);
  EXPECT_EQ(message_of([] { allocate(1); }), why);
  EXPECT_EQ(message_of([] { synchronize(); }), why);
  EXPECT_THROW(select_device(0), UsageError);
}

TEST(CudaDriver, ItsVersionIsReadFromWhatItSays) {
  const auto version_in = [](const char* text) {
    std::istringstream said(text);
    return driver_version(said);
  };
  EXPECT_EQ(
      version_in("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\n"
                 "GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n"),
      "535.183.01");
  EXPECT_EQ(
      version_in(
          "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build  (root@x)\n"),
      "580.159.04");
  EXPECT_EQ(version_in("GCC version:  gcc version 12.2.0\n"), "");
  EXPECT_EQ(version_in(""), "");
}

TEST_F(CudaDevice, SaysWhatItIs) {
  const DeviceInfo& info = device_info();
  EXPECT_NE(info.name, "");
  EXPECT_EQ(info.index, 0);
  EXPECT_GT(info.major, 0);
  EXPECT_GT(info.memory, size_t{1} << 30);
  EXPECT_GT(multiprocessors(), 0);
  for (const std::string& version : {info.driver, info.runtime, info.cudnn})
    EXPECT_TRUE(contains(version, ".")) << version;
}

TEST_F(CudaDevice, StaysTheOneThatWasChosen) {
  select_device(0);
  select_device(0);
  EXPECT_TRUE(
      contains(message_of([] { select_device(device_count()); }), "cuda: this process runs on card 0"));
  EXPECT_EQ(stream(), stream());
}

}  // namespace
}  // namespace espalier::cuda::device_test
