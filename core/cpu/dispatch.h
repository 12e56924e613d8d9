// Calls the best version of a Highway kernel that ESPALIER_ISA and the processor allow.
#pragma once

#include <hwy/highway.h>

#include "espalier/core/isa.h"

/// ESP_DISPATCH(add)(y, a, b, n): isa() first, for it limits what Highway may choose.
#define ESP_DISPATCH(function) (::espalier::isa(), HWY_DYNAMIC_DISPATCH(function))
