#include "espalier/core/cpu/onednn.h"

#include <sys/mman.h>

#include "espalier/core/isa.h"
#include "espalier/util/error.h"

namespace espalier::cpu {

dnnl::engine& onednn_engine() {
  static dnnl::engine engine = [] {
    isa();
    dnnl::set_primitive_cache_capacity(0);  // plans are kept by us: its own would outlive their shapes
    return dnnl::engine(dnnl::engine::kind::cpu, 0);
  }();
  return engine;
}

dnnl::stream& onednn_stream() {
  thread_local dnnl::stream stream(onednn_engine());
  return stream;
}

void expect_room_for_code() {
  // A primitive maps 256 KiB for each of its kernels, of which it has one to three, or some dozens.
  constexpr size_t room = size_t{32} << 20;
  void* const probe = mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ESP_CHECK(
      probe != MAP_FAILED,
      "out of memory: no 32 MiB of address space are left for the code that oneDNN generates for a layer; "
      "let the process have more (ulimit -v)");
  munmap(probe, room);
}

dnnl::primitive_attr with_scratch() {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attributes;
}

Primitive::Primitive(dnnl::primitive primitive, const std::vector<std::pair<int, dnnl::memory::desc>>& slots,
                     const dnnl::memory::desc& scratch)
    : primitive_(std::move(primitive)), scratch_bytes_(scratch.get_size()) {
  for (const auto& [argument, desc] : slots) {
    slots_.push_back(dnnl::memory(desc, onednn_engine(), DNNL_MEMORY_NONE));
    arguments_.emplace(argument, slots_.back());
  }
  scratch_ = dnnl::memory(scratch, onednn_engine(), DNNL_MEMORY_NONE);
  arguments_.emplace(DNNL_ARG_SCRATCHPAD, scratch_);
}

std::string Primitive::implementation() const {
  const char* name = nullptr;
  dnnl::error::wrap_c_api(
      dnnl_primitive_desc_query(primitive_.get_primitive_desc(), dnnl_query_impl_info_str, 0, &name),
      "onednn: a primitive does not say what it runs");
  return name;
}

void Primitive::run(std::initializer_list<const void*> pointers, void* scratch) {
  size_t slot = 0;
  for (const void* pointer : pointers) slots_[slot++].set_data_handle(const_cast<void*>(pointer));
  scratch_.set_data_handle(scratch);
  primitive_.execute(onednn_stream(), arguments_);  // in order, and done on return on a CPU
}

}  // namespace espalier::cpu
