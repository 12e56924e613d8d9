"""scripts/gpu-check where there is no card, and where nothing has been packed or built."""

import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "gpu-check"


class GpuCheck(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def run_script(self, *arguments, script=SCRIPT):
        return subprocess.run([sys.executable, script, *arguments], cwd=self.folder, capture_output=True, text=True)

    def check(self, result, code, text):
        self.assertEqual((result.returncode, result.stdout), (code, ""))
        self.assertEqual(len(result.stderr.splitlines()), 1)
        self.assertIn(text, result.stderr)

    def test_nothing_is_built(self):
        self.check(self.run_script("pack", "to", "--build", "build/none"), 2, "is not there; cmake --preset cuda")
        self.assertFalse((self.folder / "to").exists())

    def test_nothing_is_packed(self):
        shutil.copy2(SCRIPT, self.folder / "gpu-check")
        self.check(self.run_script("run", script=self.folder / "gpu-check"), 2, "pack.tar.xz: is not there")

    @unittest.skipIf(shutil.which("nvidia-smi"), "there may be a card")
    def test_no_card(self):
        shutil.copy2(SCRIPT, self.folder / "gpu-check")
        (self.folder / "pack.tar.xz").touch()
        self.check(self.run_script("run", script=self.folder / "gpu-check"), 3, "no GPU here")


if __name__ == "__main__":
    unittest.main()
