// What this library has of OpenMP: the name of its setting. Threads are ours (thread_pool.h), and so are
// those of oneDNN, which was built for GCC's OpenMP library: openmp.cpp has the functions of it that oneDNN
// calls.
#pragma once

#include <optional>

namespace espalier {

/// What OMP_NUM_THREADS says (of "4,2" the first); none if it is not set or empty. A UsageError if it is no
/// whole number from 1 to max_threads.
std::optional<int> openmp_num_threads();

}  // namespace espalier
