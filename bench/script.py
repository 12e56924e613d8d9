"""What the scripts here share: how they fail, where Espalier is and how a command is run."""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]


class Failure(Exception):
    """What a person is told in one line."""


def add_espalier(parser):
    parser.add_argument("--espalier", type=pathlib.Path, help="the program (default: build/release/bin/espalier)",
                        default=ROOT / "build" / "release" / "bin" / "espalier")


def check_espalier(program):
    if not program.is_file():
        raise Failure(f"{program}: no such program; scripts/quickstart builds it")


def printed(command, name, **options):
    """What a command prints; a Failure with the last line of its complaint. `options` are subprocess.run's."""
    result = subprocess.run(command, capture_output=True, text=True, **options)
    if result.returncode != 0:
        last = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise Failure(f"{name}: exit code {result.returncode}: {last}")
    return result.stdout


def run(main):
    """main(), as a program: a Failure is one line, and exit code 1."""
    try:
        main()
    except Failure as failure:
        print(f"{pathlib.Path(sys.argv[0]).name}: {failure}", file=sys.stderr)
        sys.exit(1)
