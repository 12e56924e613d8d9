// The lines of an Error that tells of several mistakes (util/mistakes.h).
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "espalier/util/mistakes.h"

/// What `call` throws, a line for each mistake and one with their number; a failure and none unless it is
/// that.
template <class Call>
std::vector<std::string> mistakes_of(Call&& call) {
  try {
    call();
  } catch (const espalier::Error& error) {
    const auto* several = dynamic_cast<const espalier::SeveralLines*>(&error);
    if (several) return several->lines;
    ADD_FAILURE() << "tells of one mistake: " << error.what();
    return {};
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}
