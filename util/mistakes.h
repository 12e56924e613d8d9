// Mistakes in what a person wrote, gathered so that all are told at once.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "espalier/util/error.h"

namespace espalier {

/// What an exception is, too, that tells of several mistakes: a line for each, and one that counts them.
struct SeveralLines {
  std::vector<std::string> lines;
};

/// Of JSON pointers: "/a/b" lies in "/a", not in "/a2", and in "", as all does; and each in itself.
bool lies_in(std::string_view inner, std::string_view outer);

class Mistakes {
 public:
  /// Does `act`. An Error that it fails with is kept as a mistake at `place`, a JSON pointer ("" is the
  /// document itself), with `prefix` before each of its lines, and the answer is false.
  template <class Act>
  bool attempt(const std::string& place, const Act& act, const std::string& prefix = "") {
    try {
      act();
      return true;
    } catch (const Error& error) {
      add(place, error, prefix);
      return false;
    }
  }
  /// Those of `others` at places that `wanted` says yes to.
  void take(const Mistakes& others, const std::function<bool(const std::string& place)>& wanted);
  bool empty() const { return lines_.empty(); }
  void add(const std::string& place, const Error& error, const std::string& prefix = "");
  /// True unless there is one at `place`, in it or in what it lies in.
  bool spare(std::string_view place) const;
  /// Throws if there are any: one as the Error it was, several as one Error with their lines and "WHAT: 3
  /// mistakes". It is a UsageError if one of them is.
  void report(const std::string& what) const;

 private:
  struct Line {
    std::string place, text;
  };
  std::vector<std::string> places_;
  std::vector<Line> lines_;
  bool usage_ = false;
};

}  // namespace espalier
