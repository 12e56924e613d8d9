#include "espalier/penalty/penalty.h"

namespace espalier {

// Each in the file of its name; greg1 and greg2 are in greg.cpp.
PenaltyInfo l1();
PenaltyInfo l1_proximal();
PenaltyInfo bn_scale();
PenaltyInfo group_lasso();
PenaltyInfo group_norm();
PenaltyInfo greg1();
PenaltyInfo greg2();

Registry<PenaltyInfo>& penalties() {
  static Registry<PenaltyInfo> all("regularize",
                                   {l1(), l1_proximal(), bn_scale(), group_lasso(), group_norm(), greg1(), greg2()});
  return all;
}

std::unique_ptr<Penalty> make_penalty(Module& model, const Shape& input, const PenaltyOptions& options) {
  const PenaltyInfo& info = penalties().named(options.type);
  PenaltyOptions all = options;
  all.extra = options.extra.with_defaults(info.extra, "regularize " + info.name);
  return info.make(model, input, all);
}

}  // namespace espalier
