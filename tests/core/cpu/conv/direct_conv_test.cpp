// Also the test of onednn.h and direction.h, which gemm_test.cpp reaches too.
#include "espalier/core/cpu/conv/direct_conv.h"

#include <sys/resource.h>
#include <unistd.h>

#include <fstream>

#include "core/cpu/conv/conv_case.h"
#include "espalier/util/error.h"

namespace espalier::direct_conv_test {
namespace {

constexpr ConvKernels direct{cpu::direct_forward_scratch,          cpu::direct_forward,
                             cpu::direct_backward_data_scratch,    cpu::direct_backward_data,
                             cpu::direct_backward_weights_scratch, cpu::direct_backward_weights};

// {n, h, w, c, o, kh, kw, stride, pad}: layouts that oneDNN keeps and that it blocks; conv_test has the rest.
const ConvShape shapes[] = {{1, 5, 6, 1, 1, 3, 3, 1, 1},      {2, 12, 12, 1, 20, 5, 5},
                            {2, 8, 8, 16, 32, 3, 3, 1, 1},    {1, 9, 7, 33, 17, 3, 3, 2, 1},
                            {2, 15, 15, 3, 64, 7, 7, 2, 3},   {1, 8, 8, 16, 32, 1, 1},
                            {2, 7, 7, 15, 30, 3, 3, 1, 1, 3}, {1, 6, 6, 32, 32, 3, 3, 1, 1, 32}};

class DirectConv : public testing::TestWithParam<ConvShape> {
 protected:
  const ConvCase c{GetParam()};
};

TEST_P(DirectConv, Forward) { check_forward(direct, c, 1e-5); }
TEST_P(DirectConv, BackwardData) { check_backward_data(direct, c, 1e-5); }
TEST_P(DirectConv, BackwardWeights) { check_backward_weights(direct, c, 1e-5); }

INSTANTIATE_TEST_SUITE_P(Shapes, DirectConv, testing::ValuesIn(shapes),
                         [](const auto& info) { return name(info.param); });

TEST(DirectConvImplementation, IsNamedForEachDirection) {
  const ConvShape s{2, 8, 8, 16, 32, 3, 3, 1, 1};
  for (const auto direction :
       {cpu::Direction::forward, cpu::Direction::backward_data, cpu::Direction::backward_weights})
    EXPECT_NE(cpu::direct_implementation(s, direction).find(':'), std::string::npos)
        << cpu::direct_implementation(s, direction);
}

/// While it lives, the process may map so much more than it has.
class WithMemory {
 public:
  explicit WithMemory(size_t more) {
    getrlimit(RLIMIT_AS, &before_);
    size_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    rlimit less = before_;
    less.rlim_cur = pages * static_cast<size_t>(sysconf(_SC_PAGESIZE)) + more;
    setrlimit(RLIMIT_AS, &less);
  }
  ~WithMemory() { setrlimit(RLIMIT_AS, &before_); }
  WithMemory(const WithMemory&) = delete;
  WithMemory& operator=(const WithMemory&) = delete;

 private:
  rlimit before_{};
};

/// oneDNN itself crashes there.
TEST(DirectConvMemory, WithoutAnyForItsCodeIsAnError) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers end a program that gets no memory";
#endif
  std::string said;
  const WithMemory little(size_t{8} << 20);
  try {
    for (int64_t c = 1; c < 200; ++c) cpu::direct_forward_scratch({1, 8, 8, c, 3, 3, 3}, {});
  } catch (const Error& error) {
    said = error.what();
  }
  EXPECT_TRUE(said.starts_with("out of memory: no 32 MiB of address space are left for the code")) << said;
}

TEST(DirectConvPrepared, SameBits) {
  int prepared = 0;
  for (const ConvShape& s : shapes)
    prepared += check_prepared(direct, cpu::direct_prepared_bytes, cpu::direct_prepare, s);
  EXPECT_GT(prepared, 0) << "oneDNN blocks no weight at all";
}

}  // namespace
}  // namespace espalier::direct_conv_test
