// What every Highway kernel file shares: loops over vectors with a masked tail. Included once per instruction
// set.
#if defined(ESPALIER_CORE_CPU_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ESPALIER_CORE_CPU_SIMD_INL_H_
#undef ESPALIER_CORE_CPU_SIMD_INL_H_
#else
#define ESPALIER_CORE_CPU_SIMD_INL_H_
#endif

#include <hwy/highway.h>

#include <cstring>
#include <type_traits>

HWY_BEFORE_NAMESPACE();
namespace espalier::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using FloatVector = hn::Vec<Floats>;
using Integers = hn::RebindToSigned<Floats>;

/// Calls body(is_tail, i) for i = begin, begin + lanes, ...: is_tail is std::false_type while a whole vector
/// is left and std::true_type for what remains, so that the body's loads and stores know at compile time.
template <class Body>
HWY_INLINE void for_vectors(int64_t begin, int64_t end, const Body& body) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(Floats()));
  int64_t i = begin;
  for (; i + lanes <= end; i += lanes) body(std::false_type(), i);
  if (i < end) body(std::true_type(), i);
}

/// p[0 .. lanes), or in the tail p[0 .. left) and zeros.
template <class Tail>
HWY_INLINE FloatVector load(Tail, const float* p, int64_t left) {
  const Floats d;
  if constexpr (Tail::value) return hn::MaskedLoad(hn::FirstN(d, static_cast<size_t>(left)), d, p);
  return hn::LoadU(d, p);
}

template <class Tail>
HWY_INLINE void store(Tail, FloatVector v, float* p, int64_t left) {
  const Floats d;
  if constexpr (Tail::value)
    hn::BlendedStore(v, hn::FirstN(d, static_cast<size_t>(left)), d, p);
  else
    hn::StoreU(v, d, p);
}

/// store, or add to what is there.
template <class Tail>
HWY_INLINE void put(Tail tail, FloatVector v, float* p, int64_t left, bool accumulate) {
  store(tail, accumulate ? hn::Add(v, load(tail, p, left)) : v, p, left);
}

/// Bytes as floats.
template <class Tail>
HWY_INLINE FloatVector load_bytes(Tail, const uint8_t* p, int64_t left) {
  const Floats d;
  const hn::Rebind<uint8_t, Floats> bytes;
  const Integers ints;
  if constexpr (Tail::value) {
    HWY_ALIGN uint8_t padded[hn::MaxLanes(d)] = {};
    std::memcpy(padded, p, static_cast<size_t>(left));
    return hn::ConvertTo(d, hn::PromoteTo(ints, hn::LoadU(bytes, padded)));
  }
  return hn::ConvertTo(d, hn::PromoteTo(ints, hn::LoadU(bytes, p)));
}

/// Integers of 0 to 255 as bytes.
template <class Tail>
HWY_INLINE void store_bytes(Tail, hn::Vec<Integers> v, uint8_t* p, int64_t left) {
  const hn::Rebind<uint8_t, Floats> bytes;
  const auto narrow = hn::DemoteTo(bytes, v);
  if constexpr (Tail::value) {
    HWY_ALIGN uint8_t padded[hn::MaxLanes(Floats())];
    hn::StoreU(narrow, bytes, padded);
    std::memcpy(p, padded, static_cast<size_t>(left));
  } else {
    hn::StoreU(narrow, bytes, p);
  }
}

}  // namespace espalier::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
