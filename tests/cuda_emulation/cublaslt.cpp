// cuBLASLt for the emulator: the three products of a linear layer and products of activations, many at a
// time, answered by espalier::cpu. Others are refused.
#include <cublasLt.h>
#include <fmt/format.h>

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "espalier/core/kernels.h"
#include "espalier/cuda_emulation/library_call.h"
#include "espalier/cuda_emulation/problems.h"

namespace espalier::emulation {

namespace {

constexpr size_t workspace_wanted = 1024;  // so that one has to be given

/// What was set of a descriptor, by attribute.
class Attributes {
 public:
  void set(int name, const void* value, size_t bytes) {
    values_[name].assign(static_cast<const char*>(value), static_cast<const char*>(value) + bytes);
  }
  template <class T>
  T get(int name, T otherwise) const {
    const auto found = values_.find(name);
    if (found == values_.end() || found->second.size() != sizeof(T)) return otherwise;
    T value;
    std::memcpy(&value, found->second.data(), sizeof value);
    return value;
  }

 private:
  std::map<int, std::vector<char>> values_;
};

struct MatmulDescription : cublasLtMatmulDescOpaque_t {
  cublasComputeType_t compute;
  Attributes attributes;
};
struct MatrixLayout : cublasLtMatrixLayoutOpaque_t {
  cudaDataType type;
  int64_t rows, columns, leading;
  Attributes attributes;
  int64_t batch() const { return attributes.get<int32_t>(CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, 1); }
  bool is_bf16() const { return type == CUDA_R_16BF; }
  bool dense() const {
    const auto offset = attributes.get<int64_t>(CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, 0);
    return (type == CUDA_R_32F || is_bf16()) && leading == rows && (batch() == 1 || offset == rows * columns);
  }
  size_t bytes() const { return static_cast<size_t>(batch() * rows * columns) * (is_bf16() ? 2 : 4); }
};
struct MatmulPreference : cublasLtMatmulPreferenceOpaque_t {
  Attributes attributes;
};

const MatmulDescription& of(cublasLtMatmulDesc_t handle) {
  return *static_cast<const MatmulDescription*>(handle);
}
const MatrixLayout& of(cublasLtMatrixLayout_t handle) { return *static_cast<const MatrixLayout*>(handle); }

/// Column-major d [m,n] = op(a) [m,k] op(b) [k,n], all dense; row-major that is a linear layer's d' = op(b)'
/// op(a)'.
struct Product {
  enum Kind : uint8_t { forward, backward_data, backward_weights, matmul } kind;
  LinearShape shape;  ///< of a linear layer's
  MatmulShape any;    ///< d' = op(b)' op(a)' as a product of activations
  bool tf32, bias, relu;
  bool bf16_operands, bf16_result;
};

/// "" or why there is no such product here, or none at all.
std::string understand(Product& product, const MatmulDescription& d, const MatrixLayout& a,
                       const MatrixLayout& b, const MatrixLayout& c) {
  const auto transposed = [&](int which) { return d.attributes.get(which, CUBLAS_OP_N) != CUBLAS_OP_N; };
  const bool ta = transposed(CUBLASLT_MATMUL_DESC_TRANSA), tb = transposed(CUBLASLT_MATMUL_DESC_TRANSB);
  const int64_t m = ta ? a.columns : a.rows, k = ta ? a.rows : a.columns;
  const int64_t n = tb ? b.rows : b.columns, k_of_b = tb ? b.columns : b.rows;
  if (k != k_of_b || m != c.rows || n != c.columns)
    return fmt::format("shapes do not fit: {}x{} times {}x{} is not {}x{}", m, k, k_of_b, n, c.rows,
                       c.columns);
  if (!a.dense() || !b.dense() || !c.dense()) return "only dense f32 and bf16 matrices are emulated";
  if (a.type != b.type || (c.is_bf16() && !a.is_bf16()))
    return "only operands of one type, and a result of theirs or f32, are emulated";
  product.bf16_operands = a.is_bf16();
  product.bf16_result = c.is_bf16();
  if (product.bf16_operands && d.compute != CUBLAS_COMPUTE_32F)
    return "bf16 operands with another compute type than f32 are not emulated";
  if (d.compute != CUBLAS_COMPUTE_32F && d.compute != CUBLAS_COMPUTE_32F_FAST_TF32)
    return fmt::format("compute type {} is not emulated", static_cast<int>(d.compute));
  if (a.batch() != b.batch() || a.batch() != c.batch())
    return fmt::format("{} times {} products are not {}", a.batch(), b.batch(), c.batch());

  product.any = {a.batch(), n, m, k, tb, ta};
  product.kind = a.batch() > 1 || (ta && tb) ? Product::matmul
                 : ta                        ? Product::forward
                 : tb                        ? Product::backward_weights
                                             : Product::backward_data;
  switch (product.kind) {
    case Product::forward:
      product.shape = {n, k, m};
      break;
    case Product::backward_data:
      product.shape = {n, m, k};
      break;
    case Product::backward_weights:
      product.shape = {k, m, n};
      break;
    case Product::matmul:
      break;
  }
  product.tf32 = d.compute == CUBLAS_COMPUTE_32F_FAST_TF32;
  const auto epilogue = d.attributes.get(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_DEFAULT);
  product.bias = epilogue == CUBLASLT_EPILOGUE_BIAS || epilogue == CUBLASLT_EPILOGUE_RELU_BIAS;
  product.relu = epilogue == CUBLASLT_EPILOGUE_RELU || epilogue == CUBLASLT_EPILOGUE_RELU_BIAS;
  const bool known = epilogue == CUBLASLT_EPILOGUE_DEFAULT ||
                     (product.kind == Product::forward && (product.bias || product.relu));
  return known ? "" : fmt::format("epilogue {} is not emulated here", static_cast<int>(epilogue));
}

/// By the CPU's kernels; a, b, d as cuBLASLt has them.
void compute(const Product& product, void* d_, const void* a_, const void* b_, const void* bias_,
             bool accumulate) {
  const LinearShape& s = product.shape;
  const MatmulShape& any = product.any;
  const int64_t a_size = any.batch * any.k * any.n, b_size = any.batch * any.m * any.k,
                d_size = any.batch * any.m * any.n;
  AsFloats of_a(const_cast<void*>(a_), a_size, product.bf16_operands, false),
      of_b(const_cast<void*>(b_), b_size, product.bf16_operands, false),
      of_bias(const_cast<void*>(bias_), s.out, product.bf16_result, false),
      of_d(d_, d_size, product.bf16_result, true);
  const float *a = of_a.data(), *b = of_b.data(), *bias = of_bias.data();
  float* const d = of_d.data();
  std::vector<float> rounded_a, rounded_b;
  if (product.tf32) {
    a = (rounded_a = round_to_tf32(a, static_cast<size_t>(a_size))).data();
    b = (rounded_b = round_to_tf32(b, static_cast<size_t>(b_size))).data();
  }
  const auto with_scratch = [](size_t bytes, auto&& call) {
    std::vector<char> scratch(bytes);
    call(scratch.data());
  };
  // A linear layer's own product forward does not add.
  switch (accumulate && product.kind == Product::forward ? Product::matmul : product.kind) {
    case Product::matmul:
      with_scratch(cpu::matmul_scratch(any, accumulate),
                   [&](void* scratch) { cpu::matmul(d, b, a, any, accumulate, scratch); });
      break;
    case Product::forward:
      with_scratch(cpu::linear_forward_scratch(s, bias != nullptr), [&](void* scratch) {
        cpu::linear_forward(d, b, a, nullptr, bias, product.relu ? Activation::relu : Activation::none, s,
                            scratch);
      });
      break;
    case Product::backward_data:
      with_scratch(cpu::linear_backward_data_scratch(s, accumulate),
                   [&](void* scratch) { cpu::linear_backward_data(d, b, a, s, accumulate, scratch); });
      break;
    case Product::backward_weights:
      with_scratch(cpu::linear_backward_weights_scratch(s, accumulate),
                   [&](void* scratch) { cpu::linear_backward_weights(d, b, a, s, accumulate, scratch); });
      break;
  }
}

cublasStatus_t refuse_product(cublasStatus_t status, const std::string& why) {
  const std::scoped_lock lock(api_mutex());
  refuse(cudaSuccess, "cuBLASLt: " + why);
  return status;
}

}  // namespace

extern "C" {

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  static int one;
  *handle = reinterpret_cast<cublasLtHandle_t>(&one);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t) { return CUBLAS_STATUS_SUCCESS; }
size_t cublasLtGetVersion() { return CUBLAS_VERSION; }
const char* cublasLtGetStatusString(cublasStatus_t status) {
  static thread_local std::string text;
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_INVALID_VALUE:
      text = "CUBLAS_STATUS_INVALID_VALUE";
      break;
    case CUBLAS_STATUS_NOT_SUPPORTED:
      text = "CUBLAS_STATUS_NOT_SUPPORTED";
      break;
    case CUBLAS_STATUS_EXECUTION_FAILED:
      text = "CUBLAS_STATUS_EXECUTION_FAILED";
      break;
    default:
      text = fmt::format("cuBLAS status {}", static_cast<int>(status));
  }
  if (const std::string why = last_explanation(); !why.empty()) text += fmt::format(" [emulated: {}]", why);
  return text.c_str();
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* handle, cublasComputeType_t compute,
                                        cudaDataType_t) {
  auto* const made = new MatmulDescription;
  made->compute = compute;
  *handle = made;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t handle,
                                              cublasLtMatmulDescAttributes_t name, const void* value,
                                              size_t bytes) {
  static_cast<MatmulDescription*>(handle)->attributes.set(name, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t handle) {
  delete static_cast<MatmulDescription*>(handle);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* handle, cudaDataType type, uint64_t rows,
                                          uint64_t columns, int64_t leading) {
  if (leading < static_cast<int64_t>(rows))
    return refuse_product(CUBLAS_STATUS_INVALID_VALUE,
                          fmt::format("a leading dimension of {} for {} rows", leading, rows));
  auto* const made = new MatrixLayout;
  made->type = type;
  made->rows = static_cast<int64_t>(rows);
  made->columns = static_cast<int64_t>(columns);
  made->leading = leading;
  *handle = made;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t handle,
                                                cublasLtMatrixLayoutAttribute_t name, const void* value,
                                                size_t bytes) {
  static_cast<MatrixLayout*>(handle)->attributes.set(name, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t handle) {
  delete static_cast<MatrixLayout*>(handle);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* handle) {
  *handle = new MatmulPreference;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t handle,
                                                    cublasLtMatmulPreferenceAttributes_t name,
                                                    const void* value, size_t bytes) {
  static_cast<MatmulPreference*>(handle)->attributes.set(name, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t handle) {
  delete static_cast<MatmulPreference*>(handle);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t description,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int wanted,
                                              cublasLtMatmulHeuristicResult_t* results, int* found) {
  *found = 0;
  Product product;
  const std::string why = understand(product, of(description), of(a), of(b), of(d));
  if (!why.empty()) return refuse_product(CUBLAS_STATUS_NOT_SUPPORTED, why);
  // Stricter than the library is known to be: PyTorch keeps away from a bias beside a single row or column.
  if (product.bias && (of(d).rows == 1 || of(d).columns == 1))
    return refuse_product(CUBLAS_STATUS_INVALID_VALUE, "a bias beside a single row or column");
  if (wanted < 1) return CUBLAS_STATUS_INVALID_VALUE;
  const size_t allowed = static_cast<MatmulPreference*>(preference)
                             ->attributes.get<uint64_t>(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, 0);
  *results = {};
  results->workspaceSize = std::min(workspace_wanted, allowed);
  results->state = CUBLAS_STATUS_SUCCESS;
  *found = 1;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t description, const void* alpha,
                              const void* a, cublasLtMatrixLayout_t layout_a, const void* b,
                              cublasLtMatrixLayout_t layout_b, const void* beta, const void* c,
                              cublasLtMatrixLayout_t, void* d, cublasLtMatrixLayout_t layout_d,
                              const cublasLtMatmulAlgo_t*, void* workspace, size_t workspace_bytes,
                              cudaStream_t stream) {
  const std::scoped_lock lock(api_mutex());
  Product product;
  std::string why = understand(product, of(description), of(layout_a), of(layout_b), of(layout_d));
  if (!why.empty()) return refuse_product(CUBLAS_STATUS_NOT_SUPPORTED, why);
  const float times = *static_cast<const float*>(alpha), kept = *static_cast<const float*>(beta);
  const bool accumulate = kept == 1;
  if (times != 1 || (kept != 0 && (!accumulate || c != d || product.bias || product.relu)))
    return refuse_product(CUBLAS_STATUS_NOT_SUPPORTED, "such factors alpha and beta are not emulated");

  const void* const bias =
      of(description).attributes.get<const void*>(CUBLASLT_MATMUL_DESC_BIAS_POINTER, nullptr);
  std::vector<Operand> operands = {{"a", a, of(layout_a).bytes(), 16},
                                   {"b", b, of(layout_b).bytes(), 16},
                                   {"d", d, of(layout_d).bytes(), 16}};
  if (product.bias)
    operands.push_back(
        {"the bias", bias, static_cast<size_t>(product.shape.out) * (product.bf16_result ? 2 : 4), 4});
  if (workspace_bytes > 0) operands.push_back({"the workspace", workspace, workspace_bytes, 16});
  if (why = refusal(operands); !why.empty()) return refuse_product(CUBLAS_STATUS_INVALID_VALUE, why);

  const cudaError_t status =
      enqueue_library_call(stream, [product, accumulate, d, a, b, bias = product.bias ? bias : nullptr] {
        compute(product, d, a, b, bias, accumulate);
      });
  return status == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

}  // extern "C"

}  // namespace espalier::emulation
