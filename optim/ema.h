// Moving average of weights (Polyak and Juditsky 1992): average = decay average + (1 - decay) w after every
// step. It lives in the parameter beside the value, and is evaluated in the value's place.
#pragma once

#include <vector>

#include "espalier/nn/parameter.h"

namespace espalier {

/// The averages start as copies of the values; what is frozen has none.
void start_average(const std::vector<Parameter*>& parameters);
void update_average(const std::vector<Parameter*>& parameters, double decay);
void drop_average(const std::vector<Parameter*>& parameters);

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
