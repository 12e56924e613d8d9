#include "espalier/core/isa.h"

#include <cstdlib>
#include <dnnl.hpp>

#include "espalier/util/error.h"

namespace espalier {
namespace {

/// Of the sets that Highway compiles kernels for.
Isa best_isa() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
  if (avx2) return avx512 ? Isa::avx512 : Isa::avx2;
#endif
  return Isa::baseline;
}

Isa choose() {
  Isa chosen = best_isa();
  if (const char* wish = std::getenv("ESPALIER_ISA"); wish && *wish) {
    const std::string name = wish;
    if (name != "avx2" && name != "avx512")
      fail_usage("ESPALIER_ISA: '", name, "' is no instruction set, expected avx2 or avx512");
    const Isa wanted = name == "avx2" ? Isa::avx2 : Isa::avx512;
    if (wanted > chosen)
      fail_usage("ESPALIER_ISA: this processor has no ", name, ", only ", isa_name(chosen));
    chosen = wanted;
  }
  if (chosen == Isa::avx2) dnnl::set_max_cpu_isa(dnnl::cpu_isa::avx2);
  return chosen;
}

}  // namespace

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::avx512:
      return "avx512";
    case Isa::avx2:
      return "avx2";
    case Isa::baseline:
      return "baseline";
  }
  return "?";
}

Isa isa() {
  static const Isa chosen = choose();
  return chosen;
}

std::vector<Isa> available_isas() {
  std::vector<Isa> isas;
  for (Isa each : {Isa::avx2, Isa::avx512})
    if (each <= best_isa()) isas.push_back(each);
  return isas;
}

}  // namespace espalier
