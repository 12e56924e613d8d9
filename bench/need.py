"""What the scripts here need of Python: said in one line instead of a traceback."""

import importlib.util
import os
import sys


def need(*packages):
    """Ends the script, with exit code 2, if one of `packages` is missing."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        name = os.path.basename(sys.argv[0])
        print(f"{name}: needs {', '.join(missing)}, which {sys.executable} does not have: "
              f"pip install {' '.join(missing)}", file=sys.stderr)
        sys.exit(2)
