// Threads that other processes keep from running make a run slow without a word; this is the word.
#pragma once

#include <string>

#include "espalier/core/thread_pool.h"

namespace espalier {

/// What a person must know if, of `threads` threads, the caller waited longer for the others' parts than it
/// took for its own: with the number of threads that may do better. Empty if not, or if too little was
/// sampled to say.
std::string starvation_warning(const RegionTimes& times, int threads);

/// The same for this process since it was asked last, so that a quiet hour hides no busy one; empty, too,
/// once it has been said.
std::string new_starvation_warning();

}  // namespace espalier
