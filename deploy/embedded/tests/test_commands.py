"""The commands of `coach`: their help texts, usage errors and exit status."""

import importlib.metadata
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from coach_common import cli

ROOT = Path(__file__).parents[3]
GROUP = "coach.commands"
SUMMARY_WIDTH = 78
"""What is left of a line of 100 columns behind the longest name of a command."""


def _declared() -> list[importlib.metadata.EntryPoint]:
    return [
        importlib.metadata.EntryPoint(name, value, GROUP)
        for file in sorted(ROOT.glob("*/*/pyproject.toml"))
        for name, value in tomllib.loads(file.read_text())["project"]
        .get("entry-points", {})
        .get(GROUP, {})
        .items()
    ]


@pytest.fixture(autouse=True)
def _entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the entry points as declared, independent of what is installed."""
    monkeypatch.setattr(cli, "entry_points", lambda group: _declared() if group == GROUP else [])


def _commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    yield path, command
    for name, subcommand in getattr(command, "commands", {}).items():
        yield from _commands(subcommand, f"{path} {name}")


def test_help_lists_all_commands_with_a_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0

    out = capsys.readouterr().out
    lines = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip()}
    assert {point.name for point in _declared()} >= {"run", "demo", "users", "auth", "gateway"}
    assert all(lines[point.name] for point in _declared())
    assert "Example: coach users create" in out
    assert "\x1b" not in out


@pytest.mark.parametrize("point", _declared(), ids=lambda point: point.name)
def test_every_command_and_parameter_has_a_help_text(point: Any) -> None:
    for path, command in _commands(get_command(point.load().app), f"coach {point.name}"):
        assert command.help, path
        assert not command.get_short_help_str(SUMMARY_WIDTH).endswith("..."), path
        assert (
            command.hidden
            or [parameter.name for parameter in command.params if not parameter.help] == []
        ), path


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "unknown",
        "users",
        "users create",
        "users show a@example.com b@example.com",
        "auth",
        "auth keys revoke",
        "auth serve --unknown",
        "gateway serve --migrate",
        "run now",
        "demo --url ftp://example.com",
    ],
)
def test_usage_errors_have_status_2_and_print_usage(
    arguments: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments.split()) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Usage: coach")


def test_help_needs_no_package_for_colours(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "typer.rich_utils", raising=False)
    monkeypatch.setitem(sys.modules, "rich", None)

    codes = [cli.main([*words, "-h"]) for words in ([], ["auth"], ["demo"], ["users", "create"])]

    assert codes == [0, 0, 0, 0]
    assert "E-mail address of the account." in capsys.readouterr().out


def test_serve_alone_keeps_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["gateway", "--help"]) == 0

    assert "serve" in capsys.readouterr().out
