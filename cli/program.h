// The command line as a function, for programs that add models, data sets, optimizers, ... of their own.
#pragma once

namespace espalier {

/// What `espalier` does with its arguments, from main's `argc` and `argv`, and what main returns: 0 done, 1
/// the run failed, 2 wrong usage or input, 128 + signal when interrupted. What is wrong has been printed by
/// then. `register_all`, where there is one, is called first: it adds to registries.
int program(int argc, char** argv, void (*register_all)() = nullptr);

}  // namespace espalier
