// espalier version
#include "espalier/run/version.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "espalier/cli/arguments.h"
#include "espalier/core/isa.h"
#include "espalier/core/parallel.h"

namespace espalier::cli {
namespace {

std::string compiler() {
#if defined(__clang__)
  return "Clang " __clang_version__;
#else
  return "GCC " __VERSION__;
#endif
}

}  // namespace

void version_line() { print(fmt::format("espalier {} ({})\n", espalier::version(), commit())); }

void version(const Given& given) {
  if (!Arguments("version").parse(given)) return;
  std::vector<std::string> sets;
  for (Isa each : available_isas()) sets.push_back(isa_name(each));
  print(fmt::format(
      "espalier {} ({})\n"
      "instruction set  {} (this machine has: {})\n"
      "threads          {}\n"
      "compiler         {}\n",
      espalier::version(), commit(), isa_name(isa()),
      sets.empty() ? "baseline" : fmt::format("{}", fmt::join(sets, ", ")), espalier::threads(), compiler()));
}

}  // namespace espalier::cli
