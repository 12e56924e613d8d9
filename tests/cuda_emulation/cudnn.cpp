// cuDNN's backend for the emulator. What is set of descriptors is kept, and goes to the real library, which
// checks each graph and chooses and finalizes its engine for a described H100. Only running a plan is ours.
#include <cudnn_graph.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>

#include "espalier/cuda_emulation/convolution.h"
#include "espalier/cuda_emulation/cudnn_node.h"
#include "espalier/cuda_emulation/library_call.h"
#include "espalier/cuda_emulation/problems.h"
#include "espalier/cuda_emulation/real_cudnn.h"

struct cudnnContext {
  cudaStream_t stream = nullptr;
};

namespace espalier::emulation {

Node::~Node() {
  if (real != nullptr) real_cudnn().destroy(real);
}

namespace {

constexpr size_t data_alignment = 16;

thread_local std::string last_error;

cudnnStatus_t refuse_call(cudnnStatus_t status, const std::string& why) {
  last_error = "emulated: " + why;
  return status;
}
/// The real library's answer, with its words.
cudnnStatus_t answer(cudnnStatus_t status) {
  if (status == CUDNN_STATUS_SUCCESS) return status;
  char text[2048] = "";
  real_cudnn().last_error(text, sizeof text);
  last_error = text;
  return status;
}

NodePointer& of(cudnnBackendDescriptor_t handle) { return *static_cast<NodePointer*>(handle); }

size_t size_of(cudnnBackendAttributeType_t type) {
  switch (type) {
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_DOUBLE:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_BACKEND_DESCRIPTOR:
      return 8;
    case CUDNN_TYPE_BOOLEAN:
    case CUDNN_TYPE_CHAR:
      return 1;
    default:
      return 4;  // enumerations
  }
}

/// Descriptors that only this process's memory and streams matter to.
bool ours_alone(const Node& node) { return node.type == CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR; }

/// Where the caller described no card of its own and gave a handle, the emulated card's description.
cudnnStatus_t set_card(const Node& node, cudnnBackendAttributeName_t name) {
  if (node.nodes.count(name) > 0) return CUDNN_STATUS_SUCCESS;
  return real_cudnn().set(node.real, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &real_cudnn().card);
}

/// The engine rounds operands to TF32: what tensor cores make of f32.
bool uses_tensor_cores(const Node& plan) {
  const Node* const config = plan.node(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
  const RealCudnn& real = real_cudnn();
  if (config == nullptr) return false;
  Node engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  int64_t count = 0;
  cudnnBackendNumericalNote_t notes[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
  if (real.create(engine.type, &engine.real) != CUDNN_STATUS_SUCCESS ||
      real.get(config->real, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count,
               &engine.real) != CUDNN_STATUS_SUCCESS ||
      real.get(engine.real, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
               CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &count, notes) != CUDNN_STATUS_SUCCESS)
    return false;
  return std::find(notes, notes + count, CUDNN_NUMERICAL_NOTE_TENSOR_CORE) != notes + count;
}

int64_t workspace_of(const Node& plan) {
  int64_t count = 0, bytes = 0;
  real_cudnn().get(plan.real, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &count, &bytes);
  return bytes;
}

/// A plan's pointers by the tensors' ids.
std::map<int64_t, void*> pointers_of(const Node& pack) {
  const auto ids = pack.all<int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
  const auto pointers = pack.all<void*>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
  std::map<int64_t, void*> by_id;
  for (size_t i = 0; i < std::min(ids.size(), pointers.size()); ++i) by_id[ids[i]] = pointers[i];
  return by_id;
}

}  // namespace

extern "C" {

// --- the library
cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  *handle = new cudnnContext;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
  delete handle;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  handle->stream = stream;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnGetStream(cudnnHandle_t handle, cudaStream_t* stream) {
  *stream = handle->stream;
  return CUDNN_STATUS_SUCCESS;
}
size_t cudnnGetVersion() { return real_cudnn().version(); }
const char* cudnnGetErrorString(cudnnStatus_t status) {
  static thread_local std::string text;
  switch (status) {
    case CUDNN_STATUS_SUCCESS:
      return "CUDNN_STATUS_SUCCESS";
    case CUDNN_STATUS_BAD_PARAM:
      return "CUDNN_STATUS_BAD_PARAM";
    case CUDNN_STATUS_NOT_SUPPORTED:
      return "CUDNN_STATUS_NOT_SUPPORTED";
    case CUDNN_STATUS_EXECUTION_FAILED:
      return "CUDNN_STATUS_EXECUTION_FAILED";
    default:
      text = fmt::format("cuDNN status {}", static_cast<int>(status));
  }
  return text.c_str();
}
void cudnnGetLastErrorString(char* text, size_t bytes) {
  if (bytes == 0) return;
  const size_t copied = last_error.copy(text, bytes - 1);
  text[copied] = 0;
}

// --- descriptors
cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type,
                                           cudnnBackendDescriptor_t* handle) {
  auto node = std::make_shared<Node>(type);
  if (!ours_alone(*node))
    if (const auto status = real_cudnn().create(type, &node->real); status != CUDNN_STATUS_SUCCESS)
      return answer(status);
  *handle = new NodePointer(std::move(node));
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t handle) {
  delete &of(handle);
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t handle, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t count, const void* values) {
  Node& node = *of(handle);
  if (node.finalized) return refuse_call(CUDNN_STATUS_NOT_SUPPORTED, "an attribute is set after finalizing");
  if (type != CUDNN_TYPE_BACKEND_DESCRIPTOR) {
    const auto* const bytes = static_cast<const char*>(values);
    node.values[name].assign(bytes, bytes + static_cast<size_t>(count) * size_of(type));
    if (type == CUDNN_TYPE_HANDLE || node.real == nullptr) return CUDNN_STATUS_SUCCESS;
    return answer(real_cudnn().set(node.real, name, type, count, values));
  }
  std::vector<NodePointer>& kept = node.nodes[name];
  kept.clear();
  std::vector<cudnnBackendDescriptor_t> real;
  for (int64_t i = 0; i < count; ++i) {
    kept.push_back(of(static_cast<const cudnnBackendDescriptor_t*>(values)[i]));
    if (!kept.back()->finalized)
      return refuse_call(CUDNN_STATUS_BAD_PARAM, "a descriptor is used before finalizing");
    real.push_back(kept.back()->real);
  }
  return node.real == nullptr ? CUDNN_STATUS_SUCCESS
                              : answer(real_cudnn().set(node.real, name, type, count, real.data()));
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t handle) {
  const KeepsMemory for_good;
  Node& node = *of(handle);
  if (node.real != nullptr) {
    cudnnStatus_t status = CUDNN_STATUS_SUCCESS;
    if (node.type == CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR)
      status = set_card(node, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP);
    if (node.type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR)
      status = set_card(node, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP);
    if (status == CUDNN_STATUS_SUCCESS) status = real_cudnn().finalize(node.real);
    if (status != CUDNN_STATUS_SUCCESS) return answer(status);
  }
  node.finalized = true;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t handle, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t wanted, int64_t* count,
                                       void* values) {
  const NodePointer node = of(handle);
  if (!node->finalized) return refuse_call(CUDNN_STATUS_BAD_PARAM, "an attribute is read before finalizing");
  int64_t ignored = 0;
  if (count == nullptr) count = &ignored;
  const bool descriptors = type == CUDNN_TYPE_BACKEND_DESCRIPTOR;
  auto* const into = static_cast<cudnnBackendDescriptor_t*>(values);

  const KeepsMemory for_good;
  if (node->real != nullptr) {
    std::vector<cudnnBackendDescriptor_t> real;
    for (int64_t i = 0; descriptors && i < wanted; ++i) real.push_back(of(into[i])->real);
    void* const answered = descriptors ? (wanted > 0 ? real.data() : nullptr) : values;
    if (const auto status = real_cudnn().get(node->real, name, type, wanted, count, answered);
        status != CUDNN_STATUS_SUCCESS)
      return answer(status);
  } else {
    *count = 0;
  }
  for (int64_t i = 0; descriptors && i < std::min(wanted, *count); ++i) {
    of(into[i])->finalized = true;
    if (name == CUDNN_ATTR_ENGINEHEUR_RESULTS)
      of(into[i])->graph = node->nodes.at(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH).front();
  }
  return CUDNN_STATUS_SUCCESS;
}

// --- running
cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan_handle,
                                  cudnnBackendDescriptor_t pack_handle) {
  const std::scoped_lock lock(api_mutex());
  const Node &plan = *of(plan_handle), &pack = *of(pack_handle);
  if (!plan.finalized || !pack.finalized)
    return refuse_call(CUDNN_STATUS_BAD_PARAM, "a plan runs before it or its pointers are finalized");
  if (plan.nodes.count(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP) > 0)
    return refuse_call(CUDNN_STATUS_BAD_PARAM, "a plan for a described card cannot run");
  const Node* const config = plan.node(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
  if (config == nullptr || config->graph == nullptr)
    return refuse_call(CUDNN_STATUS_NOT_SUPPORTED, "a plan's engine does not come from heuristics");
  Convolution convolution;
  if (const std::string why = understand(convolution, *config->graph); !why.empty())
    return refuse_call(CUDNN_STATUS_NOT_SUPPORTED, why);

  const auto pointers = pointers_of(pack);
  const auto pointer = [&](int64_t id) {
    const auto found = pointers.find(id);
    return found == pointers.end() ? nullptr : found->second;
  };
  const ConvolutionPointers at{pointer(convolution.image), pointer(convolution.weights),
                               pointer(convolution.output), pointer(convolution.bias),
                               pointer(convolution.residual)};
  const ConvShape& s = convolution.shape;
  const auto bytes = [&](int64_t numbers) {
    return static_cast<size_t>(numbers) * (convolution.bf16 ? 2 : 4);
  };
  std::vector<Operand> operands = {
      {"the image", at.image, bytes(s.n * s.h * s.w * s.c), data_alignment},
      {"the weights", at.weights, bytes(s.o * s.kh * s.kw * (s.c / s.groups)), data_alignment},
      {"the output", at.output, bytes(s.n * s.out_h() * s.out_w() * s.o), data_alignment}};
  if (convolution.bias >= 0) operands.push_back({"the bias", at.bias, bytes(s.o), data_alignment});
  if (convolution.residual >= 0)
    operands.push_back({"the residual", at.residual, operands[2].bytes, data_alignment});
  if (const int64_t wanted = workspace_of(plan); wanted > 0)
    operands.push_back({"the workspace", pack.one<void*>(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, nullptr),
                        static_cast<size_t>(wanted), data_alignment});
  if (const std::string why = refusal(operands); !why.empty())
    return refuse_call(CUDNN_STATUS_BAD_PARAM, why);

  const cudaError_t status = enqueue_library_call(
      handle->stream, [=, tf32 = uses_tensor_cores(plan)] { compute(convolution, at, tf32); });
  return status == cudaSuccess ? CUDNN_STATUS_SUCCESS
                               : refuse_call(CUDNN_STATUS_EXECUTION_FAILED, last_explanation());
}

}  // extern "C"

}  // namespace espalier::emulation
