"""Where settings come from: environment variables, and files that they name."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_origin

from pydantic import AliasChoices
from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource

FILE_SUFFIX = "_FILE"
_MAX_FILE_BYTES = 64 * 1024


class EnvironmentSource(EnvSettingsSource):
    """Environment variables. Lists are JSON, or their items separated by commas.

    A value that is not JSON is returned as text, so that validation reports it with all others.
    """

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """Return the value as Python objects."""
        text = str(value).strip()
        if get_origin(field.annotation) is tuple and not text.startswith("["):
            return [item.strip() for item in text.split(",") if item.strip()]
        try:
            return super().decode_complex_value(field_name, field, text)
        except ValueError:
            return value


def read_setting_files(
    fields: Mapping[str, FieldInfo], environment: Mapping[str, str] = os.environ
) -> tuple[dict[str, str], list[str]]:
    """Return the settings that variables named `<SETTING>_FILE` point to, and the problems.

    A file is UTF-8 text. One line break at its end is ignored. An empty file sets nothing.
    """
    variables = {name.upper(): value for name, value in environment.items() if value}
    values: dict[str, str] = {}
    problems: list[str] = []
    for field_name, setting in _setting_names(fields):
        path = variables.get(setting + FILE_SUFFIX)
        if path is None:
            continue
        try:
            text = _read(Path(path))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            problems.append(f"setting {setting}{FILE_SUFFIX}: {path}: {reason}")
            continue
        if text and setting in variables:
            problems.append(f"setting {setting}: set it or {setting}{FILE_SUFFIX}, not both")
        elif text:
            values[field_name] = text
    return values, problems


def _setting_names(fields: Mapping[str, FieldInfo]) -> Iterator[tuple[str, str]]:
    """Yield the key of each field and the name of its variable."""
    for name, field in fields.items():
        alias = field.validation_alias
        key = str(alias.choices[0]) if isinstance(alias, AliasChoices) else name
        yield key, key.upper()


def _read(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(_MAX_FILE_BYTES + 1)
    if len(content) > _MAX_FILE_BYTES:
        raise ValueError(f"the file is larger than {_MAX_FILE_BYTES // 1024} KiB")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise ValueError("the file is not UTF-8 text") from None
    return text.removesuffix("\n").removesuffix("\r")
