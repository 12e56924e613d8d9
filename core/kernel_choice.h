// Which of several kernels serves a shape. Without autotuning that is a fixed rule of shape, instruction set
// and threads, so that runs repeat; with it the candidates are timed once on the real operands and the
// fastest is kept, by the shape's name. Candidates may sum in different orders, so the choice is part of what
// decides a run's last bits.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace espalier::kernel_choice {

/// From now on shapes met for the first time are timed (--autotune), or follow the rule again.
void set_autotune(bool on);

/// The choices in force, shape to candidate: what a run keeps in its folder (kernels.json, with each
/// checkpoint) and reads on --resume, so that the shapes it has met go on with the same bits.
const std::map<std::string, std::string>& all();
void set_all(std::map<std::string, std::string> choices);

/// What a candidate that there is may be called. A choice of another name, made by another version of the
/// program, is not followed: its shape is served as if it had not been met.
bool is_known(const std::string& name);

struct Candidate {
  std::string name;
  /// The same result up to rounding whichever candidate runs; the same bits however often one does.
  std::function<void()> run;
};

/// True unless every shape follows its rule: ask before building a name and candidates.
bool active();
/// Runs one of `candidates` on a shape called `shape`: the one selected for it before; the fastest of a few
/// runs of each when autotuning; else number `rule`.
void run(const std::string& shape, const std::vector<Candidate>& candidates, size_t rule);

}  // namespace espalier::kernel_choice
