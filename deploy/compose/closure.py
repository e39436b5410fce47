"""Print the part of a lock file that a service needs, with its hashes.

Usage: `closure.py LOCK PACKAGE_DIRECTORY…`. The dependencies of a package are read from the `# via`
comments: a package is needed if a needed package is named there.
"""

import re
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

_BUILD_PACKAGES = {"hatchling", "editables"}
_EXTRAS = {"sqlalchemy": {"greenlet"}, "faststream": {"aio-pika"}, "coach-common": {"asyncmy"}}


def closure(lock: str, package_directories: Sequence[Path]) -> str:
    """Return the blocks of the lock file that these packages need, directly or indirectly."""
    blocks = _blocks(lock)
    required_by = {name: _dependents(block) for name, block in blocks.items()}
    needed = set(_BUILD_PACKAGES) | _EXTRAS["coach-common"]
    for directory in package_directories:
        project = tomllib.loads((directory / "pyproject.toml").read_text())["project"]
        needed |= {re.split(r"[\[;<>= ]", line)[0].lower() for line in project["dependencies"]}
    while True:
        added = {name for name, parents in required_by.items() if parents & needed} - needed
        if not added:
            break
        needed |= added
    return "\n".join(block for name, block in blocks.items() if name in needed) + "\n"


def _blocks(lock: str) -> dict[str, str]:
    blocks: dict[str, str] = {}
    for block in re.split(r"\n(?=[a-z0-9])", lock):
        if "==" in block:
            name = block.partition("==")[0].strip()
            blocks[name] = blocks.get(name, "") + ("\n" if name in blocks else "") + block.rstrip()
    return blocks


def _dependents(block: str) -> set[str]:
    comments = re.findall(r"#\s+(?:via\s+)?([a-z0-9._-]+)", block)
    return {name for name in comments if name not in ("via", "-r")}


if __name__ == "__main__":
    sys.stdout.write(closure(Path(sys.argv[1]).read_text(), [Path(path) for path in sys.argv[2:]]))
