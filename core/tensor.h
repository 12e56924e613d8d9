// Tensor: numbers in memory, always dense and row-major. A reshape shares storage; everything else copies.
#pragma once

#include <memory>
#include <span>
#include <type_traits>
#include <vector>

#include "espalier/core/bf16.h"
#include "espalier/core/shape.h"

namespace espalier {

enum class DType : uint8_t { f32, u8, i8, i32, i64, bf16 };
/// What is on `meta` has a shape and no memory (its data are null), and kernels do nothing there: see
/// MetaDevice.
enum class Device : uint8_t { cpu, cuda, meta };

size_t dtype_bytes(DType dtype);
const char* dtype_name(DType dtype);
/// True of what kernels of activations take: f32 and bf16.
inline bool is_real(DType dtype) { return dtype == DType::f32 || dtype == DType::bf16; }
const char* device_name(Device device);

template <class T>
struct DTypeOf;
template <>
struct DTypeOf<float> : std::integral_constant<DType, DType::f32> {};
template <>
struct DTypeOf<uint8_t> : std::integral_constant<DType, DType::u8> {};
template <>
struct DTypeOf<int8_t> : std::integral_constant<DType, DType::i8> {};
template <>
struct DTypeOf<int32_t> : std::integral_constant<DType, DType::i32> {};
template <>
struct DTypeOf<int64_t> : std::integral_constant<DType, DType::i64> {};
template <>
struct DTypeOf<bf16> : std::integral_constant<DType, DType::bf16> {};
template <class T>
constexpr DType dtype_of() {
  return DTypeOf<T>::value;
}

/// A block of memory from the device's caching allocator (allocator.h, cuda_device.h), returned to it at the
/// end; on `meta` none. On `cuda` an Error in a program that was built without CUDA.
struct Storage {
  Storage(size_t bytes, Device device);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data;
  size_t bytes;
  Device device;
};

class Tensor {
 public:
  Tensor() = default;  ///< undefined: no storage

  /// Not initialised.
  static Tensor empty(const Shape& shape, DType dtype = DType::f32, Device device = Device::cpu);
  static Tensor zeros(const Shape& shape, DType dtype = DType::f32, Device device = Device::cpu);
  static Tensor full(const Shape& shape, float value, Device device = Device::cpu);
  /// A copy of `values`, in row-major order.
  template <class T>
  static Tensor from(const Shape& shape, std::span<const T> values, Device device = Device::cpu) {
    Tensor t = empty(shape, dtype_of<T>());
    ESP_CHECK(static_cast<int64_t>(values.size()) == t.elements(), "tensor: ", values.size(),
              " values for shape ", shape);
    if (t.raw()) std::copy(values.begin(), values.end(), t.data<T>());
    return t.to(device);
  }
  template <class T>
  static Tensor from(const Shape& shape, const std::vector<T>& values, Device device = Device::cpu) {
    return from(shape, std::span<const T>(values), device);
  }
  /// Not initialised: another of this dtype, on this device.
  Tensor like(const Shape& shape) const { return empty(shape, dtype_, device()); }

  bool defined() const { return storage_ != nullptr; }
  /// True if both are the same memory under any shape; also where there is none, on `meta`.
  bool shares(const Tensor& other) const { return storage_ == other.storage_; }
  const Shape& shape() const { return shape_; }
  int64_t elements() const { return shape_.elements(); }
  size_t bytes() const { return static_cast<size_t>(elements()) * dtype_bytes(dtype_); }
  DType dtype() const { return dtype_; }
  Device device() const { return storage_ ? storage_->device : Device::cpu; }

  /// Where the numbers are: on the device. Host code reads only those of a tensor on the CPU:
  /// to(Device::cpu).
  template <class T>
  T* data() {
    ESP_CHECK(!storage_ || dtype_ == dtype_of<T>(), "tensor: holds ", dtype_name(dtype_), ", was read as ",
              dtype_name(dtype_of<T>()));
    return storage_ ? static_cast<T*>(storage_->data) : nullptr;
  }
  template <class T>
  const T* data() const {
    return const_cast<Tensor*>(this)->data<T>();
  }
  float* f32() { return data<float>(); }
  const float* f32() const { return data<float>(); }
  void* raw() { return storage_ ? storage_->data : nullptr; }
  const void* raw() const { return storage_ ? storage_->data : nullptr; }

  /// The numbers for the host, of a tensor on the CPU.
  template <class T>
  std::span<T> span() {
    ESP_CHECK(device() != Device::cuda, "tensor: the host cannot read what is on the GPU");
    return {data<T>(), static_cast<size_t>(elements())};
  }
  template <class T>
  std::span<const T> span() const {
    return const_cast<Tensor*>(this)->span<T>();
  }

  /// The same numbers under another shape of as many elements; storage is shared.
  Tensor reshape(const Shape& shape) const;
  /// A copy with storage of its own.
  Tensor clone() const { return clone(device()); }
  /// The same on `device`. What has no memory, on `meta`, has none anywhere.
  Tensor clone(Device device) const;
  /// This tensor if it is on `device` already, else a copy there. Host code that changes numbers of a tensor
  /// t that may be elsewhere takes host = t.to(Device::cpu), changes host, and writes it back by
  /// t.copy_from(host), which does nothing where both are the same memory.
  Tensor to(Device device) const;
  /// This tensor if it holds `dtype` already, else its numbers as that: f32 widened from bf16, or bf16
  /// rounded from f32.
  Tensor to(DType dtype) const;
  /// Overwrites this tensor's numbers with `other`'s, on whatever devices: same shape, same dtype.
  void copy_from(const Tensor& other);
  void fill(float value);
  /// The one element of a tensor that has one; waits for the device.
  float item() const;
  /// True if no other tensor shares this storage, so that it may be written in place.
  bool unique() const { return storage_.use_count() == 1; }

 private:
  std::shared_ptr<Storage> storage_;
  Shape shape_;
  DType dtype_ = DType::f32;
};

/// The index of the first number of `x`, f32 or bf16, that is not finite, or -1; waits for a device.
int64_t first_not_finite(const Tensor& x);

/// While one is alive, what this thread makes is on Device::meta, whatever device is named: a network made
/// and run in it says what it would need, and takes nothing of it.
class MetaDevice {
 public:
  MetaDevice();
  ~MetaDevice();
  MetaDevice(const MetaDevice&) = delete;
  MetaDevice& operator=(const MetaDevice&) = delete;

  static bool active();

 private:
  bool before_;
};

}  // namespace espalier
