"""Write docs/packages.md: the third-party packages of each container image.

Usage: `python tools/generate_packages.py [--check]`.
"""

import importlib.util
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType

from generated_file import ROOT, write_or_check
from import_graph import find_modules

_FILE = ROOT / "docs" / "packages.md"
_LOCK = ROOT / "requirements.lock"


@dataclass(frozen=True, slots=True)
class Image:
    """A container image: the requirement that it installs and the modules that it may run."""

    name: str
    requirement: str
    roots: tuple[str, ...]
    """Modules. A name that ends with `.*` means all modules of the package."""

    def list_roots(self) -> list[str]:
        """Return the names of the modules."""
        names: list[str] = []
        for root in self.roots:
            package = root.removesuffix(".*")
            names += [
                name
                for name in find_modules()
                if name == package or (package != root and name.startswith(f"{package}."))
            ]
        return names


IMAGES = (
    Image("gateway", "coach-gateway", ("coach_common.cli", "coach_gateway.*")),
    Image("auth", "coach-auth", ("coach_common.cli", "coach_auth.*")),
    Image("sessions", "coach-sessions", ("coach_common.cli", "coach_sessions.*")),
    Image("media", "coach-media", ("coach_common.cli", "coach_media.*")),
    Image("ai", "coach-ai[local]", ("coach_common.cli", "coach_ai.*")),
    Image(
        "ai-openai",
        "coach-ai",
        ("coach_common.cli", "coach_ai.__main__", "coach_ai.profile.document_process"),
    ),
    Image("store", "coach-embedded", ("coach_embedded.store_server",)),
    Image(
        "embedded",
        "coach-embedded[services]",
        (
            "coach_common.cli",
            "coach_embedded.*",
            "coach_gateway.*",
            "coach_auth.*",
            "coach_sessions.*",
            "coach_media.*",
            "coach_ai.*",
        ),
    ),
)


def load_closure() -> ModuleType:
    """Return the module that the image builds use to choose packages."""
    path = ROOT / "deploy" / "images" / "closure.py"
    spec = importlib.util.spec_from_file_location("closure", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def list_installed() -> dict[str, tuple[set[str], set[str]]]:
    """Return, per image, the packages that our code requires and all packages it installs."""
    closure = load_closure()
    projects = closure.find_projects(ROOT)
    lock = _LOCK.read_text()
    installed = {}
    for image in IMAGES:
        _, required = closure.resolve(image.requirement, projects)
        names = set(re.findall(r"^([a-z0-9._-]+)==", closure.closure(lock, required), re.M))
        installed[image.name] = (required & names, names)
    return installed


def render(installed: Mapping[str, tuple[set[str], set[str]]], purposes: Mapping[str, str]) -> str:
    """Return the page.

    Args:
        installed: Per image, the required packages and all packages.
        purposes: Purpose and license of each required package.
    """
    images = list(installed)
    counts = "\n".join(
        f"| `{name}` | {len(required)} | {len(names)} |"
        for name, (required, names) in installed.items()
    )
    required_by_any = set().union(*(required for required, _ in installed.values()))
    others = set().union(*(names for _, names in installed.values())) - required_by_any
    return f"""# Packages of the container images

Reference for operators and reviewers: which third-party packages each image installs. Generated
from the `pyproject.toml` files and `requirements.lock` by `make docs`. `tests/architecture` rejects
a required package that an image never imports, and an import that the image does not install.

| image | required packages | installed packages |
|---|---|---|
{counts}

## Required packages

`●` marks packages that our code requires, `○` packages that come with another package.

| package | {" | ".join(images)} | purpose and license |
|---|{"---|" * len(images)}---|
{_rows(required_by_any, installed, purposes)}

## Packages that come with them

| package | {" | ".join(images)} |
|---|{"---|" * len(images)}
{_rows(others, installed, None)}
"""


def read_purposes() -> dict[str, str]:
    """Return the comments of requirements.in by package."""
    purposes = {}
    for line in (ROOT / "requirements.in").read_text().splitlines():
        requirement, _, purpose = line.partition("#")
        if name := re.match(r"[A-Za-z0-9._-]+", requirement):
            purposes[name[0].lower()] = purpose.strip()
    return purposes


def _rows(
    packages: set[str],
    installed: Mapping[str, tuple[set[str], set[str]]],
    purposes: Mapping[str, str] | None,
) -> str:
    lines = []
    for package in sorted(packages):
        marks = [
            "●" if package in required else "○" if package in names else ""
            for required, names in installed.values()
        ]
        cells = [package, *marks] + ([] if purposes is None else [purposes.get(package, "")])
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(write_or_check(_FILE, render(list_installed(), read_purposes()), sys.argv[1:]))
