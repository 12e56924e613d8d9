// Fuzzes the ONNX importer: whatever the bytes, it makes a network, whose graph a checkpoint may hold, or
// throws an Error.
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include "espalier/onnx/import.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::filesystem::path file =
      std::filesystem::temp_directory_path() / ("espalier_onnx_fuzz_" + std::to_string(::getpid()) + ".onnx");
  std::ofstream(file, std::ios::binary | std::ios::trunc)
      .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  for (const espalier::Shape& image : {espalier::Shape{}, espalier::Shape{4, 4, 3}}) {
    try {
      const espalier::OnnxNetwork network = espalier::import_onnx(file, image);
      if (network.graph.nodes.empty()) __builtin_trap();
      if (network.graph.shape(0).elements() < 1 << 16) espalier::make_module(network, "fuzz");
    } catch (const espalier::Error&) {
    }
  }
  std::filesystem::remove(file);
  return 0;
}
