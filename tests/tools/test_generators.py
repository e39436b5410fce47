"""The generators of docs/errors.md and docs/configuration.md, and of files in general."""

from pathlib import Path

import generate_configuration
import generate_errors
import pytest
from pydantic import AliasChoices, Field

import generated_file
from coach_common import errors
from coach_common.config import Settings

_ERROR_SOURCE = '''
class TeapotEmpty(NotFound):
    """The teapot is empty.

    More about it.
    """

    code = "teapot_empty"


class Silent(CoachError):
    code = "silent"


_PROTOCOL_ERRORS = {"teapot": (418, "I am a teapot.")}
_OTHER = {"only": (1, "two", "three"), "a": ("b", "c"), 1: (2, "d")}


def brew(strength):
    parse_id(strength, resource="Pot")
    if strength > 9:
        raise InvalidInput(f"{strength} is too strong.", code="too_strong")
    raise TooManyRequests("Slow down.")
'''


class TeapotEmpty(errors.NotFound):
    code = "teapot_empty"


class Silent(errors.CoachError):
    code = "silent"


class _BaseSettings(Settings):
    base_url: str = "http://localhost"
    """Where
    it is."""


class _KettleSettings(_BaseSettings):
    secret: str
    """No default."""
    boil_seconds: float = Field(
        default=1.5, validation_alias=AliasChoices("boil_seconds", "boiling")
    )
    """Time to boil."""
    lids: tuple[str, ...] = ("a", "b")
    """Lids."""
    prices: dict[str, tuple[float, float]] = Field(default={"tea": (1, 2.5)})
    """Prices."""
    is_hot: bool = False
    """Hot."""
    owner: str | None = None
    """Owner."""
    mystery: int = 3


def test_errors_are_read_from_classes_raised_errors_ids_and_protocol_tables() -> None:
    classes = {
        name: getattr(errors, name) for name in ("NotFound", "InvalidInput", "TooManyRequests")
    } | {"TeapotEmpty": TeapotEmpty, "Silent": Silent}

    found = {
        (code.code, code.status, code.meaning)
        for code in generate_errors.find_codes("kitchen", _ERROR_SOURCE, classes)
    }

    assert found == {
        ("teapot_empty", "404", "The teapot is empty."),
        ("teapot", "418", "I am a teapot."),
        ("pot_not_found", "404", "Pot not found"),
        ("too_strong", "422", "… is too strong."),
    }


def test_error_table_merges_uses_of_one_code() -> None:
    use = generate_errors.ErrorCode
    text = generate_errors.render(
        {
            use("x", "404", False, "Not here.", "media"),
            use("x", "404", True, "Other words.", "gateway"),
            use("y", "401", False, "Why.", "all"),
            use("y", "401", False, "Why.", "auth"),
        }
    )

    assert text.endswith("| `x` | 404 | Not here. | gateway, media |\n| `y` | 401 | Why. | all |\n")


def test_settings_have_default_unit_meaning_and_deprecated_names() -> None:
    described = {
        setting.name: setting for setting in generate_configuration.describe(_KettleSettings)
    }

    assert described["BASE_URL"].meaning == "Where it is."
    assert described["SECRET"].default == "**required**"
    assert described["BOIL_SECONDS"].default == "`1.5`"
    assert described["BOIL_SECONDS"].unit == "seconds"
    assert described["BOIL_SECONDS"].deprecated_names == ("BOILING",)
    assert described["LIDS"].default == "`a,b`"
    assert described["PRICES"].default == '`{"tea": [1, 2.5]}`'
    assert described["IS_HOT"].default == "`false`"
    assert described["OWNER"].default == ""


def test_setting_without_meaning_is_reported() -> None:
    with pytest.raises(SystemExit, match="MYSTERY"):
        generate_configuration.render({"kettle": _KettleSettings})


def test_generated_file_is_written_and_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "page.md"

    assert generated_file.write_or_check(file, "new", ["--check"]) == 1
    assert generated_file.write_or_check(file, "new", []) == 0
    assert generated_file.write_or_check(file, "new", ["--check"]) == 0
    assert generated_file.write_or_check(file, "newer", ["--check"]) == 1
    assert "page.md is out of date" in capsys.readouterr().err
