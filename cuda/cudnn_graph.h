// cuDNN's graph interface, as little of it as convolutions need: descriptors that end with their scope, and a
// plan, which is a graph of operations with the engine that was selected to run it.
#pragma once

#include <cudnn_graph.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "espalier/core/cuda_device.h"
#include "espalier/core/tensor.h"

namespace espalier::cuda {

/// One descriptor of cuDNN's backend, of whatever kind.
class Descriptor {
 public:
  explicit Descriptor(cudnnBackendDescriptorType_t type);
  Descriptor(Descriptor&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Descriptor();

  Descriptor& set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count,
                  const void* values);
  Descriptor& set(cudnnBackendAttributeName_t name, int64_t value);
  Descriptor& set(cudnnBackendAttributeName_t name, double value);
  Descriptor& set(cudnnBackendAttributeName_t name, cudnnDataType_t value);
  Descriptor& set(cudnnBackendAttributeName_t name, const std::vector<int64_t>& values);
  Descriptor& set(cudnnBackendAttributeName_t name, const Descriptor& value);
  Descriptor& finalize(const char* what);
  /// For what is tried: whether it could be finalised.
  bool try_finalize();

  cudnnBackendDescriptor_t get() const { return handle_; }

 private:
  cudnnBackendDescriptor_t handle_ = nullptr;
};

/// Plans are made for the card itself or, for tests on machines without one, for a card that is described by
/// cuDNN's JSON ("" goes back to the card itself). A plan for a described card cannot run.
void plan_for_described_card(const std::string& json);
/// Changes with each call of plan_for_described_card; 0: the card itself.
int64_t described_card();

/// [n,c,h,w], f32 or bf16, in the order in which cuDNN counts, with channels innermost in memory; `id` names
/// it when the plan runs. What is `between` two operations of a graph is in nobody's memory.
Descriptor image_tensor(int64_t id, int64_t n, int64_t c, int64_t h, int64_t w, DType dtype,
                        bool between = false);

/// What runs a graph.
class GraphPlan {
 public:
  /// By the first engine that cuDNN proposes for the operations (its heuristics, then those that take
  /// anything) which gives the same bits each time, keeps operands at `precision`, and can be had; none if
  /// there is none.
  static std::optional<GraphPlan> find(const std::vector<const Descriptor*>& operations, Precision precision);

  size_t scratch_bytes() const { return scratch_bytes_; }
  /// What cuDNN says of the engine's numbers.
  const std::vector<cudnnBackendNumericalNote_t>& notes() const { return notes_; }
  /// cuDNN's number of the engine, for tables.
  int64_t engine() const { return engine_; }

  /// Runs with the pointer of each tensor id.
  void run(const std::vector<std::pair<int64_t, const void*>>& tensors, void* scratch) const;

 private:
  GraphPlan() = default;
  bool try_engines(const Descriptor& graph, cudnnBackendHeurMode_t mode, Precision precision);

  Descriptor plan_{CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR};
  size_t scratch_bytes_ = 0;
  std::vector<cudnnBackendNumericalNote_t> notes_;
  int64_t engine_ = -1;
};

}  // namespace espalier::cuda
