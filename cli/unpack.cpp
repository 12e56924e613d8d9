// espalier unpack
#include <fmt/format.h>

#include <filesystem>

#include "espalier/cli/arguments.h"
#include "espalier/cli/output_file.h"
#include "espalier/formats/safetensors.h"
#include "espalier/util/table.h"

namespace espalier::cli {

void unpack(const Given& given) {
  std::string file;
  std::optional<std::string> output;
  Arguments arguments("unpack");
  arguments.positional("FILE", file, "A packed file")
      .path("-o,--output", "FILE", output, "File to write; required");
  if (!arguments.parse(given)) return;
  if (!output) fail_usage("unpack: expected -o FILE, where the file is to be written");
  check_output("unpack: -o", *output, {file});

  write_safetensors({*output}, read_safetensors(file), Checksums::kept);
  print(fmt::format("{} bytes, {} packed\n",
                    grouped(static_cast<int64_t>(std::filesystem::file_size(*output))),
                    grouped(static_cast<int64_t>(std::filesystem::file_size(file)))));
}

}  // namespace espalier::cli
