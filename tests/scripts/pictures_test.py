"""docs/pictures/draw.py: the committed pictures are what it draws."""

import pathlib
import subprocess
import sys
import tempfile
import unittest
import xml.dom.minidom

ROOT = pathlib.Path(__file__).resolve().parents[2]
PICTURES = ROOT / "docs" / "pictures"


class Pictures(unittest.TestCase):
    def test_are_as_drawn(self):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([sys.executable, PICTURES / "draw.py", folder], check=True)
            drawn = {path.name: path.read_text(encoding="utf-8") for path in pathlib.Path(folder).iterdir()}
        self.assertEqual({path.name: path.read_text(encoding="utf-8") for path in PICTURES.glob("*.svg")}, drawn)
        for text in drawn.values():
            xml.dom.minidom.parseString(text)


if __name__ == "__main__":
    unittest.main()
