#include "espalier/core/plans.h"

#include <atomic>

namespace espalier {
namespace {
std::atomic<uint64_t> changes = 0;
}

void shapes_changed() { ++changes; }
uint64_t shape_changes() { return changes; }

}  // namespace espalier
