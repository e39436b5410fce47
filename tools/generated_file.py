"""Writing a generated file, or checking that it is up to date."""

import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]


def write_or_check(path: Path, content: str, args: Sequence[str]) -> int:
    """Write `content` to `path`, or only compare them if `args` contains `--check`.

    Returns the exit code: 1 if the check failed, else 0.
    """
    if "--check" not in args:
        path.write_text(content)
        return 0
    if not path.exists() or path.read_text() != content:
        print(f"{path.name} is out of date: run `make docs`", file=sys.stderr)
        return 1
    return 0
