// espalier pack
#include <fmt/format.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "espalier/cli/arguments.h"
#include "espalier/cli/output_file.h"
#include "espalier/formats/packed.h"
#include "espalier/util/table.h"

namespace espalier::cli {
namespace {

nlohmann::ordered_json to_json(const PackedFile& packed, uint64_t before) {
  auto tensors = nlohmann::ordered_json::array();
  for (const PackedFile::Row& row : packed.rows())
    tensors.push_back({{"name", row.name},
                       {"encoding", row.encoding},
                       {"dense_bytes", row.dense_bytes},
                       {"packed_bytes", row.bytes}});
  return {{"bytes", before}, {"packed_bytes", packed.bytes()}, {"tensors", tensors}};
}

/// What became of the tensors, by encoding.
std::string encodings_table(const PackedFile& packed, uint64_t before, size_t width) {
  struct Sum {
    int64_t tensors = 0, dense = 0, packed = 0;
  };
  std::map<std::string, Sum> sums;
  for (const PackedFile::Row& row : packed.rows()) {
    Sum& sum = sums[row.encoding];
    ++sum.tensors;
    sum.dense += static_cast<int64_t>(row.dense_bytes);
    sum.packed += static_cast<int64_t>(row.bytes);
  }
  Table table({"<encoding", "tensors", "bytes before", "packed"});
  for (const auto& [encoding, sum] : sums)
    table.add({encoding, grouped(sum.tensors), grouped(sum.dense), grouped(sum.packed)});
  const auto after = static_cast<int64_t>(packed.bytes());
  table.add({"the file", grouped(std::ssize(packed.rows())), grouped(static_cast<int64_t>(before)),
             grouped(after)});
  return table.str(width) + fmt::format("{:.1f} % of what it was\n",
                                        100 * static_cast<double>(after) / static_cast<double>(before));
}

}  // namespace

void pack(const Given& given) {
  std::string file;
  std::optional<std::string> output, values;
  bool json = false;
  Arguments arguments("pack");
  arguments
      .positional("FILE", file,
                  "A model or a checkpoint, or any other safetensors file (f64, f16 and bf16 become f32)")
      .path("-o,--output", "FILE", output, "File to write; required")
      .text("--values", "f32|bf16|f16", values,
            "What weights are kept as (default: f32, exactly what they are); vectors, biases and norms, stay "
            "f32")
      .flag("--json", json, "Print JSON, with a row for each tensor");
  if (!arguments.parse(given)) return;
  if (!output) fail_usage("pack: expected -o FILE, where the packed file is to be written");
  const PackedValues kept = values ? packed_values_named(*values) : PackedValues::f32;
  check_output("pack: -o", *output, {file});

  const TensorFile tensors = read_safetensors(file);
  const PackedFile packed(tensors, kept, file);
  packed.write({*output});
  const uint64_t before = std::filesystem::file_size(file);
  if (json) return print_json(to_json(packed, before), 2);
  print(encodings_table(packed, before, terminal_width()));
}

}  // namespace espalier::cli
