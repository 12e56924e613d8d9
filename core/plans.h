// Plans: what a library generated for a shape, kept for the next time that the shape comes by
// (core/plan_cache.h). Here is said when shapes are gone.
#pragma once

#include <cstdint>

namespace espalier {

/// To be called when a network's shapes have changed, as a cut changes them: plans that nothing has used
/// since the change before are dropped, by each thread as it next asks for one. So those of layers that
/// stayed as they were are kept, and those of shapes that are gone outlive one change at most. Thread-safe.
void shapes_changed();
/// How often they have.
uint64_t shape_changes();

}  // namespace espalier
