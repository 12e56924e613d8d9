// Windows and their padding.
#include "espalier/onnx/windows.h"

#include "onnx/import_case.h"

namespace espalier {
namespace {

TEST_F(ImportOnnx, PadsByItselfAndUnevenly) {
  OnnxBuilder builder({0, 1, 2, 2});
  builder.floats("c.weight", {1, 1, 2, 2}, {1, 1, 1, 1});
  builder.node("Conv", {"x", "c.weight"}, "c",
               {{"auto_pad", std::string("SAME_UPPER")}, {"kernel_shape", Sizes{2, 2}}});
  builder.node("Flatten", {"c"}, "y");
  builder.output("y");
  EXPECT_EQ(run(builder, {1, 2, 2, 1}, {1, 2, 4, 8}), (Floats{15, 10, 12, 8}));
  builder.graph().mutable_node(0)->mutable_attribute(0)->set_s("SAME_LOWER");
  EXPECT_EQ(run(builder, {1, 2, 2, 1}, {1, 2, 4, 8}), (Floats{1, 3, 5, 15}));
}

}  // namespace
}  // namespace espalier
