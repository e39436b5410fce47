"""Which of the lock a service needs: `closure.py LOCK FOLDER…` prints that part, hashes and all.

The lock is universal, so a package's own requirements are read from its `# via` lines: a package is
needed if something needed asked for it.
"""

import re
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

_BUILD = {"hatchling", "editables"}
_EXTRAS = {"sqlalchemy": {"greenlet"}, "faststream": {"aio-pika"}, "coach-common": {"asyncmy"}}


def closure(lock: str, folders: Sequence[Path]) -> str:
    """Return the blocks of the lock that these packages need, directly or not."""
    blocks = _blocks(lock)
    asked_by = {name: _askers(block) for name, block in blocks.items()}
    wanted = set(_BUILD) | _EXTRAS["coach-common"]
    for folder in folders:
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        wanted |= {re.split(r"[\[;<>= ]", line)[0].lower() for line in project["dependencies"]}
    while True:
        more = {name for name, askers in asked_by.items() if askers & wanted} - wanted
        if not more:
            break
        wanted |= more
    return "\n".join(block for name, block in blocks.items() if name in wanted) + "\n"


def _blocks(lock: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for block in re.split(r"\n(?=[a-z0-9])", lock):
        if "==" in block:
            name = block.partition("==")[0].strip()
            found[name] = found.get(name, "") + ("\n" if name in found else "") + block.rstrip()
    return found


def _askers(block: str) -> set[str]:
    comments = re.findall(r"#\s+(?:via\s+)?([a-z0-9._-]+)", block)
    return {name for name in comments if name not in ("via", "-r")}


if __name__ == "__main__":
    sys.stdout.write(closure(Path(sys.argv[1]).read_text(), [Path(one) for one in sys.argv[2:]]))
