#include "espalier/cuda/device.h"

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <optional>
#include <sstream>

#include "espalier/cuda/runtime.h"
#include "espalier/util/error.h"

namespace espalier::cuda {
namespace {

struct Card {
  DeviceInfo info;
  int multiprocessors;
};

std::string cudnn_version_text(size_t version) {  // 91900 is 9.19.0
  return join(version / 10000, ".", version / 100 % 100, ".", version % 100);
}

std::string driver_text(const Driver& seen) {
  std::ifstream said("/proc/driver/nvidia/version");  // not there under the emulator and Windows's Linux
  const std::string version = driver_version(said);
  return version.empty() ? "for CUDA " + version_text(seen.version) : version;
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
           .driver = driver_text(seen),
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

std::string driver_version(std::istream& said) {
  // NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (...)
  std::string first_line, word;
  std::getline(said, first_line);
  if (!first_line.starts_with("NVRM version:")) return "";
  std::istringstream words(first_line);
  while (words >> word)
    if (word.find('.') != word.npos && word.find_first_not_of("0123456789.") == word.npos) return word;
  return "";
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

bool can_select_device(int index) noexcept {
  try {
    open_card(index);
    return true;
  } catch (const std::exception&) {
    return false;
  }
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
