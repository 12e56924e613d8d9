#include "espalier/cuda/cudnn_graph.h"

#include <algorithm>

#include "espalier/cuda/runtime.h"
#include "espalier/util/error.h"

namespace espalier::cuda {
namespace {

std::optional<Descriptor> card;  // described
int64_t descriptions = 0;

/// Reads an attribute of at most so many values; returns how many it has. What holds descriptors is read into
/// descriptors of its kind.
int64_t get(const Descriptor& from, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
            int64_t max_values, void* into) {
  int64_t count = 0;
  check(cudnnBackendGetAttribute(from.get(), name, type, max_values, &count, into),
        "cudnnBackendGetAttribute");
  return count;
}

/// The same bits each time, and operands as exact as asked for: TensorFloat-32 is what tensor cores make of
/// f32, and bf16 they take as it is; engines that round operands or sums to fewer bits are for none.
bool allowed(cudnnBackendNumericalNote_t note, Precision precision) {
  switch (note) {
    case CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC:
    case CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS:
    case CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION:
      return false;
    case CUDNN_NUMERICAL_NOTE_TENSOR_CORE:
      return precision != Precision::f32;
    default:
      return true;
  }
}

}  // namespace

Descriptor::Descriptor(cudnnBackendDescriptorType_t type) {
  ESP_CUDA(cudnnBackendCreateDescriptor(type, &handle_));
}
Descriptor::~Descriptor() {
  if (handle_) cudnnBackendDestroyDescriptor(handle_);
}
Descriptor& Descriptor::set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count,
                            const void* values) {
  ESP_CUDA(cudnnBackendSetAttribute(handle_, name, type, count, values));
  return *this;
}
Descriptor& Descriptor::set(cudnnBackendAttributeName_t name, int64_t value) {
  return set(name, CUDNN_TYPE_INT64, 1, &value);
}
Descriptor& Descriptor::set(cudnnBackendAttributeName_t name, double value) {
  return set(name, CUDNN_TYPE_DOUBLE, 1, &value);
}
Descriptor& Descriptor::set(cudnnBackendAttributeName_t name, cudnnDataType_t value) {
  return set(name, CUDNN_TYPE_DATA_TYPE, 1, &value);
}
Descriptor& Descriptor::set(cudnnBackendAttributeName_t name, const std::vector<int64_t>& values) {
  return set(name, CUDNN_TYPE_INT64, static_cast<int64_t>(values.size()), values.data());
}
Descriptor& Descriptor::set(cudnnBackendAttributeName_t name, const Descriptor& value) {
  return set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value.handle_);
}
Descriptor& Descriptor::finalize(const char* what) {
  check(cudnnBackendFinalize(handle_), what);
  return *this;
}
bool Descriptor::try_finalize() { return cudnnBackendFinalize(handle_) == CUDNN_STATUS_SUCCESS; }

void plan_for_described_card(const std::string& json) {
  card.reset();
  ++descriptions;
  if (json.empty()) return;
  Descriptor fresh(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
  fresh.set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, static_cast<int64_t>(json.size()),
            json.data());
  card = std::move(fresh.finalize("the description of a card"));
}
int64_t described_card() { return card ? descriptions : 0; }

Descriptor image_tensor(int64_t id, int64_t n, int64_t c, int64_t h, int64_t w, DType dtype, bool between) {
  Descriptor tensor(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  tensor.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, id)
      .set(CUDNN_ATTR_TENSOR_DATA_TYPE, dtype == DType::bf16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT)
      .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, int64_t{16})
      .set(CUDNN_ATTR_TENSOR_DIMENSIONS, {n, c, h, w})
      .set(CUDNN_ATTR_TENSOR_STRIDES, {h * w * c, 1, w * c, c})
      .set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &between)
      .finalize("a tensor's description");
  return tensor;
}

std::optional<GraphPlan> GraphPlan::find(const std::vector<const Descriptor*>& operations,
                                         Precision precision) {
  std::vector<cudnnBackendDescriptor_t> all;
  for (const Descriptor* operation : operations) all.push_back(operation->get());
  Descriptor graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, static_cast<int64_t>(all.size()),
            all.data());
  if (!card) {
    const cudnnHandle_t handle = cudnn();
    graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle);
  }
  graph.finalize("a graph of cuDNN");
  GraphPlan plan;
  for (const auto mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK})
    if (plan.try_engines(graph, mode, precision)) return plan;
  return std::nullopt;
}

bool GraphPlan::try_engines(const Descriptor& graph, cudnnBackendHeurMode_t mode, Precision precision) {
  Descriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph)
      .set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
  if (card) heuristics.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, *card);
  if (!heuristics.try_finalize()) return false;

  constexpr auto results = CUDNN_ATTR_ENGINEHEUR_RESULTS;
  std::vector<Descriptor> configs;
  std::vector<cudnnBackendDescriptor_t> raw;
  for (int64_t n = get(heuristics, results, CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, nullptr); n > 0; --n) {
    configs.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    raw.push_back(configs.back().get());
  }
  if (configs.empty()) return false;
  const int64_t found =
      get(heuristics, results, CUDNN_TYPE_BACKEND_DESCRIPTOR, static_cast<int64_t>(raw.size()), raw.data());
  configs.erase(configs.begin() + found, configs.end());

  for (const Descriptor& config : configs) {
    const Descriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    cudnnBackendDescriptor_t into = engine.get();
    get(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &into);
    std::vector<cudnnBackendNumericalNote_t> notes(CUDNN_NUMERICAL_NOTE_TYPE_COUNT);
    notes.resize(static_cast<size_t>(get(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                                         CUDNN_NUMERICAL_NOTE_TYPE_COUNT, notes.data())));
    if (!std::all_of(notes.begin(), notes.end(), [&](auto note) { return allowed(note, precision); }))
      continue;
    Descriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
    if (card) {
      plan.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, *card);
    } else {
      const cudnnHandle_t handle = cudnn();
      plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle);
    }
    if (!plan.try_finalize()) continue;
    int64_t bytes = 0;
    get(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &bytes);
    get(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &engine_);
    scratch_bytes_ = static_cast<size_t>(bytes);
    notes_ = std::move(notes);
    plan_ = std::move(plan);
    return true;
  }
  return false;
}

void GraphPlan::run(const std::vector<std::pair<int64_t, const void*>>& tensors, void* scratch) const {
  std::vector<int64_t> ids;
  std::vector<const void*> pointers;
  for (const auto& [id, pointer] : tensors) {
    ids.push_back(id);
    pointers.push_back(pointer);
  }
  Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, ids)
      .set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, static_cast<int64_t>(pointers.size()),
           pointers.data());
  if (scratch_bytes_ > 0) pack.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &scratch);
  pack.finalize("the pointers of a plan");
  ESP_CUDA(cudnnBackendExecute(cudnn(), plan_.get(), pack.get()));
}

}  // namespace espalier::cuda
