"""The modules that the image of the gateway compiles (docs/decisions/0020-compiled-gateway.md)."""

import importlib
import os
import runpy
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
MODULES = runpy.run_path(str(ROOT / "deploy" / "images" / "compile.py"))["MODULES"]
is_compiled_run = bool(os.environ.get("COACH_COMPILED"))


@pytest.mark.parametrize("path", MODULES)
def test_the_module_has_the_expected_form(path: str) -> None:
    """`make test-compiled` must test compiled modules, and every other run the sources."""
    module = importlib.import_module(path.removesuffix(".py").replace("/", "."))

    assert module.__file__ is not None
    assert module.__file__.endswith(tuple(EXTENSION_SUFFIXES)) is is_compiled_run
