"""The imports of this repository's modules, read from their source."""

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]

_DEVELOPMENT_ONLY = "coach_common.testing"
"""Not in the wheels."""


@dataclass(frozen=True, slots=True)
class Imports:
    """What a module imports, and the string literals that may name a package it loads."""

    at_start: frozenset[str]
    """Full names that are imported when the module is imported."""
    later: frozenset[str]
    """Full names that are imported inside a function or a `try` block."""
    literals: frozenset[str]


@cache
def find_modules() -> dict[str, Path]:
    """Return the files of all modules of this repository by their full names."""
    found = {}
    for source in sorted(ROOT.glob("*/*/src")):
        for file in source.rglob("*.py"):
            name = ".".join(file.relative_to(source).with_suffix("").parts)
            name = name.removesuffix(".__init__")
            if not name.startswith(_DEVELOPMENT_ONLY):
                found[name] = file
    return found


@cache
def read_imports(file: Path) -> Imports:
    """Return the imports of a file. Imports for type checkers are left out."""
    found: dict[bool, set[str]] = {False: set(), True: set()}
    literals: set[str] = set()

    def visit(node: ast.AST, is_later: bool) -> None:
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                return
            case ast.Import(names=names):
                found[is_later] |= {alias.name for alias in names}
            case ast.ImportFrom(module=str(module), names=names):
                found[is_later] |= {module} | {f"{module}.{alias.name}" for alias in names}
            case ast.Constant(value=str(text)):
                literals.add(text)
        is_later = is_later or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Try)
        for child in ast.iter_child_nodes(node):
            visit(child, is_later)

    visit(ast.parse(file.read_text()), False)
    return Imports(frozenset(found[False]), frozenset(found[True]), frozenset(literals))


def list_reachable(roots: Iterable[str], *, with_later: bool) -> set[str]:
    """Return the modules of this repository that importing `roots` imports, directly or not.

    Args:
        roots: Full names of modules.
        with_later: Also follow imports inside functions.
    """
    modules = find_modules()
    reached: set[str] = set()
    waiting = [name for root in roots for name in _with_parents(root)]
    while waiting:
        name = waiting.pop()
        if name in reached or name not in modules:
            continue
        reached.add(name)
        imports = read_imports(modules[name])
        names = imports.at_start | imports.later if with_later else imports.at_start
        waiting += [parent for one in names for parent in _with_parents(one)]
    return reached


def list_third_party(modules: Iterable[str], *, with_later: bool) -> set[str]:
    """Return the top-level names, from outside this repository, that the modules import."""
    files = find_modules()
    own = {name.partition(".")[0] for name in files}
    names: set[str] = set()
    for module in modules:
        imports = read_imports(files[module])
        names |= imports.at_start | imports.later if with_later else imports.at_start
    return {name.partition(".")[0] for name in names} - own


def is_named(module: str, modules: Iterable[str]) -> bool:
    """Return True if a string literal names the module, as in `mysql+asyncmy`."""
    pattern = re.compile(rf"(\w+\+)?{re.escape(module)}(-\w+)?")
    files = find_modules()
    return any(
        pattern.fullmatch(text) for name in modules for text in read_imports(files[name]).literals
    )


def _with_parents(name: str) -> Iterator[str]:
    """Yield the name and its parent packages, which Python imports first."""
    while name:
        yield name
        name = name.rpartition(".")[0]
