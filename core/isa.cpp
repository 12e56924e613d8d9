#include "espalier/core/isa.h"

#include <hwy/highway.h>

#include <cstdlib>
#include <dnnl.hpp>

#include "espalier/util/error.h"

namespace espalier {
namespace {

Isa best_isa() {
  const auto targets = hwy::SupportedTargets();
  if (targets & HWY_AVX3) return Isa::avx512;
  if (targets & HWY_AVX2) return Isa::avx2;
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
  if (chosen == Isa::avx2) {
    // Every better target, by whatever name: Highway gives the better of a family the lower bit, and a newer
    // version has more kinds of AVX-512 than the oldest one we build with can name.
    hwy::DisableTargets(HWY_AVX2 - 1);
    dnnl::set_max_cpu_isa(dnnl::cpu_isa::avx2);
  }
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
