"""Marks tests that need Python packages beyond its own library: `scripts/setup --peers` installs them, and ctest counts
the marked tests of a file apart from the others (run_unittest.py)."""

import importlib.util
import unittest


def needs(*packages):
    """For a test or a class of tests: skipped where one of `packages` is missing."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]

    def mark(tested):
        tested.needs_packages = True
        return unittest.skipIf(missing, f"not installed: {', '.join(missing)} (scripts/setup --peers)")(tested)
    return mark


def is_marked(test):
    """Whether `test`, a TestCase of one method, or its class is marked."""
    return hasattr(test, "needs_packages") or hasattr(getattr(test, test._testMethodName), "needs_packages")
