// Nodes of constants.
#include "espalier/onnx/fold.h"

#include "onnx/import_case.h"

namespace espalier {
namespace {

OnnxConstant floats(const Sizes& dims, const Floats& numbers) { return {.dims = dims, .numbers = numbers}; }
OnnxConstant wholes(const Sizes& dims, const Sizes& numbers) { return {.dims = dims, .integers = numbers}; }

/// A node of an OnnxBuilder's, whose message outlives it.
class Fold : public testing::Test {
 protected:
  OnnxBuilder builder{{1}};

  OnnxConstant fold(const std::string& op, const std::vector<OnnxConstant>& inputs,
                    const OnnxBuilder::Attributes& attributes = {}) {
    std::vector<const OnnxConstant*> all;
    for (const OnnxConstant& input : inputs) all.push_back(&input);
    return *folded(OnnxNode(builder.node(op, {}, "y", attributes)), all);
  }
  void expect(const OnnxConstant& found, const OnnxConstant& expected) {
    EXPECT_EQ(found.dims, expected.dims);
    EXPECT_EQ(found.numbers, expected.numbers);
    EXPECT_EQ(found.integers, expected.integers);
  }
};

TEST_F(Fold, CalculatesWithWholeNumbersAndFloatsAlike) {
  expect(fold("Add", {floats({2, 1}, {1, 2}), floats({3}, {10, 20, 30})}),
         floats({2, 3}, {11, 21, 31, 12, 22, 32}));
  expect(fold("Sub", {wholes({2}, {1, 2}), wholes({}, {5})}), wholes({2}, {-4, -3}));
  expect(fold("Mul", {wholes({2}, {4, -2}), wholes({2}, {3, 3})}), wholes({2}, {12, -6}));
  expect(fold("Div", {wholes({3}, {7, -7, 6}), wholes({1}, {2})}), wholes({3}, {3, -3, 3}));  // as C has it
  expect(fold("Div", {floats({1}, {7}), floats({1}, {2})}), floats({1}, {3.5}));
  expect(fold("Pow", {floats({2}, {3, 9}), floats({2}, {2, 0.5})}), floats({2}, {9, 3}));
  expect(fold("Neg", {wholes({2}, {3, -4})}), wholes({2}, {-3, 4}));
  expect(fold("Sqrt", {floats({2}, {4, 9})}), floats({2}, {2, 3}));
  expect(fold("Floor", {floats({2}, {-1.5, 1.5})}), floats({2}, {-2, 1}));
  expect(fold("Reciprocal", {floats({1}, {4})}), floats({1}, {0.25}));
  expect(fold("ReduceProd", {wholes({3}, {2, 3, 4})}), wholes({}, {24}));
  EXPECT_EQ(message_of([&] { fold("Div", {wholes({1}, {1}), wholes({1}, {0})}); }), "divides by 0");
  EXPECT_EQ(message_of([&] {
              fold("Add", {wholes({1}, {1}), floats({1}, {0})});
            }),
            "its inputs are of different types");
  EXPECT_EQ(message_of([&] {
              fold("Add", {wholes({2}, {1, 2}), wholes({3}, {1, 2, 3})});
            }),
            "its inputs' shapes do not fit");
}

TEST_F(Fold, MovesNumbers) {
  const OnnxConstant x = wholes({2, 3}, {0, 1, 2, 3, 4, 5});
  expect(fold("Transpose", {x}), wholes({3, 2}, {0, 3, 1, 4, 2, 5}));
  expect(fold("Reshape", {x, wholes({2}, {3, -1})}), wholes({3, 2}, {0, 1, 2, 3, 4, 5}));
  expect(fold("Reshape", {x, wholes({3}, {0, 1, 3})}), wholes({2, 1, 3}, {0, 1, 2, 3, 4, 5}));
  expect(fold("Gather", {x, wholes({2}, {-1, 0})}, {{"axis", int64_t{1}}}), wholes({2, 2}, {2, 0, 5, 3}));
  expect(fold("Gather", {x, wholes({}, {1})}), wholes({3}, {3, 4, 5}));
  expect(fold("Concat", {x, wholes({2, 1}, {8, 9})}, {{"axis", int64_t{-1}}}),
         wholes({2, 4}, {0, 1, 2, 8, 3, 4, 5, 9}));
  expect(fold("Slice", {x, wholes({1}, {1}), wholes({1}, {100}), wholes({1}, {1})}),
         wholes({2, 2}, {1, 2, 4, 5}));
  expect(fold("Slice", {x}, {{"starts", Sizes{-1}}, {"ends", Sizes{2}}}), wholes({1, 3}, {3, 4, 5}));
  expect(fold("Unsqueeze", {x, wholes({2}, {0, -1})}), wholes({1, 2, 3, 1}, x.integers));
  expect(fold("Squeeze", {wholes({1, 2, 1}, {7, 8})}), wholes({2}, {7, 8}));
  expect(fold("Squeeze", {wholes({1, 2, 1}, {7, 8}), wholes({1}, {0})}), wholes({2, 1}, {7, 8}));
  expect(fold("Expand", {wholes({2, 1}, {7, 8}), wholes({3}, {2, 1, 2})}),
         wholes({2, 2, 2}, {7, 7, 8, 8, 7, 7, 8, 8}));
  EXPECT_EQ(message_of([&] { fold("Gather", {x, wholes({}, {2})}); }), "looks for place 2 of 2");
  EXPECT_EQ(message_of([&] {
              fold("Reshape", {x, wholes({1}, {5})});
            }),
            "does not have as many numbers before as after");
  EXPECT_EQ(message_of([&] {
              fold("Transpose", {x}, {{"perm", Sizes{0, 0}}});
            }),
            "its axes are not each there once");
}

TEST_F(Fold, MakesAndChoosesNumbers) {
  expect(fold("Range", {wholes({}, {1}), wholes({}, {8}), wholes({}, {3})}), wholes({3}, {1, 4, 7}));
  expect(fold("ConstantOfShape", {wholes({2}, {1, 2})}), floats({1, 2}, {0, 0}));
  expect(fold("Equal", {wholes({3}, {1, 2, 3}), wholes({1}, {2})}), wholes({3}, {0, 1, 0}));
  expect(fold("Where", {wholes({2}, {1, 0}), wholes({2}, {5, 6}), wholes({1}, {9})}), wholes({2}, {5, 9}));
  expect(fold("Cast", {floats({2}, {1.9f, -1.9f})}, {{"to", int64_t{onnx::TensorProto::INT64}}}),
         wholes({2}, {1, -1}));
  expect(fold("Cast", {wholes({1}, {3})}, {{"to", int64_t{onnx::TensorProto::FLOAT16}}}), floats({1}, {3}));
  expect(fold("Cast", {floats({2}, {0, 0.5})}, {{"to", int64_t{onnx::TensorProto::BOOL}}}),
         wholes({2}, {0, 1}));
  expect(fold("Constant", {}, {{"value_ints", Sizes{4, 5}}}), wholes({2}, {4, 5}));
  expect(fold("Constant", {}, {{"value_float", 0.5f}}), floats({}, {0.5}));
  EXPECT_TRUE(folds("Where"));
  EXPECT_FALSE(folds("Conv"));
}

TEST_F(ImportOnnx, AsksForNoMoreMemoryThanItsNumbersTake) {
  OnnxBuilder builder({0, 3, 2, 2});
  builder.wholes("huge", {1 << 20, 1 << 20});
  builder.node("ConstantOfShape", {"huge"}, "a").set_name("n");
  builder.node("Add", {"x", "a"}, "b");
  builder.node("Flatten", {"b"}, "y");
  builder.output("y");
  EXPECT_TRUE(contains(refused(builder), "ConstantOfShape 'n': would be of more than 67108864 numbers"));
  // Nor for many of them together; what nobody reads is not computed.
  OnnxBuilder many({0, 3, 2, 2});
  many.wholes("large", {1 << 26});
  many.node("Identity", {"x"}, "b0");
  for (int i = 0; i < 40; ++i) {
    many.node("ConstantOfShape", {"large"}, "unread" + std::to_string(i));
    many.node("ConstantOfShape", {"large"}, "a" + std::to_string(i));
    many.node("Add", {"b" + std::to_string(i), "a" + std::to_string(i)}, "b" + std::to_string(i + 1));
  }
  many.node("Flatten", {"b40"}, "y");
  many.output("y");
  EXPECT_TRUE(
      contains(refused(many), "'a2': makes more constants than the 134217728 numbers that a file may"));
}

}  // namespace
}  // namespace espalier
