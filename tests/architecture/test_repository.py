"""Repository rules: declared dependencies, no machine-specific text, file sizes."""

import ast
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = sorted(file.parent for file in ROOT.glob("*/*/pyproject.toml"))
_IMPORTED_AS = {
    "aio_pika": "aio-pika", "aiosmtplib": "aiosmtplib",
    "alembic": "alembic", "boto3": "boto3", "botocore": "boto3", "cryptography": "cryptography",
    "fastapi": "fastapi", "faststream": "faststream", "httpx": "httpx", "jwt": "pyjwt",
    "prometheus_client": "prometheus-client", "pydantic": "fastapi", "starlette": "fastapi",
    "pydantic_core": "fastapi", "pydantic_settings": "pydantic-settings",
    "sqlalchemy": "sqlalchemy", "structlog": "structlog",
    "uuid_utils": "uuid-utils", "uvicorn": "uvicorn", "uvloop": "uvloop", "bcrypt": "bcrypt",
    "email_validator": "email-validator", "httptools": "httptools", "openai": "openai",
    "faster_whisper": "faster-whisper", "av": "faster-whisper", "numpy": "numpy", "yaml": "pyyaml",
    "tokenizers": "faster-whisper",
    "limits": "limits", "redis": "redis",
    "jiwer": "jiwer", "nanio": "nanio", "websockets": "websockets", "pytest": None,
}  # fmt: skip
_BROUGHT_BY_COMMON = {"alembic", "prometheus-client", "pyjwt", "uvloop"}


def _declared(package: Path) -> set[str]:
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"]]
    for extra in project.get("optional-dependencies", {}).values():
        lines += extra
    return {re.split(r"[\[;<>= ]", line)[0] for line in lines}


def _imports(package: Path) -> set[str]:
    modules: set[str] = set()
    for file in (package / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                modules.add(node.module.partition(".")[0])
    return {name for name in modules if name not in sys.stdlib_module_names}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_imports_are_declared_dependencies(package: Path) -> None:
    declared = _declared(package)
    imported = {
        name.replace("_", "-") if name.startswith("coach_") else _IMPORTED_AS[name]
        for name in _imports(package)
    } - {None, f"coach-{package.name}"}
    if package.name != "common":
        imported -= _BROUGHT_BY_COMMON

    assert imported <= declared


def test_requirements_list_purpose_of_every_package() -> None:
    listed = {
        re.split(r"[\[;<>= ]", line)[0]
        for line in (ROOT / "requirements.in").read_text().splitlines()
        if line and not line.startswith("#")
    }
    purposes = [
        line
        for line in (ROOT / "requirements.in").read_text().splitlines()
        if line and not line.startswith("#") and "# " not in line
    ]
    declared = set().union(*(_declared(package) for package in PACKAGES))

    assert {name for name in declared if not name.startswith("coach-")} - {"numpy"} <= listed
    assert purposes == []


def test_no_registry_or_machine_names_in_repository() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    hosts = re.compile(rb"https?://[a-z.]*(pypi|pythonhosted|npmjs|deb\.debian|snapshot\.)")
    # A checkout in the temporary directory is named by itself: containers use /tmp as well.
    place = ROOT if ROOT.parent == Path(tempfile.gettempdir()) else ROOT.parent
    machine = str(place).encode() + b"/"
    for name in filter(None, listed.split(b"\0")):
        file = ROOT / name.decode()
        if not file.is_file():
            continue
        content = file.read_bytes()
        assert not hosts.search(content), name
        if len(machine) > 3:
            assert machine not in content, name


def test_source_files_stay_under_line_limit() -> None:
    line_counts = {
        str(file.relative_to(ROOT)): len(file.read_text().splitlines())
        for package in PACKAGES
        for file in (package / "src").rglob("*.py")
    }

    assert {name: lines for name, lines in line_counts.items() if lines > 480} == {}


def test_no_profile_checks_outside_composition_root() -> None:
    for package in PACKAGES:
        if package.name == "embedded":
            continue
        for file in (package / "src").rglob("*.py"):
            assert not re.search(r"\bif .*(embedded|is_distributed)", file.read_text()), file
