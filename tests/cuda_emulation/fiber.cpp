#include "espalier/cuda_emulation/fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#elif defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

// Saves the callee's registers and the stack pointer, and goes on where another stack was left so.
extern "C" void espalier_switch_stack(void** save, void* load);
#if defined(__x86_64__)
asm(R"(
.text
.globl espalier_switch_stack
.type espalier_switch_stack,@function
espalier_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size espalier_switch_stack, .-espalier_switch_stack
)");
#else
#error "the emulator's switch of stacks is written for x86-64"
#endif

namespace espalier::emulation {

namespace {

constexpr size_t guard_bytes = 4096;
constexpr size_t stack_bytes = size_t{128} << 10;
constexpr int saved_registers = 6;

/// The thread's own stack while a fiber runs on it.
struct Home {
  Fiber* running = nullptr;
  void* stack_pointer = nullptr;
  const void* bottom = nullptr;
  size_t bytes = 0;
  void* shadow = nullptr;
};
thread_local Home home;

// What sanitizers are told: AddressSanitizer of the stack that is left and the one that is gone to,
// ThreadSanitizer of the thread that a fiber is to it. A switch orders what lies before and after it.
#if defined(__SANITIZE_ADDRESS__)
void* new_shadow() { return nullptr; }
void delete_shadow(void*) {}
void leave(void** shadow, void*, const void* bottom, size_t bytes) {
  __sanitizer_start_switch_fiber(shadow, bottom, bytes);
}
void arrive(void* shadow, const void** bottom, size_t* bytes) {
  __sanitizer_finish_switch_fiber(shadow, bottom, bytes);
}
/// Frames that were never returned from leave their marks for whoever has these addresses next.
void forget(void* stack, size_t bytes) { __asan_unpoison_memory_region(stack, bytes); }
#elif defined(__SANITIZE_THREAD__)
// One for all fibers of a thread: a switch orders them whatever they are called, and one each, a thousand to
// a block, would make every switch as slow as that many threads' clocks are. Of the frames in a report the
// first is right, those below it may be another fiber's.
thread_local void* shared_shadow = nullptr;
thread_local int64_t sharing = 0;
void* new_shadow() {
  if (sharing++ == 0) shared_shadow = __tsan_create_fiber(0);
  return shared_shadow;
}
void delete_shadow(void* shadow) {
  if (--sharing == 0) __tsan_destroy_fiber(shadow);
}
// Inlined: a function that is left on another stack than it was entered on would confuse its view of both.
[[gnu::always_inline]] inline void leave(void** shadow, void* other, const void*, size_t) {
  *shadow = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(other, 0);
}
void arrive(void*, const void**, size_t*) {}
void forget(void*, size_t) {}
#else
void* new_shadow() { return nullptr; }
void delete_shadow(void*) {}
void leave(void**, void*, const void*, size_t) {}
void arrive(void*, const void**, size_t*) {}
void forget(void*, size_t) {}
#endif

}  // namespace

/// The first frame of every fiber.
void begin_fiber() {
  arrive(nullptr, &home.bottom, &home.bytes);
  home.running->entry_();
}

Fiber::Fiber(void (*entry)()) : entry_(entry), shadow_(new_shadow()) {
  void* mapping = mmap(nullptr, guard_bytes + stack_bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) throw std::bad_alloc();
  mprotect(mapping, guard_bytes, PROT_NONE);
  mapping_ = static_cast<char*>(mapping);
  // As espalier_switch_stack leaves a stack: registers, then where to go on; aligned as after a call.
  auto** top = reinterpret_cast<void**>(mapping_ + guard_bytes + stack_bytes) - 1;
  *--top = reinterpret_cast<void*>(&begin_fiber);
  stack_pointer_ = top - saved_registers;
}

Fiber::~Fiber() {
  delete_shadow(shadow_);
  forget(mapping_ + guard_bytes, stack_bytes);
  munmap(mapping_, guard_bytes + stack_bytes);
}

void Fiber::resume() {
  home.running = this;
  leave(&home.shadow, shadow_, mapping_ + guard_bytes, stack_bytes);
  espalier_switch_stack(&home.stack_pointer, stack_pointer_);
  arrive(home.shadow, nullptr, nullptr);
}

void Fiber::suspend() {
  Fiber* const fiber = home.running;
  leave(&fiber->shadow_, home.shadow, home.bottom, home.bytes);
  espalier_switch_stack(&fiber->stack_pointer_, home.stack_pointer);
  arrive(fiber->shadow_, &home.bottom, &home.bytes);
}

}  // namespace espalier::emulation
