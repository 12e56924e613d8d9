// Which instructions the kernels use: selected when the program starts, from what the processor has.
// ESPALIER_ISA=avx2 or avx512 holds Highway's kernels and oneDNN's to that set, so that every path is tested
// where the machine has it.
#pragma once

#include <string>
#include <vector>

namespace espalier {

enum class Isa { baseline, avx2, avx512 };

const char* isa_name(Isa isa);
/// The set in force. The first call reads ESPALIER_ISA and limits oneDNN; a value that is no
/// known set, or that the processor lacks, is a UsageError.
Isa isa();
/// The sets this processor has, best last: what the tests run under, one after the other.
std::vector<Isa> available_isas();

}  // namespace espalier
