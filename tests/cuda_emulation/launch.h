// The rest of cuda/launch.h, which includes this, for the host compiler: arguments are kept by value and
// checked, and the kernel goes to the stream.
#pragma once

#include <functional>
#include <source_location>
#include <tuple>
#include <type_traits>

#include "espalier/cuda/runtime.h"
#include "espalier/cuda_emulation/device.h"

namespace espalier::emulation {

struct KernelLaunch {
  const void* kernel;
  dim3 grid, block;
  size_t shared;
  Site where;
  std::function<void()> body;  ///< what each thread does
};

/// Goes through a kernel's arguments, looking for addresses that are no device memory.
class ArgumentCheck {
 public:
  explicit ArgumentCheck(const Site& where) : where_(where) {}
  template <class T>
  void look_at(const T& argument) {
    if constexpr (std::is_pointer_v<T>) {
      pointer(reinterpret_cast<const void*>(argument));
    } else if constexpr (std::is_class_v<T> && alignof(T) >= alignof(void*)) {  // else it holds none
      T copy = argument;
      __builtin_clear_padding(&copy);  // what lies between the members may look like an address
      object(&copy, sizeof copy);
    }
    ++index_;
  }
  cudaError_t result() const { return result_; }

 private:
  void pointer(const void* address);
  /// A struct may hold pointers: each word in it that is an address of the host.
  void object(const void* object, size_t bytes);
  void refuse_argument(const void* address);

  const Site& where_;
  int index_ = 1;
  cudaError_t result_ = cudaSuccess;
};

cudaError_t enqueue_kernel(cudaStream_t stream, KernelLaunch launch);

}  // namespace espalier::emulation

#define ESP_DYNAMIC_SHARED(T, name) T* const name = static_cast<T*>(::espalier::emulation::dynamic_shared())

namespace espalier::cuda {

template <class... P, class... A>
void launch(void (*kernel)(P...), const Launch& how, std::tuple<A...> arguments,
            const std::source_location& where = std::source_location::current()) {
  static_assert(sizeof...(P) == sizeof...(A));
  if (how.is_empty()) return;
  const auto values =
      std::apply([](auto&... a) { return std::tuple<P...>(static_cast<P>(a)...); }, arguments);
  emulation::ArgumentCheck check_arguments(where);
  std::apply([&](const auto&... value) { (check_arguments.look_at(value), ...); }, values);
  check(check_arguments.result(), "kernel launch", where);
  check(emulation::enqueue_kernel(stream(), {reinterpret_cast<const void*>(kernel), how.grid, how.block,
                                             how.shared, where, [=] { std::apply(kernel, values); }}),
        "kernel launch", where);
}

}  // namespace espalier::cuda
