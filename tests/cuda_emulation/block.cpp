#include "espalier/cuda_emulation/block.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <deque>
#include <memory>
#include <numeric>
#include <random>
#include <string_view>
#include <vector>

#include "espalier/cuda_emulation/device.h"
#include "espalier/cuda_emulation/fiber.h"

constinit thread_local uint3 threadIdx{}, blockIdx{};
constinit thread_local dim3 blockDim{}, gridDim{};

namespace espalier::emulation {

namespace {

constexpr int warp_size = 32;

enum class State : uint8_t { fresh, running, at_barrier, in_warp, done };

struct Thread {
  uint3 index;
  State state;
  Fiber* fiber;
  Site site;  // where it waits
  // in a warp operation
  WarpOperation operation;
  unsigned mask;
  int source;
  uint64_t value, result;
  int barrier_value;
};

std::string text(const Site& site) {
  const std::string_view path = site.file_name();
  return fmt::format("{}:{}", path.substr(path.rfind('/') + 1), site.line());
}
std::string text(const uint3& at) { return fmt::format("({},{},{})", at.x, at.y, at.z); }
bool same(const Site& a, const Site& b) { return a.line() == b.line() && a.column() == b.column(); }

/// The block that a thread of the system is at; kept from block to block for its fibers and lists.
class Block {
 public:
  std::string run(const BlockOfGrid& what);
  void barrier(int value, const Site& site);
  uint64_t warp(WarpOperation operation, unsigned mask, uint64_t value, int source, const Site& site);
  void* dynamic_shared() const { return dynamic_shared_; }
  int barrier_sum() const { return barrier_sum_; }
  bool running() const { return running_; }

 private:
  static void fiber_loop();
  void start(const BlockOfGrid& what);
  void schedule();
  void run_fresh_threads();
  void wait(State state);
  void release_barrier();
  void finish_warp(int base, unsigned mask);
  void explain_deadlock();
  [[noreturn]] void give_up(std::string&& problem);
  std::string where(const Thread& thread) const {
    return fmt::format("thread {} at {}", text(thread.index), text(thread.site));
  }

  std::vector<Thread> threads_;
  std::vector<int> order_;
  std::deque<Thread*> ready_;  // those that waited and may go on
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_;
  std::array<unsigned, warp_size> arrived_{};  // lanes of each warp that wait in a warp operation
  Thread* current_ = nullptr;
  Fiber* running_fiber_ = nullptr;
  int next_ = 0, done_ = 0, at_barrier_ = 0, barrier_sum_ = 0;
  const std::function<void()>* body_ = nullptr;
  void* dynamic_shared_ = nullptr;
  bool running_ = false;
  std::string problem_;
};

Block& block() {
  static thread_local Block block;
  return block;
}

std::string Block::run(const BlockOfGrid& what) {
  start(what);
  running_ = true;
  schedule();
  running_ = false;
  if (problem_.empty()) return {};
  // Threads that wait will never go on; what lies on their stacks is left.
  fibers_.clear();
  idle_.clear();
  return fmt::format("block {}: {}", text(what.index), problem_);
}

void Block::start(const BlockOfGrid& what) {
  const dim3 size = what.block;
  const int count = static_cast<int>(size.x * size.y * size.z);
  blockIdx = what.index;
  blockDim = size;
  gridDim = what.grid;
  body_ = what.body;
  dynamic_shared_ = what.dynamic_shared;
  threads_.resize(static_cast<size_t>(count));
  order_.resize(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) {
    const auto u = static_cast<unsigned>(i);
    threads_[u].index = {u % size.x, u / size.x % size.y, u / (size.x * size.y)};
    threads_[u].state = State::fresh;
  }
  std::iota(order_.begin(), order_.end(), 0);
  if (what.order == Order::descending) std::reverse(order_.begin(), order_.end());
  if (what.order == Order::shuffled)
    std::shuffle(order_.begin(), order_.end(), std::minstd_rand(1 + what.index.x + 7919 * what.index.y));
  ready_.clear();
  arrived_.fill(0);
  next_ = done_ = at_barrier_ = 0;
  problem_.clear();
}

void Block::schedule() {
  const int count = static_cast<int>(threads_.size());
  while (problem_.empty() && done_ < count) {
    if (!ready_.empty()) {
      current_ = ready_.front();
      ready_.pop_front();
      running_fiber_ = current_->fiber;
    } else if (next_ < count) {
      if (idle_.empty()) {
        fibers_.push_back(std::make_unique<Fiber>(&fiber_loop));
        idle_.push_back(fibers_.back().get());
      }
      running_fiber_ = idle_.back();
      idle_.pop_back();
    } else if (at_barrier_ == count) {
      release_barrier();
      continue;
    } else {
      explain_deadlock();
      return;
    }
    running_fiber_->resume();
  }
}

void Block::fiber_loop() {
  Block& self = block();
  for (;;) {
    self.run_fresh_threads();
    self.idle_.push_back(self.running_fiber_);
    Fiber::suspend();
  }
}

/// Begins threads until one that waited may go on. A thread that waits comes back here when it is done.
void Block::run_fresh_threads() {
  const int count = static_cast<int>(threads_.size());
  while (next_ < count && ready_.empty()) {
    current_ = &threads_[static_cast<size_t>(order_[static_cast<size_t>(next_++)])];
    current_->state = State::running;
    current_->fiber = running_fiber_;
    threadIdx = current_->index;
    (*body_)();
    current_->state = State::done;
    ++done_;
  }
}

void Block::wait(State state) {
  Thread* const self = current_;
  self->state = state;
  Fiber::suspend();
  self->state = State::running;
  current_ = self;
  running_fiber_ = self->fiber;
  threadIdx = self->index;
}

/// `problem` is moved from: what is alive on this stack now is never destroyed.
void Block::give_up(std::string&& problem) {
  problem_.clear();
  problem_.swap(problem);
  problem.shrink_to_fit();
  for (;;) Fiber::suspend();  // never resumed
}

void Block::barrier(int value, const Site& site) {
  current_->site = site;
  current_->barrier_value = value;
  ++at_barrier_;
  wait(State::at_barrier);
}

void Block::release_barrier() {
  barrier_sum_ = 0;
  for (Thread& thread : threads_) {
    if (!same(thread.site, threads_[0].site)) {
      problem_ =
          fmt::format("divergent barrier: {} waits, {} waits elsewhere", where(threads_[0]), where(thread));
      return;
    }
    barrier_sum_ += thread.barrier_value;
  }
  at_barrier_ = 0;
  for (const int i : order_) ready_.push_back(&threads_[static_cast<size_t>(i)]);
}

void Block::explain_deadlock() {
  const auto in = [&](State state) {
    return std::find_if(threads_.begin(), threads_.end(),
                        [&](const Thread& thread) { return thread.state == state; });
  };
  const auto end = threads_.end();
  const auto in_warp = in(State::in_warp), at_barrier = in(State::at_barrier), done = in(State::done);
  if (in_warp != end)
    problem_ = fmt::format("divergent warp operation: {} waits for lanes that do not come", where(*in_warp));
  else
    problem_ = fmt::format("divergent barrier: {} waits, thread {} has returned", where(*at_barrier),
                           done == end ? std::string("?") : text(done->index));
}

uint64_t Block::warp(WarpOperation operation, unsigned mask, uint64_t value, int source, const Site& site) {
  Thread* const self = current_;
  const int index = static_cast<int>(self - threads_.data());
  const int base = index / warp_size * warp_size, lane = index % warp_size;
  self->operation = operation;
  self->mask = mask;
  self->value = value;
  self->source = source;
  self->site = site;
  if ((mask >> lane & 1) == 0) {
    std::string why = fmt::format("warp operation without its own lane in the mask: {}", where(*self));
    give_up(std::move(why));
  }
  unsigned& arrived = arrived_[static_cast<size_t>(index / warp_size)];
  arrived |= 1U << lane;
  if ((arrived & mask) == mask) {
    arrived &= ~mask;
    finish_warp(base, mask);
  } else {
    wait(State::in_warp);
  }
  return self->result;
}

/// All lanes of `mask` have come, the current one last.
void Block::finish_warp(int base, unsigned mask) {
  Thread* const lanes = &threads_[static_cast<size_t>(base)];
  unsigned ballot = 0;
  for (int l = 0; l < warp_size; ++l) {
    if ((mask >> l & 1) == 0) continue;
    const Thread& other = lanes[l];
    std::string why;
    if (other.operation != current_->operation || other.mask != mask || !same(other.site, current_->site))
      why = fmt::format("divergent warp operation: {} and {}", where(*current_), where(other));
    else if (other.operation == WarpOperation::shuffle && (mask >> other.source & 1) == 0)
      why = fmt::format("shuffle from a lane outside of the mask: {}", where(other));
    if (!why.empty()) give_up(std::move(why));
    ballot |= static_cast<unsigned>(other.value & 1) << l;
  }
  for (int l = 0; l < warp_size; ++l) {
    if ((mask >> l & 1) == 0) continue;
    Thread& other = lanes[l];
    other.result = other.operation == WarpOperation::shuffle ? lanes[other.source].value : ballot;
    if (&other != current_) ready_.push_back(&other);
  }
}

}  // namespace

std::string run_block(const BlockOfGrid& what) { return block().run(what); }
bool in_kernel() { return block().running(); }
std::string kernel_position() { return fmt::format("block {}, thread {}", text(blockIdx), text(threadIdx)); }

void* dynamic_shared() { return block().dynamic_shared(); }
void barrier(const Site& site) { block().barrier(0, site); }
int barrier_sum(int value, const Site& site) {
  block().barrier(value, site);
  return block().barrier_sum();
}
int lane() {
  return static_cast<int>((threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % warp_size);
}
uint64_t warp(WarpOperation operation, unsigned mask, uint64_t value, int source, const Site& site) {
  return block().warp(operation, mask, value, source, site);
}

}  // namespace espalier::emulation
