// Which of several kernels serves a shape. Without autotuning that is a fixed rule of shape, instruction set
// and threads, so that runs repeat; with it the candidates are timed once on the real operands and the
// fastest is kept, by the shape's name.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace espalier::kernel_choice {

/// From now on shapes met for the first time are timed (--autotune), or follow the rule again.
void set_autotune(bool on);

/// The choices in force, shape to candidate: what a run keeps in its folder and reads on --resume.
const std::map<std::string, std::string>& all();
void set_all(std::map<std::string, std::string> choices);

struct Candidate {
  std::string name;
  std::function<void()> run;  ///< must give the same result whichever runs, and however often
};

/// True unless every shape follows its rule: ask before building a name and candidates.
bool active();
/// Runs one of `candidates` on a shape called `shape`: the one chosen for it before; the fastest of a few
/// runs of each when autotuning; else number `rule`.
void run(const std::string& shape, const std::vector<Candidate>& candidates, size_t rule);

}  // namespace espalier::kernel_choice
