// Ends a test that hangs, and says which. ctest would end it too, but without a word of where.
#pragma once

#include <string>

namespace espalier {

/// From now on a test that runs longer than ESPALIER_TEST_SECONDS (default 240, or 1200 under sanitizers, below
/// ctest's limit; 0: none) ends the program with exit code 124, after a line that names it and a backtrace of
/// each thread. So does a crash, with its signal. Call once, before the tests run. Time in which the whole
/// program is suspended does not count.
void watch_tests();

/// For a test that runs many cases: which it is at, for that line. Each has the whole time.
void working_on(const std::string& what);

}  // namespace espalier
