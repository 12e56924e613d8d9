"""docs/tutorial.md, run as it stands: its files are written, its commands run, and what it shows is what they print.

Numbers that vary from machine to machine may differ (`steady`); a line '...' on the page stands for any lines."""

import os
import pathlib
import re
import subprocess
import sys
import unittest

for where in (".", "../support"):
    sys.path.insert(0, os.path.join(os.path.dirname(__file__), where))
from needs import needs
from support import BINARY, CliTest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "tutorial.md").read_text()
IN_PYTORCH = "## Load it in PyTorch"


def blocks(text):
    """(language, content, name) of each fenced block; the name is the last `x.json` or `x.py` in the paragraph above it."""
    language, content, above = None, [], [""]
    for line in text.splitlines():
        if language is None and line.startswith("```"):
            language, content = line[3:], []
        elif line == "```":
            paragraph = "\n".join(above).rstrip("\n").split("\n\n")[-1]
            yield language, "".join(f"{line}\n" for line in content), (re.findall(r"`(\w+\.(?:json|py))`", paragraph) or [None])[-1]
            language, above = None, [""]
        else:
            (above if language is None else content).append(line)


def steady(line):
    """The line without what varies: times, rates, sizes of files, numbers with a fraction (but for a sparsity that was asked
    for, 80.00 %, and 0.00 %), how many spaces."""
    line = re.sub(r"[\d.,]+(e-\d+)?( ?(ms|s|kB|images/s)\b)", r"#\2", line)
    line = re.sub(r"\b(?!80\.00 %|0\.00 %)\d+\.\d+(e-\d+)?", "#", line)
    line = re.sub(" +", " ", line).strip()
    return re.sub(r"[\d,]+ # s$", "# # s", line)  # the table's images a second, then its time


def missing_line(shown, printed):
    """The first line of `shown` that `printed` lacks where the page has it, or nothing."""
    printed = [steady(line) for line in printed.splitlines()]
    at, anywhere = 0, False
    for line in shown.splitlines():
        if line == "...":
            anywhere = True
            continue
        there = [i for i in range(at, len(printed)) if printed[i] == steady(line)]
        if not there or (not anywhere and there[0] != at):
            return line
        at, anywhere = there[0] + 1, False
    return None if anywhere or at == len(printed) else f"the end, but there is {printed[at]!r}"


class Tutorial(CliTest):
    def run_page(self, text):
        """How many commands ran, and how many of them the page shows the output of."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ESPALIER_")}
        environment.update(ESPALIER=str(ROOT), XDG_CACHE_HOME=str(self.folder / "cache"), PYTHONDONTWRITEBYTECODE="1",
                           PATH=os.pathsep.join([str(pathlib.Path(BINARY).parent), os.path.dirname(sys.executable),
                                                 environment["PATH"]]))
        commands, shown, printed = 0, 0, None
        for language, content, name in blocks(text):
            if language in ("json", "python"):
                self.write(name, content)
            elif language == "sh":
                result = subprocess.run(["bash", "-euo", "pipefail", "-c", content], cwd=self.folder, env=environment,
                                        capture_output=True, text=True, timeout=200)
                self.assertEqual(result.returncode, 0, f"{content}{result.stdout}{result.stderr}")
                commands, printed = commands + 1, result.stdout
            else:
                self.assertEqual(language, "", "a block of no kind that this test knows")
                missing = missing_line(content, printed)
                self.assertIsNone(missing, f"is on the page, but was not printed there:\n{printed}")
                shown += 1
        return commands, shown

    def test_from_images_to_a_smaller_network(self):
        self.assertEqual(self.run_page(PAGE.split(IN_PYTORCH)[0]), (9, 9))

    @needs("torch", "safetensors")
    def test_ends_in_pytorch(self):
        self.assertEqual(self.run_page(PAGE), (11, 11))


class WhatIsCompared(unittest.TestCase):
    PRINTED = "one 1.5 s\ntwo  12 layers\nthree 80.00 %\n"

    def test_what_varies_may(self):
        self.assertIsNone(missing_line("one 0.25 s\n...\nthree 80.00 %\n", self.PRINTED))
        self.assertIsNone(missing_line("...\ntwo 12 layers\n...\n", self.PRINTED))

    def test_all_else_may_not(self):
        for shown, lacking in (("two 12 layers\n...\n", "two 12 layers"), ("...\ntwo 13 layers\n...\n", "two 13 layers"),
                               ("one 1.5 s\nthree 80.00 %\n", "three 80.00 %"), ("...\nthree 70.00 %\n", "three 70.00 %"),
                               ("one 1.5 s\n", "the end, but there is 'two 12 layers'")):
            self.assertEqual(missing_line(shown, self.PRINTED), lacking)

    def test_blocks_have_their_names(self):
        found = list(blocks("`a.py` draws:\n\n```python\nx\n\ny\n```\n\n```sh\nls `pwd`\n```\n\n```\nz\n```\n"))
        self.assertEqual(found, [("python", "x\n\ny\n", "a.py"), ("sh", "ls `pwd`\n", None), ("", "z\n", None)])


if __name__ == "__main__":
    unittest.main()
