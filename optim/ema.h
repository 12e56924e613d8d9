// Moving average of weights (Polyak and Juditsky 1992): average = decay average + (1 - decay) w after every
// step. It lives in the parameter's state as "average" (TensorUse::stand_in), and is evaluated in the value's
// place. All that is known of it stands here; a run has it by AverageCallback (train/callbacks.h).
#pragma once

#include <vector>

#include "espalier/nn/parameter.h"

namespace espalier {

/// The averages start as copies of the values; what is frozen has none.
void start_average(const std::vector<Parameter*>& parameters);
/// Of those that have one.
void update_average(const std::vector<Parameter*>& parameters, double decay);
/// The averages become the values, and are dropped: what was evaluated is what goes on.
void adopt_average(const std::vector<Parameter*>& parameters);
void drop_average(const std::vector<Parameter*>& parameters);
/// Error unless all that learn and are not frozen have an average, and none besides; or, where it is not
/// `expected`, none has.
void check_average(const std::vector<Parameter*>& parameters, bool expected);

/// While it lives, values and averages stand in each other's place; does nothing where there is no average.
class AverageInPlace {
 public:
  explicit AverageInPlace(std::vector<Parameter*> parameters) : parameters_(std::move(parameters)) { swap(); }
  ~AverageInPlace() { swap(); }
  AverageInPlace(const AverageInPlace&) = delete;
  AverageInPlace& operator=(const AverageInPlace&) = delete;

 private:
  void swap();
  std::vector<Parameter*> parameters_;
};

}  // namespace espalier
