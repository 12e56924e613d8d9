// oneDNN, wrapped once: the engine, a stream for each thread, and a primitive with its arguments.
#pragma once

#include <dnnl.hpp>
#include <string>
#include <unordered_map>
#include <utility>

namespace espalier::cpu {

using Dims = dnnl::memory::dims;
using Tag = dnnl::memory::format_tag;

/// Limits oneDNN to the instruction set in force before anything else is asked of it.
dnnl::engine& onednn_engine();
dnnl::stream& onednn_stream();

inline dnnl::memory::desc f32_desc(const Dims& dims, Tag tag) {
  return {dims, dnnl::memory::data_type::f32, tag};
}
inline dnnl::memory::desc f32_desc(const Dims& dims, const Dims& strides) {
  return {dims, dnnl::memory::data_type::f32, strides};
}
/// To be called before a primitive is made: error if there is no memory for the code that oneDNN generates,
/// for it crashes where there is none.
void expect_room_for_code();
/// An attribute that lets the caller bring the scratch memory.
dnnl::primitive_attr with_scratch();

/// A primitive and its argument slots, which get their pointers at each run.
class Primitive {
 public:
  Primitive() = default;
  /// `slots`: argument number and layout of each; scratch: the primitive's scratchpad_desc.
  Primitive(dnnl::primitive primitive, const std::vector<std::pair<int, dnnl::memory::desc>>& slots,
            const dnnl::memory::desc& scratch);

  size_t scratch_bytes() const { return scratch_bytes_; }
  /// oneDNN's name of the code it chose: "jit:avx512_core"; "ref:any" is its slow reference.
  std::string implementation() const;
  /// Runs with `pointers` in the order of the slots. oneDNN does not write through those of inputs.
  void run(std::initializer_list<const void*> pointers, void* scratch);

 private:
  dnnl::primitive primitive_;
  std::vector<dnnl::memory> slots_;
  dnnl::memory scratch_;
  size_t scratch_bytes_ = 0;
  std::unordered_map<int, dnnl::memory> arguments_;
};

}  // namespace espalier::cpu
