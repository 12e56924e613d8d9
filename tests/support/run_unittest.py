"""Runs the tests of one unittest file for ctest: run_unittest.py FILE [--peers]

Without --peers those that need no package beyond Python's own, and exit code 77, "skipped", where every test of them was.
With --peers those that do (needs.py), by the Python of the folder ESPALIER_PEERS or of build/peers, where
`scripts/setup --peers` has made one; and 77 where any test was skipped, since a package is missing.
"""

import importlib.util
import os
import pathlib
import sys
import unittest

sys.dont_write_bytecode = True
from needs import is_marked


def tests_in(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from tests_in(test)
        else:
            yield test


peers = "--peers" in sys.argv[2:]
if peers:
    folder = pathlib.Path(os.environ.get("ESPALIER_PEERS") or pathlib.Path(__file__).parents[2] / "build" / "peers")
    python = folder / "bin" / "python"
    if python.exists() and "--here" not in sys.argv:
        os.execv(python, [python, *sys.argv, "--here"])
spec = importlib.util.spec_from_file_location("tested", sys.argv[1])
tested = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tested)
suite = unittest.TestSuite(test for test in tests_in(unittest.defaultTestLoader.loadTestsFromModule(tested))
                           if is_marked(test) == peers)
result = unittest.TextTestRunner(verbosity=2).run(suite)
if not result.testsRun:
    sys.exit(f"{sys.argv[1]}: no test in it")
if not result.wasSuccessful():
    sys.exit(1)
sys.exit(77 if len(result.skipped) >= (1 if peers else result.testsRun) else 0)
