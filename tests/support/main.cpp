// Runs the tests. Under an ESPALIER_ISA that this processor lacks nothing can be tested, and without
// ESPALIER_TEST_NEEDS_ISA nothing is to be: exit code 77, "skipped". A test that hangs or crashes is named
// (watchdog.h).
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <string_view>

#include "espalier/core/isa.h"
#include "support/places.h"
#include "support/watchdog.h"

std::string espalier::source_folder() { return ESPALIER_SOURCE_DIR; }

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  for (const char* variable : {"ESPALIER_ISA", "ESPALIER_TEST_NEEDS_ISA"}) {
    const char* wanted = std::getenv(variable);
    if (!wanted || GTEST_FLAG_GET(list_tests)) continue;
    const auto present = espalier::available_isas();
    if (std::none_of(present.begin(), present.end(),
                     [&](espalier::Isa isa) { return std::string_view(wanted) == isa_name(isa); })) {
      std::cout << "skipped: this processor has no " << wanted << "\n";
      return 77;
    }
  }
  espalier::watch_tests();
  return RUN_ALL_TESTS();
}
