// Pooling.
#include "onnx/import_case.h"

namespace espalier {
namespace {

TEST_F(ImportOnnx, PoolsOverAllOfALargeImage) {
  OnnxBuilder builder({0, 1, 20, 31});
  builder.node("GlobalMaxPool", {"x"}, "p");
  builder.node("Flatten", {"p"}, "y");
  builder.output("y");
  Floats pixels(620, 1.0f);
  pixels[619] = 7;
  EXPECT_EQ(run(builder, {1, 20, 31, 1}, pixels), Floats{7});
}

}  // namespace
}  // namespace espalier
