// Linear layers: three matrix products by cuBLASLt.
#include <algorithm>
#include <utility>

#include "espalier/core/error.h"
#include "espalier/core/kernels.h"
#include "espalier/core/plan_cache.h"
#include "espalier/cuda/runtime.h"

namespace espalier::cuda {
namespace {

constexpr size_t workspace = size_t{32} << 20;  // what NVIDIA advises for Hopper

/// c [m,n] = a [m,k] b [k,n] (then relu(c + bias [n]), or c added to), row-major as all here; a or b may lie
/// transposed in memory.
struct Product {
  int64_t m, n, k;
  bool a_transposed, b_transposed;
  bool bias = false, relu = false, accumulate = false;
};

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
    const bool exact = precision() == Precision::f32;
    ESP_CUDA(cublasLtMatmulDescCreate(matmul_.into(),
                                      exact ? CUBLAS_COMPUTE_32F : CUBLAS_COMPUTE_32F_FAST_TF32, CUDA_R_32F));
    set(CUBLASLT_MATMUL_DESC_TRANSA, p.b_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_TRANSB, p.a_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, p.bias ? p.relu ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_BIAS
                                       : p.relu ? CUBLASLT_EPILOGUE_RELU
                                                : CUBLASLT_EPILOGUE_DEFAULT);
    describe(b_, p.k, p.n, p.b_transposed);
    describe(a_, p.m, p.k, p.a_transposed);
    describe(c_, p.m, p.n, false);

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
    cublasLtMatmulHeuristicResult_t result;
    int found = 0;
    const cublasStatus_t status =
        cublasLtMatmulAlgoGetHeuristic(cublas(), matmul_, b_, a_, c_, c_, preference, 1, &result, &found);
    ESP_CHECK(status == CUBLAS_STATUS_SUCCESS && found == 1, "cuda: cuBLASLt has no product of ", p.m, "x",
              p.k, " and ", p.k, "x", p.n, ": ", cublasLtGetStatusString(status));
    algorithm_ = result.algo;
    scratch_bytes_ = result.workspaceSize;
  }

  size_t scratch_bytes() const { return scratch_bytes_; }

  void run(float* c, const float* a, const float* b, const float* bias, void* scratch) {
    if (bias_) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    const float one = 1;
    ESP_CUDA(cublasLtMatmul(cublas(), matmul_, &one, b, b_, a, a_, &beta_, c, c_, c, c_, &algorithm_, scratch,
                            scratch_bytes_, stream()));
  }

 private:
  template <class T>
  void set(cublasLtMatmulDescAttributes_t attribute, const T& value) {
    ESP_CUDA(cublasLtMatmulDescSetAttribute(matmul_, attribute, &value, sizeof value));
  }
  /// rows x columns, row-major, or its transpose in memory
  static void describe(Layout& layout, int64_t rows, int64_t columns, bool transposed) {
    if (transposed) std::swap(rows, columns);
    ESP_CUDA(cublasLtMatrixLayoutCreate(layout.into(), CUDA_R_32F, static_cast<uint64_t>(columns),
                                        static_cast<uint64_t>(rows), columns));
  }

  bool bias_;
  float beta_;
  Matmul matmul_;
  Layout a_, b_, c_;
  cublasLtMatmulAlgo_t algorithm_;
  size_t scratch_bytes_;
};

ProductPlan& plan(const Product& p) {
  static auto& cache = *new PlanCache<ProductPlan, 5>;  // never destroyed: cuBLAS may be gone before
  const int64_t flags = p.a_transposed | p.b_transposed << 1 | p.bias << 2 | p.relu << 3 | p.accumulate << 4;
  return cache.get({p.m, p.n, p.k, flags, static_cast<int64_t>(precision())}, [&] { return ProductPlan(p); });
}

ProductPlan& forward_plan(const LinearShape& s, bool bias, bool relu) {
  return plan({s.n, s.out, s.in, false, true, bias, relu});
}
ProductPlan& backward_data_plan(const LinearShape& s, bool accumulate) {
  return plan({.m = s.n,
               .n = s.in,
               .k = s.out,
               .a_transposed = false,
               .b_transposed = false,
               .accumulate = accumulate});
}
ProductPlan& backward_weights_plan(const LinearShape& s, bool accumulate) {
  return plan({.m = s.out,
               .n = s.in,
               .k = s.n,
               .a_transposed = true,
               .b_transposed = false,
               .accumulate = accumulate});
}

}  // namespace

size_t linear_prepared_bytes(const LinearShape&) { return 0; }
void linear_prepare(void*, const float*, const LinearShape&) {}

size_t linear_forward_scratch(const LinearShape& s, bool bias) {
  return std::max(forward_plan(s, bias, false).scratch_bytes(), forward_plan(s, bias, true).scratch_bytes());
}
void linear_forward(float* y, const float* x, const float* w, const void*, const float* b, Activation f,
                    const LinearShape& s, void* scratch) {
  const bool relu = f == Activation::relu;
  forward_plan(s, b != nullptr, relu).run(y, x, w, b, scratch);
  // cuBLASLt's gelu is the approximation by tanh.
  if (!relu && f != Activation::none) activation_forward(y, y, f, s.n * s.out);
}

size_t linear_backward_data_scratch(const LinearShape& s, bool accumulate) {
  return backward_data_plan(s, accumulate).scratch_bytes();
}
void linear_backward_data(float* dx, const float* dy, const float* w, const LinearShape& s, bool accumulate,
                          void* scratch) {
  backward_data_plan(s, accumulate).run(dx, dy, w, nullptr, scratch);
}

size_t linear_backward_weights_scratch(const LinearShape& s, bool accumulate) {
  return backward_weights_plan(s, accumulate).scratch_bytes();
}
void linear_backward_weights(float* dw, const float* dy, const float* x, const LinearShape& s,
                             bool accumulate, void* scratch) {
  backward_weights_plan(s, accumulate).run(dw, dy, x, nullptr, scratch);
}

}  // namespace espalier::cuda
