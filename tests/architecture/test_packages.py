"""Packages declare what they import, and images install what they run and nothing else."""

import re
import sys
import tomllib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import generate_packages
import pytest

import import_graph

ROOT = Path(__file__).parents[2]
PACKAGES = sorted(file.parent for file in ROOT.glob("*/*/pyproject.toml"))

_PART_OF = {
    "av": "faster-whisper",
    "botocore": "boto3",
    # These share the namespace `opentelemetry`.
    "opentelemetry-exporter-http-transport": "opentelemetry-exporter-otlp-proto-http",
    "opentelemetry-exporter-otlp-common": "opentelemetry-exporter-otlp-proto-http",
    "opentelemetry-exporter-otlp-proto-common": "opentelemetry-exporter-otlp-proto-http",
    "opentelemetry-proto": "opentelemetry-exporter-otlp-proto-http",
    "opentelemetry-semantic-conventions": "opentelemetry-sdk",
    "pydantic": "fastapi",
    "pydantic-core": "fastapi",
    "starlette": "fastapi",
    "tokenizers": "faster-whisper",
}
"""Packages that ours import without declaring them, and the declared package that requires them."""

_LOADED_BY = {"cryptography": "pyjwt", "greenlet": "sqlalchemy", "redis": "limits"}
"""Required packages that only another package imports: an RSA key, an engine, a Redis storage."""


@cache
def _distributions() -> dict[str, list[str]]:
    """Return the names of the installed packages by the modules they contain."""
    return {
        module: [_normalize(name) for name in names]
        for module, names in packages_distributions().items()
    }


def _normalize(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _imported_packages(modules: Iterable[str], *, with_later: bool) -> set[str]:
    names = import_graph.list_third_party(modules, with_later=with_later)
    return {
        _PART_OF.get(package, package)
        for name in names - sys.stdlib_module_names
        for package in _distributions()[name]
    }


def _unused(required: Iterable[str], imported: set[str], modules: set[str]) -> set[str]:
    """Return the required packages that the modules neither import nor name in a literal."""
    used = imported | {
        package
        for package in set(required) - imported
        for module, packages in _distributions().items()
        if package in packages and import_graph.is_named(module, modules)
    }
    return {
        package
        for package in required
        if package not in used and _LOADED_BY.get(package) not in used
    }


def _declared(package: Path) -> set[str]:
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"]]
    for extra in project.get("optional-dependencies", {}).values():
        lines += extra
    return {_normalize(re.split(r"[\[;<>= ]", line)[0]) for line in lines}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_package_declares_exactly_what_it_imports(package: Path) -> None:
    prefix = f"coach_{package.name}"
    modules = {
        name
        for name in import_graph.find_modules()
        if name == prefix or name.startswith(f"{prefix}.")
    }
    declared = {name for name in _declared(package) if not name.startswith("coach-")}
    imported = _imported_packages(modules, with_later=True)

    assert imported - declared == set()
    assert _unused(declared, imported, modules) == set()


@pytest.mark.parametrize("image", generate_packages.IMAGES, ids=lambda image: image.name)
def test_image_installs_exactly_what_it_imports(image: generate_packages.Image) -> None:
    required, _ = generate_packages.list_installed()[image.name]
    roots = image.list_roots()
    at_start = import_graph.list_reachable(roots, with_later=False)
    reachable = import_graph.list_reachable(roots, with_later=True)

    assert _imported_packages(at_start, with_later=False) - required == set()
    assert _unused(required, _imported_packages(reachable, with_later=True), reachable) == set()


def test_table_of_packages_is_up_to_date() -> None:
    installed = generate_packages.list_installed()
    page = generate_packages.render(installed, generate_packages.read_purposes())

    assert (ROOT / "docs" / "packages.md").read_text() == page


def test_unused_and_undeclared_packages_are_found() -> None:
    required, _ = generate_packages.list_installed()["gateway"]
    roots = ["coach_common.cli", "coach_gateway.app", "coach_common.storage"]
    at_start = import_graph.list_reachable(roots, with_later=False)
    reachable = import_graph.list_reachable(roots, with_later=True)
    imported = _imported_packages(reachable, with_later=True)

    assert _imported_packages(at_start, with_later=False) - required == {"boto3"}
    assert _unused({*required, "bcrypt"}, imported, reachable) == {"bcrypt"}


def test_wheels_contain_no_test_code() -> None:
    wheel = tomllib.loads((ROOT / "libs/common/pyproject.toml").read_text())
    excluded = wheel["tool"]["hatch"]["build"]["targets"]["wheel"]["exclude"]

    assert excluded == ["src/coach_common/testing"]
    assert "pytest11" not in wheel["project"].get("entry-points", {})


def test_shared_library_has_no_module_that_only_the_gateway_uses() -> None:
    users: dict[str, set[str]] = {}
    for image in generate_packages.IMAGES:
        if image.name != "embedded":
            for module in import_graph.list_reachable(image.list_roots(), with_later=True):
                users.setdefault(module, set()).add(image.name)
    common = {name: used_by for name, used_by in users.items() if name.startswith("coach_common.")}

    assert [name for name, used_by in common.items() if used_by == {"gateway"}] == []
