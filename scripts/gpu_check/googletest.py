"""Runs tests of a googletest program so that one that breaks the card's context takes no other along.

An address that is not the program's, among others, makes every later call of the process fail: what came after it says
nothing and is run again, in a process of its own.
"""

import collections
import re

from gpu_check.commands import Failed

# Errors after which the process has no card any more.
BREAKS = re.compile("cudaError(IllegalAddress|MisalignedAddress|LaunchFailure|LaunchTimeout|Assert|HardwareStackError|"
                    "IllegalInstruction|InvalidAddressSpace|InvalidPc|ECCUncorrectable|ContextIsDestroyed|Unknown)")
MAX_DEATHS = 3  # of a suite, whose other tests are then left out
LINE = re.compile(r"^\[ +(RUN|OK|FAILED|SKIPPED) +\] ([\w/]+\.[\w/]+)")


def listed(text):
    """Full names, of --gtest_list_tests."""
    names, suite = [], ""
    for line in text.splitlines():
        word = line.split("#")[0].rstrip()
        if line.startswith("  "):
            names.append(suite + word.strip())
        elif word.endswith("."):
            suite = word
    return names


def parsed(text):
    """[(name, how it ended or None, what it said)] of what a program had printed."""
    tests = []
    for line in text.splitlines():
        found = LINE.match(line)
        if found and found[1] == "RUN":
            tests.append([found[2], None, []])
        elif found and tests and tests[-1][0] == found[2] and tests[-1][1] is None:
            tests[-1][1] = found[1]
        elif tests and tests[-1][1] is None:
            tests[-1][2].append(line)
    return [(name, end, "\n".join(said)) for name, end, said in tests]


class Tests:
    """How each test ended, and what the first that failed of each suite said."""

    def __init__(self, program, environment, runner):
        self.program, self.environment, self.runner = program, environment, runner
        self.ends, self.first_failures = {}, {}

    def names(self, limit):
        result = self.runner.run([self.program, "--gtest_list_tests"], self.environment, limit)
        return listed(result.checked().out)

    def record(self, name, end, said):
        self.ends[name] = end
        suite = name.split(".")[0]
        if end in ("FAILED", "DIED", "STOPPED") and suite not in self.first_failures:
            self.first_failures[suite] = {"test": name, "end": end, "message": said.strip()[:600]}

    def run(self, names, deadline):
        """Those of `names`; the rest is left out once the deadline is near."""
        todo, deaths = list(names), collections.Counter()
        while todo and deadline.left() > 2:
            command = [self.program, "--gtest_color=no", f"--gtest_filter={':'.join(todo)}"]
            result = self.runner.run(command, self.environment, deadline.left())
            seen = parsed(result.out)
            if not seen:
                result.checked()
                raise Failed("its test program ran no test")
            failed = False
            for name, end, said in seen:
                if end is None:
                    end, said = ("STOPPED" if result.late else "DIED"), said + "\n" + result.err[-600:]
                broken = end == "DIED" or (end == "FAILED" and BREAKS.search(said) is not None)
                if broken and failed:
                    break  # it may be that one's doing: again, in a fresh process
                self.record(name, end, said)
                todo.remove(name)
                if broken:
                    deaths[name.split(".")[0]] += 1
                    break
                failed = failed or end == "FAILED"
            todo = [name for name in todo if deaths[name.split(".")[0]] < MAX_DEATHS]

    def summary(self, names):
        """"213 of 220 passed, 7 skipped", and Failed where one did not, or was not run."""
        count = collections.Counter(self.ends.get(name, "NOT RUN") for name in names)
        words = {"OK": "passed", "SKIPPED": "skipped", "FAILED": "failed", "DIED": "died", "STOPPED": "was stopped",
                 "NOT RUN": "not run"}
        text = ", ".join(f"{count[end]} {word}" for end, word in words.items() if count[end]) or "none"
        if count["OK"] + count["SKIPPED"] < len(names):
            suites = {name.split(".")[0] for name in names}
            first = next((f"{one['test']}: {one['message'].splitlines()[0] if one['message'] else one['end']}"
                          for suite, one in self.first_failures.items() if suite in suites), "no time was left")
            raise Failed(f"{text}; first {first}")
        return text

    def as_json(self):
        suites = collections.defaultdict(collections.Counter)
        for name, end in self.ends.items():
            suites[name.split(".")[0]][end.lower()] += 1
        return {suite: {**ends, **({"first_failure": first} if (first := self.first_failures.get(suite)) else {})}
                for suite, ends in suites.items()}
