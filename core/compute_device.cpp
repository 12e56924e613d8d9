#include "espalier/core/compute_device.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <optional>

#include "espalier/core/cuda_device.h"
#include "espalier/util/spelling.h"
#include "espalier/util/utf8.h"

namespace espalier {
namespace {

Device chosen = Device::cpu;

constexpr const char* precisions[] = {"f32", "tf32", "bf16"};  // as cuda::Precision counts them

/// The card that "cuda" or "cuda:N" names; nothing where the text is neither.
std::optional<int> card_index(const std::string& text) {
  if (text == "cuda") return 0;
  if (!text.starts_with("cuda:")) return std::nullopt;
  int index = 0;
  const char *begin = text.data() + 5, *end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(begin, end, index);
  if (error != std::errc() || stop != end || index < 0) return std::nullopt;
  return index;
}

#ifdef ESPALIER_CUDA
void select_card(int index) { cuda::select_device(index); }
bool has_card() { return cuda::can_select_device(0); }
#else
void select_card(int) {
  fail_usage("this build computes only on the CPU; `cmake --preset cuda` makes one that has CUDA");
}
bool has_card() { return false; }
#endif

}  // namespace

Device compute_device() { return chosen; }

void choose_device(const std::string& text, const std::string& source) {
  const auto index = card_index(text);
  if (index || (text == "auto" && has_card())) {
    try {
      select_card(index.value_or(0));
    } catch (const UsageError& error) {
      fail_usage(source, " ", text, ": ", error.what());
    }
    chosen = Device::cuda;
  } else if (text == "cpu" || text == "auto") {
    chosen = Device::cpu;
  } else {
    fail_usage(source, ": found '", printable(text), "', expected cpu, cuda, cuda:N or auto",
               did_you_mean(text, {"cpu", "cuda", "auto"}));
  }
}

void choose_precision(const std::string& text, const std::string& source) {
  const auto* const named = std::ranges::find(precisions, text);
  if (named == std::end(precisions))
    fail_usage(source, ": found '", printable(text), "', expected f32, tf32 or bf16",
               did_you_mean(text, {std::begin(precisions), std::end(precisions)}));
  if (chosen == Device::cpu && text != "f32")
    fail_usage(source, ": found '", text, "', but the CPU computes only in f32; --device cuda is a card");
#ifdef ESPALIER_CUDA
  cuda::set_precision(static_cast<cuda::Precision>(named - std::begin(precisions)));
#endif
}

const char* precision_name() {
#ifdef ESPALIER_CUDA
  if (chosen == Device::cuda) return precisions[static_cast<size_t>(cuda::precision())];
#endif
  return "f32";
}

DType activation_dtype([[maybe_unused]] Device device) {
#ifdef ESPALIER_CUDA
  if (device == Device::cuda && cuda::precision() == cuda::Precision::bf16) return DType::bf16;
#endif
  return DType::f32;
}

void synchronize([[maybe_unused]] Device device) {
#ifdef ESPALIER_CUDA
  if (device == Device::cuda) cuda::synchronize();
#endif
}

std::string card_text() {
#ifdef ESPALIER_CUDA
  if (chosen == Device::cuda) {
    const cuda::DeviceInfo& card = cuda::device_info();
    return card.name + " (driver " + card.driver + ", CUDA " + card.runtime + ", cuDNN " + card.cudnn + ")";
  }
#endif
  return "";
}

CardMemory card_memory() {
#ifdef ESPALIER_CUDA
  if (chosen == Device::cuda) {
    const auto held = cuda::memory_stats();
    const auto used = static_cast<double>(held.used_bytes);
    return {.total = static_cast<double>(cuda::device_info().memory),
            .used = used,
            .left = static_cast<double>(cuda::free_memory()) + static_cast<double>(held.system_bytes) - used};
  }
#endif
  return {};
}

int64_t peak_card_bytes() {
#ifdef ESPALIER_CUDA
  if (chosen == Device::cuda) return static_cast<int64_t>(cuda::memory_stats().peak_bytes);
#endif
  return 0;
}

}  // namespace espalier
