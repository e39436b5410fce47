"""Print what an image installs: the part of the lock file that a service needs, with its hashes.

Usage: `closure.py PACKAGE[EXTRA] LOCK` prints the lines of the lock file.
`closure.py PACKAGE[EXTRA]` prints the directories of this repository's packages that it needs.

Dependencies and extras of this repository's packages come from their pyproject.toml. Dependencies
of others come from the `# via` comments of the lock file: a package is needed if a needed package
is named there.
"""

import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_EXTRAS = {"sqlalchemy": {"greenlet"}, "faststream": {"aio-pika"}}
"""Extras of third-party packages that ours ask for. The comments do not name them."""

_UNUSED = {
    "cffi": {"pycparser"},
    "huggingface-hub": {
        "click",
        "filelock",
        "fsspec",
        "hf-xet",
        "httpx2",
        "pyyaml",
        "tqdm",
        "typer",
    },
    "onnxruntime": {"flatbuffers", "protobuf"},
    "typer": {"rich"},
    "uvicorn": {"watchfiles"},
}
"""Packages that others import only for what no image does: downloads of models, conversions of
models, coloured help of commands, and reloading of changed sources."""

_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:\[([^]]*)\])?")


def find_projects(root: Path) -> dict[str, tuple[Path, dict[str, Any]]]:
    """Return the directory and the `project` table of each package of this repository."""
    found = {}
    for file in sorted(root.glob("*/*/pyproject.toml")):
        project = tomllib.loads(file.read_text())["project"]
        found[project["name"]] = (file.parent, project)
    return found


def resolve(
    requirement: str, projects: Mapping[str, tuple[Path, dict[str, Any]]]
) -> tuple[list[str], set[str]]:
    """Return the packages of this repository, and the others, that a requirement names."""
    own: list[str] = []
    others: set[str] = set()
    seen: set[tuple[str, str]] = set()
    waiting = [requirement]
    while waiting:
        match = _REQUIREMENT.match(waiting.pop())
        if match is None:
            continue
        name = match[1].lower()
        if name not in projects:
            others |= {name} | (_EXTRAS.get(name, set()) if match[2] else set())
            continue
        project = projects[name][1]
        for extra in ("", *(match[2] or "").split(",")):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            waiting += project["optional-dependencies"][extra] if extra else project["dependencies"]
        if name not in own:
            own.append(name)
    return own, others


def closure(lock: str, names: Iterable[str]) -> str:
    """Return the blocks of the lock file that these packages need, directly or indirectly."""
    blocks = _blocks(lock)
    required_by = {name: _dependents(block) for name, block in blocks.items()}
    needed = set(names)
    while True:
        added = {
            name
            for name, parents in required_by.items()
            if any(name not in _UNUSED.get(parent, ()) for parent in parents & needed)
        } - needed
        if not added:
            break
        needed |= added
    return "".join(f"{block}\n" for name, block in blocks.items() if name in needed)


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
    projects = find_projects(Path.cwd())
    own, others = resolve(sys.argv[1], projects)
    if len(sys.argv) > 2:
        sys.stdout.write(closure(Path(sys.argv[2]).read_text(), others))
    else:
        print("\n".join(str(projects[name][0]) for name in own))
