#include "espalier/core/tensor.h"

#include <cstring>
#include <utility>

#include "espalier/core/allocator.h"
#include "espalier/core/cuda_device.h"
#include "espalier/core/kernels.h"

namespace espalier {
namespace {

thread_local bool meta = false;

void* allocate(size_t bytes, Device device) {
  switch (device) {
    case Device::cpu:
      return allocator::allocate(bytes);
    case Device::cuda:
#ifdef ESPALIER_CUDA
      return bytes > 0 ? cuda::allocate(bytes) : nullptr;
#else
      fail("tensor: there is no device cuda in this program, which was built without CUDA");
#endif
    case Device::meta:
      break;
  }
  return nullptr;
}

}  // namespace

size_t dtype_bytes(DType dtype) {
  switch (dtype) {
    case DType::u8:
    case DType::i8:
      return 1;
    case DType::bf16:
      return 2;
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::i64:
      return 8;
  }
  return 0;
}

const char* dtype_name(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "f32";
    case DType::u8:
      return "u8";
    case DType::i8:
      return "i8";
    case DType::i32:
      return "i32";
    case DType::i64:
      return "i64";
    case DType::bf16:
      return "bf16";
  }
  return "?";
}

const char* device_name(Device device) {
  switch (device) {
    case Device::cpu:
      return "cpu";
    case Device::cuda:
      return "cuda";
    case Device::meta:
      return "meta";
  }
  return "?";
}

Error bf16_on_the_cpu() { return Error("bf16 is computed only on a GPU"); }

Storage::Storage(size_t size, Device on) : data(allocate(size, on)), bytes(size), device(on) {}
Storage::~Storage() {
  if (!data) return;
#ifdef ESPALIER_CUDA
  if (device == Device::cuda) {
    cuda::release(data);
    return;
  }
#endif
  allocator::release(data);
}

Tensor Tensor::empty(const Shape& shape, DType dtype, Device device) {
  Tensor t;
  t.shape_ = shape;
  t.dtype_ = dtype;
  ESP_CHECK(shape.elements() < (int64_t{1} << 56), "tensor of shape ", shape, ": too large");
  t.storage_ = std::make_shared<Storage>(t.bytes(), meta ? Device::meta : device);
  return t;
}

Tensor Tensor::zeros(const Shape& shape, DType dtype, Device device) {
  Tensor t = empty(shape, dtype, device);
  ESP_RUN(t.device(), set_bytes(t.raw(), 0, t.bytes()));
  return t;
}

Tensor Tensor::full(const Shape& shape, float value, Device device) {
  Tensor t = empty(shape, DType::f32, device);
  t.fill(value);
  return t;
}

Tensor Tensor::reshape(const Shape& shape) const {
  ESP_CHECK(shape.elements() == elements(), "reshape: ", shape_, " has ", elements(), " elements, ", shape,
            " has ", shape.elements());
  Tensor t = *this;
  t.shape_ = shape;
  return t;
}

Tensor Tensor::clone(Device device) const {
  if (!defined()) return {};
  Tensor t = empty(shape_, dtype_, this->device() == Device::meta ? Device::meta : device);
  t.copy_from(*this);
  return t;
}

Tensor Tensor::to(Device to) const { return !defined() || device() == to ? *this : clone(to); }

void Tensor::copy_from(const Tensor& other) {
  ESP_CHECK(shape_ == other.shape_ && dtype_ == other.dtype_, "copy: ", dtype_name(other.dtype_),
            other.shape_, " into ", dtype_name(dtype_), shape_);
  if (shares(other) || bytes() == 0) return;
#ifdef ESPALIER_CUDA
  if (device() == Device::cuda && other.device() == Device::cpu)
    return cuda::upload(raw(), other.raw(), bytes());
  if (device() == Device::cpu && other.device() == Device::cuda)
    return cuda::download(raw(), other.raw(), bytes());
#endif
  ESP_RUN(device(), copy_bytes(raw(), other.raw(), bytes()));
}

Tensor Tensor::to(DType dtype) const {
  if (!defined() || dtype_ == dtype) return *this;
  Tensor t = empty(shape_, dtype, device());
  if (dtype == DType::bf16)
    ESP_RUN(t.device(), cast(t.data<bf16>(), f32(), elements()));
  else
    ESP_RUN(t.device(), cast(t.f32(), data<bf16>(), elements(), false));
  return t;
}

void Tensor::fill(float value) { ESP_RUN_REAL(*this, fill(data<Real>(), value, elements())); }

float Tensor::item() const {
  ESP_CHECK(defined(), "item: the tensor is undefined");
  ESP_CHECK(elements() == 1, "item: the tensor has shape ", shape_, ", not one element");
  ESP_CHECK(device() != Device::meta, "item: the tensor has no memory");
  return *to(Device::cpu).f32();
}

int64_t first_not_finite(const Tensor& x) {
  if (x.device() == Device::meta) return -1;
  Tensor place = Tensor::empty({}, DType::i64, x.device());
  ESP_RUN_REAL(x, first_not_finite(place.data<int64_t>(), x.data<Real>(), x.elements()));
  return *place.to(Device::cpu).data<int64_t>();
}

MetaDevice::MetaDevice() : before_(std::exchange(meta, true)) {}
MetaDevice::~MetaDevice() { meta = before_; }
bool MetaDevice::active() { return meta; }

}  // namespace espalier
