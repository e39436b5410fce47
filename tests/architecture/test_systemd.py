"""The units of deploy/systemd are valid, and set what their service reads and requires."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import generate_configuration
import pytest

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
SERVICES = ("gateway", "auth", "sessions", "media", "ai@", "store")
_PYTHON = "/opt/genai-coach/.venv/bin/python"
_LIBRARIES = {"OPENBLAS_NUM_THREADS", "ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY"}
_LIBRARIES |= {"HF_HUB_OFFLINE"}


def _variables(text: str) -> set[str]:
    lines = re.findall(r"^Environment=(.*)$", text, re.MULTILINE)
    return {item.partition("=")[0] for line in lines for item in line.split()}


@pytest.mark.parametrize("name", SERVICES)
def test_unit_sets_what_its_service_reads_and_requires(name: str) -> None:
    unit = (UNITS / f"coach-{name}.service").read_text()
    settings = generate_configuration.describe(generate_configuration._CLASSES[name.rstrip("@")])
    names = {setting.name for setting in settings}
    required = {setting.name for setting in settings if setting.default == "**required**"}
    own = {variable.removesuffix("_FILE") for variable in _variables(unit)}
    common = _variables((UNITS / "coach-.service.d" / "common.conf").read_text())

    assert own - names == set()
    assert required - own == set()
    assert common - names - _LIBRARIES <= {"AUTH_URL"}
    credentials = set(re.findall(r"%d/(\w+)", unit))
    assert credentials == set(re.findall(r"^LoadCredential=(\w+):", unit, re.MULTILINE))


def test_secrets_of_units_are_created_by_the_script() -> None:
    script = (UNITS.parent / "compose" / "secrets.sh").read_text()
    for unit in UNITS.glob("*.service"):
        for name in re.findall(r"/secrets/(\w+)", unit.read_text()):
            service, _, kind = name.partition("_")
            assert name in script or re.search(
                rf"\{{[a-z,]*\b{service}\b[a-z,]*\}}_{kind}", script
            ), name


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    for file in [*UNITS.rglob("*.*")]:
        if file.is_file():
            target = tmp_path / file.relative_to(UNITS)
            target.parent.mkdir(exist_ok=True)
            target.write_text(file.read_text().replace(_PYTHON, sys.executable))
    units = [str(tmp_path / f"coach-{name}.service").replace("@", "@8004") for name in SERVICES]

    checked = subprocess.run(
        ["systemd-analyze", "verify", *units, str(tmp_path / "coach.target")],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True,
        text=True,
    )

    assert [line for line in checked.stderr.splitlines() if str(tmp_path) in line] == []
    assert checked.returncode == 0, checked.stderr
