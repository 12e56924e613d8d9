// Linear layers: three matrix products by cuBLASLt; and products of activations.
#include <algorithm>
#include <utility>

#include "espalier/core/kernels.h"
#include "espalier/core/plan_cache.h"
#include "espalier/cuda/norm.h"
#include "espalier/cuda/runtime.h"
#include "espalier/util/error.h"

namespace espalier::cuda {
namespace {

constexpr size_t workspace = size_t{32} << 20;  // what NVIDIA advises for Hopper

/// c [m,n] = a [m,k] b [k,n] (then relu(c + bias [n]), or c added to), row-major as all here; a or b may lie
/// transposed in memory. a and b are of type `operands`, c of type `result`, and so is the bias.
struct Product {
  int64_t m, n, k;
  bool a_transposed, b_transposed;
  bool bias = false, relu = false, accumulate = false;
  DType operands = DType::f32, result = DType::f32;
  int64_t batch = 1;  ///< so many such products, their matrices one after the other
};

cudaDataType data_type(DType dtype) { return dtype == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F; }

/// A handle of cuBLASLt that ends with its scope.
template <class Handle, cublasStatus_t (*destroy)(Handle)>
class Owned {
 public:
  Owned() = default;
  Owned(Owned&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Owned& operator=(Owned&&) = delete;
  ~Owned() {
    if (handle_) destroy(handle_);
  }
  Handle* into() { return &handle_; }
  operator Handle() const { return handle_; }  // NOLINT: implicit, for arguments

 private:
  Handle handle_ = nullptr;
};
using Layout = Owned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using Matmul = Owned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using Preference = Owned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

/// cuBLASLt counts by columns: to it our matrices are transposed, and c' = b' a'.
class ProductPlan {
 public:
  explicit ProductPlan(const Product& p) : bias_(p.bias), beta_(p.accumulate ? 1.0f : 0.0f) {
    const bool exact = precision() == Precision::f32 || p.operands == DType::bf16;
    ESP_CUDA(cublasLtMatmulDescCreate(matmul_.into(),
                                      exact ? CUBLAS_COMPUTE_32F : CUBLAS_COMPUTE_32F_FAST_TF32, CUDA_R_32F));
    set(CUBLASLT_MATMUL_DESC_TRANSA, p.b_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_TRANSB, p.a_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
    describe(b_, p.k, p.n, p.b_transposed, p.operands, p.batch);
    describe(a_, p.m, p.k, p.a_transposed, p.operands, p.batch);
    describe(c_, p.m, p.n, false, p.result, p.batch);

    Preference preference;
    ESP_CUDA(cublasLtMatmulPreferenceCreate(preference.into()));
    ESP_CUDA(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                  &workspace, sizeof workspace));
    // What every tensor fulfils; cuBLASLt sees from the rows' lengths what of it is left in the second row.
    for (const auto attribute :
         {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
      const uint32_t bytes = 16;
      ESP_CUDA(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &bytes, sizeof bytes));
    }
    cublasStatus_t status =
        choose(preference, p.bias   ? p.relu ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_BIAS
                           : p.relu ? CUBLASLT_EPILOGUE_RELU
                                    : CUBLASLT_EPILOGUE_DEFAULT);
    if (status != CUBLAS_STATUS_SUCCESS && (p.bias || p.relu)) {  // as of a row with a bias, in some versions
      is_bare_ = true;
      bias_ = false;
      status = choose(preference, CUBLASLT_EPILOGUE_DEFAULT);
    }
    ESP_CHECK(status == CUBLAS_STATUS_SUCCESS, "cuda: cuBLASLt has no product of ", p.m, "x", p.k, " and ",
              p.k, "x", p.n, ": ", cublasLtGetStatusString(status));
  }

  size_t scratch_bytes() const { return scratch_bytes_; }
  /// Whether bias and relu, which were asked for, are left to the caller.
  bool is_bare() const { return is_bare_; }

  void run(void* c, const void* a, const void* b, const void* bias, void* scratch) {
    if (bias_) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    const float one = 1;
    ESP_CUDA(cublasLtMatmul(cublas(), matmul_, &one, b, b_, a, a_, &beta_, c, c_, c, c_, &algorithm_, scratch,
                            scratch_bytes_, stream()));
  }

 private:
  /// An algorithm for the product with this after it.
  cublasStatus_t choose(cublasLtMatmulPreference_t preference, cublasLtEpilogue_t epilogue) {
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
    cublasLtMatmulHeuristicResult_t result;
    int found = 0;
    const cublasStatus_t status =
        cublasLtMatmulAlgoGetHeuristic(cublas(), matmul_, b_, a_, c_, c_, preference, 1, &result, &found);
    if (status != CUBLAS_STATUS_SUCCESS) return status;
    if (found == 0) return CUBLAS_STATUS_NOT_SUPPORTED;
    algorithm_ = result.algo;
    scratch_bytes_ = result.workspaceSize;
    return result.state;
  }
  template <class T>
  void set(cublasLtMatmulDescAttributes_t attribute, const T& value) {
    ESP_CUDA(cublasLtMatmulDescSetAttribute(matmul_, attribute, &value, sizeof value));
  }
  /// rows x columns, row-major, or its transpose in memory
  static void describe(Layout& layout, int64_t rows, int64_t columns, bool transposed, DType dtype,
                       int64_t batch) {
    if (transposed) std::swap(rows, columns);
    ESP_CUDA(cublasLtMatrixLayoutCreate(layout.into(), data_type(dtype), static_cast<uint64_t>(columns),
                                        static_cast<uint64_t>(rows), columns));
    if (batch == 1) return;
    const auto count = static_cast<int32_t>(batch);
    const int64_t offset = rows * columns;
    ESP_CUDA(
        cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count));
    ESP_CUDA(cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &offset,
                                              sizeof offset));
  }

  bool is_bare_ = false, bias_;
  float beta_;
  Matmul matmul_;
  Layout a_, b_, c_;
  cublasLtMatmulAlgo_t algorithm_;
  size_t scratch_bytes_;
};

ProductPlan& plan(const Product& p) {
  static auto& cache = *new PlanCache<ProductPlan, 6>;  // never destroyed: cuBLAS may be gone before
  const int64_t flags = p.a_transposed | p.b_transposed << 1 | p.bias << 2 | p.relu << 3 | p.accumulate << 4 |
                        (p.operands == DType::bf16) << 5 | (p.result == DType::bf16) << 6;
  return cache.get({p.batch, p.m, p.n, p.k, flags, static_cast<int64_t>(precision())},
                   [&] { return ProductPlan(p); });
}

ProductPlan& forward_plan(const LinearShape& s, bool bias, bool relu) {
  return plan({s.n, s.out, s.in, false, true, bias, relu, false, s.dtype, s.dtype});
}
ProductPlan& backward_data_plan(const LinearShape& s, bool accumulate) {
  return plan({.m = s.n,
               .n = s.in,
               .k = s.out,
               .a_transposed = false,
               .b_transposed = false,
               .accumulate = accumulate,
               .operands = s.dtype,
               .result = s.dtype});
}
/// The gradient is f32, whatever the operands are.
ProductPlan& backward_weights_plan(const LinearShape& s, bool accumulate) {
  return plan({.m = s.out,
               .n = s.in,
               .k = s.n,
               .a_transposed = true,
               .b_transposed = false,
               .accumulate = accumulate,
               .operands = s.dtype});
}

ProductPlan& matmul_plan(const MatmulShape& s, bool accumulate) {
  return plan({.m = s.m,
               .n = s.n,
               .k = s.k,
               .a_transposed = s.a_transposed,
               .b_transposed = s.b_transposed,
               .accumulate = accumulate,
               .operands = s.dtype,
               .result = s.dtype,
               .batch = s.batch});
}

/// Before the products' own scratch memory: the bias as cuBLASLt wants it beside a bf16 output.
size_t bias_bytes(const LinearShape& s, bool bias) {
  return bias && s.dtype == DType::bf16 ? aligned_bytes(static_cast<size_t>(s.out) * sizeof(bf16)) : 0;
}

template <class Real>
void forward(Real* y, const Real* x, const Real* w, const float* b, Activation f, const LinearShape& s,
             void* scratch) {
  const bool relu = f == Activation::relu;
  const void* bias = b;
  if (const size_t bytes = bias_bytes(s, b != nullptr)) {
    cast(static_cast<bf16*>(scratch), b, s.out);
    bias = scratch;
    scratch = static_cast<char*>(scratch) + bytes;
  }
  ProductPlan& product = forward_plan(s, b != nullptr, relu);
  const bool is_bare = product.is_bare();
  product.run(y, x, w, bias, scratch);
  if (is_bare)
    convolution_epilogue(y, {.shift = b, .f = f}, s.n, s.out, nullptr);
  else if (!relu && f != Activation::none)  // cuBLASLt's gelu is the approximation by tanh
    activation_forward(y, y, f, s.n * s.out);
}

}  // namespace

size_t linear_prepared_bytes(const LinearShape&) { return 0; }
void linear_prepare(void*, const float*, const LinearShape&) {}

size_t linear_forward_scratch(const LinearShape& s, bool bias) {
  return bias_bytes(s, bias) +
         std::max(forward_plan(s, bias, false).scratch_bytes(), forward_plan(s, bias, true).scratch_bytes());
}
size_t linear_backward_data_scratch(const LinearShape& s, bool accumulate) {
  return backward_data_plan(s, accumulate).scratch_bytes();
}
size_t linear_backward_weights_scratch(const LinearShape& s, bool accumulate) {
  return backward_weights_plan(s, accumulate).scratch_bytes();
}

void linear_forward(float* y, const float* x, const float* w, const void*, const float* b, Activation f,
                    const LinearShape& s, void* scratch) {
  forward(y, x, w, b, f, s, scratch);
}
void linear_backward_data(float* dx, const float* dy, const float* w, const LinearShape& s, bool accumulate,
                          void* scratch) {
  backward_data_plan(s, accumulate).run(dx, dy, w, nullptr, scratch);
}
void linear_backward_weights(float* dw, const float* dy, const float* x, const LinearShape& s,
                             bool accumulate, void* scratch) {
  backward_weights_plan(s, accumulate).run(dw, dy, x, nullptr, scratch);
}

void linear_forward(bf16* y, const bf16* x, const bf16* w, const void*, const float* b, Activation f,
                    const LinearShape& s, void* scratch) {
  forward(y, x, w, b, f, s, scratch);
}
void linear_backward_data(bf16* dx, const bf16* dy, const bf16* w, const LinearShape& s, bool accumulate,
                          void* scratch) {
  backward_data_plan(s, accumulate).run(dx, dy, w, nullptr, scratch);
}
void linear_backward_weights(float* dw, const bf16* dy, const bf16* x, const LinearShape& s, bool accumulate,
                             void* scratch) {
  backward_weights_plan(s, accumulate).run(dw, dy, x, nullptr, scratch);
}

size_t matmul_scratch(const MatmulShape& s, bool accumulate) {
  return matmul_plan(s, accumulate).scratch_bytes();
}
void matmul(float* y, const float* a, const float* b, const MatmulShape& s, bool accumulate, void* scratch) {
  matmul_plan(s, accumulate).run(y, a, b, nullptr, scratch);
}
void matmul(bf16* y, const bf16* a, const bf16* b, const MatmulShape& s, bool accumulate, void* scratch) {
  matmul_plan(s, accumulate).run(y, a, b, nullptr, scratch);
}

}  // namespace espalier::cuda
