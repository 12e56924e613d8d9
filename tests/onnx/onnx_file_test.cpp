// Files, whole, cut short and hostile, and numbers of all types.
#include "espalier/onnx/onnx_file.h"

#include <fstream>

#include "onnx/import_case.h"

namespace espalier {
namespace {

TEST_F(ImportOnnx, ReadsEveryTypeOfNumbersAndFilesBeside) {
  const auto with = [](auto change) {
    OnnxBuilder builder({0, 1, 1, 1});
    onnx::TensorProto& weight = builder.floats("c.weight", {1, 1, 1, 1}, {});
    weight.clear_raw_data();
    change(weight);
    builder.node("Conv", {"x", "c.weight"}, "a");
    builder.node("Flatten", {"a"}, "y");
    builder.output("y");
    return builder;
  };
  const auto of = [&](const OnnxBuilder& builder) { return run(builder, {1, 1, 1, 1}, {1}, {1, 1, 1}); };
  EXPECT_EQ(of(with([](auto& w) { w.add_float_data(2.5f); })), Floats{2.5f});
  EXPECT_EQ(of(with([](auto& w) { w.set_data_type(onnx::TensorProto::DOUBLE), w.add_double_data(2.5); })),
            Floats{2.5f});
  EXPECT_EQ(of(with([](auto& w) { w.set_data_type(onnx::TensorProto::FLOAT16), w.add_int32_data(0x4100); })),
            Floats{2.5f});
  EXPECT_EQ(
      of(with([](auto& w) { w.set_data_type(onnx::TensorProto::BFLOAT16), w.set_raw_data("\x20\x40", 2); })),
      Floats{2.5f});
  const auto beside = [](const std::string& location, const char* offset) {
    return [=](onnx::TensorProto& w) {
      w.set_data_location(onnx::TensorProto::EXTERNAL);
      for (const auto& [key, value] :
           {std::pair<std::string, std::string>{"location", location}, {"offset", offset}}) {
        auto* entry = w.add_external_data();
        entry->set_key(key);
        entry->set_value(value);
      }
    };
  };
  const float numbers[] = {7.0f, 2.5f};
  std::ofstream(folder / "net.data", std::ios::binary)
      .write(reinterpret_cast<const char*>(numbers), sizeof numbers);
  EXPECT_EQ(of(with(beside("net.data", "4"))), Floats{2.5f});
  const auto message = [&](const std::string& location, const char* offset) {
    return refused(with(beside(location, offset)), {1, 1, 1});
  };
  EXPECT_TRUE(contains(message("net.data", "5"), "'c.weight' external data: "));
  EXPECT_TRUE(contains(message("net.data", "5"), "has 8 bytes, expected 4 from 5"));
  EXPECT_TRUE(contains(message("net.data", "-4"), "offset is '-4', expected a count of bytes"));
  EXPECT_TRUE(contains(message("gone.data", "0"), "gone.data: no such file"));
  EXPECT_TRUE(contains(message("../net.data", "0"), "'../net.data' is not in the file's own folder"));
  EXPECT_TRUE(contains(message("/etc/passwd", "0"), "'/etc/passwd' is not in the file's own folder"));
  std::filesystem::create_symlink("/etc/passwd", folder / "link");
  EXPECT_TRUE(contains(message("link", "0"), "is a link to somewhere out of"));
}

TEST_F(ImportOnnx, RefusesWhatIsNoOnnxFile) {
  EXPECT_TRUE(contains(message_of<UsageError>([&] { import_onnx(folder / "gone.onnx"); }),
                       "gone.onnx: cannot open: No such file or directory"));
  OnnxBuilder builder({0, 3, 2, 2});
  builder.node("Flatten", {"x"}, "y");
  builder.output("y");
  const std::string whole = builder.text();
  int refusals = 0;
  for (size_t size = 0; size < whole.size(); ++size) {
    std::ofstream(file, std::ios::binary | std::ios::trunc) << whole.substr(0, size);
    try {
      import_onnx(file);  // cut behind a field it may be another network
    } catch (const Error& error) {
      EXPECT_TRUE(contains(error.what(), file.string() + ": "));
      ++refusals;
    }
  }
  EXPECT_GT(refusals, static_cast<int>(whole.size()) - 3);
  std::ofstream(file, std::ios::binary | std::ios::trunc) << "{\"a\": 1}";
  EXPECT_EQ(message_of([&] { import_onnx(file); }), file.string() + ": is no ONNX file, or is cut short");
}

}  // namespace
}  // namespace espalier
