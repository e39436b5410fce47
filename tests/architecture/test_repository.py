"""Repository rules: declared dependencies, no machine-specific text, file sizes."""

import re
import subprocess
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = sorted(file.parent for file in ROOT.glob("*/*/pyproject.toml"))


def _declared(package: Path) -> set[str]:
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"]]
    for extra in project.get("optional-dependencies", {}).values():
        lines += extra
    return {re.split(r"[\[;<>= ]", line)[0] for line in lines}


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
