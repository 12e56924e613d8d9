#include "espalier/cuda/device.h"

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <optional>

#include "espalier/core/error.h"
#include "espalier/cuda/runtime.h"

namespace espalier::cuda {
namespace {

struct Card {
  DeviceInfo info;
  int multiprocessors;
};

std::string cudnn_version_text(size_t version) {  // 91900 is 9.19.0
  return join(version / 10000, ".", version / 100 % 100, ".", version % 100);
}

Card open_card(int index) {
  const Driver seen = driver();
  if (const std::string why = refusal(seen, index); !why.empty()) fail_usage(why);
  cudaDeviceProp properties;
  ESP_CUDA(cudaGetDeviceProperties(&properties, index));
  const std::string name = properties.name;
  if (const std::string why =
          refusal(name, index, properties.major, properties.minor, ESPALIER_LEAST_CAPABILITY);
      !why.empty())
    fail_usage(why);
  return {{.name = name,
           .index = index,
           .major = properties.major,
           .minor = properties.minor,
           .driver = version_text(seen.version),
           .runtime = version_text(seen.runtime),
           .cudnn = cudnn_version_text(cudnnGetVersion()),
           .memory = properties.totalGlobalMem},
          properties.multiProcessorCount};
}

std::mutex choosing;
std::optional<Card> chosen;

const Card& card() {
  const std::lock_guard lock(choosing);
  if (!chosen) chosen = open_card(0);
  return *chosen;
}

std::atomic<Precision> products = Precision::tf32;

}  // namespace

Driver driver() noexcept {
  Driver seen;
  if (cudaDriverGetVersion(&seen.version) != cudaSuccess) seen.version = 0;
  if (cudaRuntimeGetVersion(&seen.runtime) != cudaSuccess) seen.runtime = 0;
  seen.status = cudaGetDeviceCount(&seen.cards);
  if (seen.status != cudaSuccess) {
    seen.cards = 0;
    cudaGetLastError();  // or the next call that is checked reports it
  }
  return seen;
}

std::string version_text(int version) { return join(version / 1000, ".", version % 1000 / 10); }

std::string refusal(const Driver& seen, int index) {
  if (seen.version == 0) return "cuda: no NVIDIA driver is installed on this machine";
  if (seen.status == cudaErrorInsufficientDriver)
    return join("cuda: the NVIDIA driver is too old: it serves CUDA ", version_text(seen.version),
                ", this program needs CUDA ", version_text(seen.runtime), "; update the driver");
  if (seen.status == cudaErrorNoDevice || (seen.status == cudaSuccess && seen.cards == 0)) {
    const char* const visible = std::getenv("CUDA_VISIBLE_DEVICES");
    return join("cuda: the NVIDIA driver shows no card",
                visible ? join(" (CUDA_VISIBLE_DEVICES is '", visible, "')") : "");
  }
  if (seen.status != cudaSuccess)
    return join("cuda: the NVIDIA driver does not answer: ", cudaGetErrorString(seen.status));
  if (index < 0 || index >= seen.cards)
    return join(
        "cuda: there is no card ", index, ": the driver shows ",
        seen.cards == 1 ? std::string("one, cuda:0") : join(seen.cards, ", cuda:0 to cuda:", seen.cards - 1));
  return "";
}

std::string refusal(const std::string& name, int index, int major, int minor, int least) {
  if (major * 10 + minor >= least) return "";
  return join("cuda: card ", index, ", ", name, ", is too old: it has compute capability ", major, ".", minor,
              ", this program was built for ", least / 10, ".", least % 10,
              " and newer (CMAKE_CUDA_ARCHITECTURES)");
}

void select_device(int index) {
  {
    const std::lock_guard lock(choosing);
    if (!chosen) chosen = open_card(index);
    if (chosen->info.index != index)
      fail_usage("cuda: this process runs on card ", chosen->info.index, " and cannot change to card ",
                 index);
  }
  bind_device();
}

const DeviceInfo& device_info() { return card().info; }
int multiprocessors() {
  static const int count = card().multiprocessors;
  return count;
}

int device_count() noexcept { return driver().cards; }

void bind_device() {
  thread_local bool bound = false;
  if (bound) return;
  ESP_CUDA(cudaSetDevice(device_info().index));
  bound = true;
}

void set_precision(Precision precision) { products = precision; }
Precision precision() { return products; }

}  // namespace espalier::cuda
