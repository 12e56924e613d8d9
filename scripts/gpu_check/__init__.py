"""What scripts/gpu-check is made of: pack.py here; run.py and the others on the machine with the GPU."""

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]  # scripts/, or the folder that was packed
PYTHON = sys.executable or "python3"  # the former is empty where there is no PATH


def fail(message, code=2):
    print(f"gpu-check: {message}", file=sys.stderr)
    sys.exit(code)
