// OutOfMemory: a card has no more. Thrown where memory is asked for, told by whoever knows what for.
#pragma once

#include "espalier/util/error.h"

namespace espalier {

class OutOfMemory : public Error {
 public:
  /// "WHAT by BY; STATE", as in "cuda: out of memory: 512 MiB asked for by conv1 (conv2d); this program uses
  /// ..."; an empty `by` is left out.
  OutOfMemory(const std::string& what, const std::string& state, const std::string& by = "")
      : Error(join(what, by.empty() ? "" : " by ", by, "; ", state)), what_(what), state_(state), by_(by) {}

  /// Who asked; empty: is not known yet.
  const std::string& by() const { return by_; }
  OutOfMemory asked_by(const std::string& by) const { return {what_, state_, by}; }

 private:
  std::string what_, state_, by_;
};

}  // namespace espalier
