"""One version, one form of the changelog; hooks and the CI workflow run the Makefile."""

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

from coach_common.http.app import VERSION

ROOT = Path(__file__).parents[2]
_MAKEFILE = (ROOT / "Makefile").read_text()
_TARGETS = set(re.findall(r"^([a-z-]+):", _MAKEFILE, re.MULTILINE))
_CHECKS = (re.findall(r"^CHECKS := (.+)$", _MAKEFILE, re.MULTILINE))[0].split()


def _load(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text())


def test_all_packages_have_one_version() -> None:
    versions = {
        str(file.relative_to(ROOT)): tomllib.loads(file.read_text())["project"]["version"]
        for file in ROOT.glob("*/*/pyproject.toml")
    }
    dockerfile = (ROOT / "deploy/Dockerfile").read_text()
    versions["deploy/Dockerfile"] = re.findall(r"^ARG VERSION=(.+)$", dockerfile, re.MULTILINE)[0]

    assert {name: version for name, version in versions.items() if version != VERSION} == {}


def test_hooks_are_the_checks_of_make() -> None:
    (repository,) = _load(".pre-commit-config.yaml")["repos"]
    entries = [hook["entry"] for hook in repository["hooks"]]
    targets = [re.findall(r"\bmake --no-print-directory (\S+)", entry) for entry in entries]

    assert repository["repo"] == "local"
    assert sorted(targets) == sorted([f"check-{check}"] for check in _CHECKS)
    assert {f"check-{check}" for check in _CHECKS} <= _TARGETS


def test_workflow_runs_what_every_change_must_pass() -> None:
    jobs = _load(".github/workflows/ci.yml")["jobs"].values()
    commands = [step["run"] for job in jobs for step in job["steps"] if "run" in step]
    targets = {command.split()[1] for command in commands if command.startswith("make ")}

    assert {"setup", "check", "test"} <= targets <= _TARGETS
    required = re.findall(r"^make (\w+)$", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    assert set(required) <= targets


def test_changelog_has_the_form_of_keep_a_changelog() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    sections = re.findall(r"^## (.+)$", text, re.MULTILINE)
    kinds = set(re.findall(r"^### (.+)$", text, re.MULTILINE))

    assert sections[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", name) for name in sections[1:])
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
