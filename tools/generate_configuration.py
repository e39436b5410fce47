"""Write docs/configuration.md: every setting of every service. Also what compose passes on.

Usage: `python tools/generate_configuration.py [--check]`.

Names, defaults and bounds come from the Settings classes. The meaning of a setting is the string
literal below it.
"""

import ast
import inspect
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import AliasChoices
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

import compose_settings
from coach_ai.config import DistributedAiSettings
from coach_auth.config import DistributedAuthSettings
from coach_common.config import Settings
from coach_embedded.config import EmbeddedSettings
from coach_embedded.store_server import StoreSettings
from coach_gateway.config import DistributedGatewaySettings
from coach_media.config import DistributedMediaSettings
from coach_sessions.config import DistributedSessionsSettings
from generated_file import ROOT, write_or_check

_FILE = ROOT / "docs" / "configuration.md"

_CLASSES: Mapping[str, type[Settings]] = {
    "gateway": DistributedGatewaySettings,
    "auth": DistributedAuthSettings,
    "sessions": DistributedSessionsSettings,
    "media": DistributedMediaSettings,
    "ai": DistributedAiSettings,
    "store": StoreSettings,
    "embedded": EmbeddedSettings,
}
_UNITS = {
    "_seconds": "seconds",
    "_minutes": "minutes",
    "_days": "days",
    "_bytes": "bytes",
    "_tokens": "tokens",
    "_per_minute": "per minute",
    "_per_second": "per second",
}

_REQUIRED = "**required**"

_HEAD = """# Configuration reference

Reference for operators: every setting with its default. Generated
from the settings classes by `make docs`.

A service reads its settings from environment variables, and ignores those of other services.

- An empty variable counts as not set.
- Items of a list are separated by commas; a JSON array is accepted as well. Mappings are JSON.
- The variable `<SETTING>_FILE` names a file that contains the setting, such as a Docker secret.
- Missing and invalid settings stop the service with one line for each of them.

`.env.example` has those that `docker-compose.yml` passes on.

`store` is object storage as a separate process, for deployments without S3.

`embedded` is the process that `coach run` starts: all five services in one process. It needs no
setting. It generates the secrets and the addresses of the services, and passes the other settings
on to them.

| setting | read by | default | unit | meaning |
|---|---|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting as one service declares it."""

    name: str
    default: str
    unit: str
    meaning: str
    deprecated_names: tuple[str, ...] = ()


def meanings(settings_class: type[Settings]) -> dict[str, str]:
    """Return the string literal below each field, of this class and of its bases."""
    found: dict[str, str] = {}
    for base in reversed(settings_class.__mro__):
        if not issubclass(base, Settings):
            continue
        module = ast.parse(textwrap.dedent(inspect.getsource(base)))
        body = [node for child in module.body for node in getattr(child, "body", ())]
        for field, below in pairwise(body):
            match field, below:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    found[name] = " ".join(text.split())
                case _:
                    pass
    return found


def describe(settings_class: type[Settings]) -> list[Setting]:
    """Return the settings of a class in order of their declaration."""
    texts = meanings(settings_class)
    return [
        Setting(
            name.upper(),
            format_default(field),
            next((unit for suffix, unit in _UNITS.items() if name.endswith(suffix)), ""),
            texts.get(name, ""),
            _deprecated_names(name, field),
        )
        for name, field in settings_class.model_fields.items()
    ]


def format_default(field: FieldInfo) -> str:
    """Return the default as an operator would write it, `required`, or nothing for None."""
    default: Any = field.get_default(call_default_factory=True, validated_data={})
    if default is PydanticUndefined:
        return _REQUIRED
    if default is None or default == "":
        return ""
    if isinstance(default, tuple):
        return f"`{','.join(map(str, default))}`" if default else ""
    if isinstance(default, dict):
        items = ", ".join(f'"{key}": {list(value)}' for key, value in default.items())
        return f"`{{{items}}}`"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def render(classes: Mapping[str, type[Settings]]) -> str:
    """Return the document. Stops if a setting has no meaning."""
    readers: dict[Setting, list[str]] = {}
    for service, settings_class in classes.items():
        for setting in describe(settings_class):
            readers.setdefault(setting, []).append(service)
    undescribed = sorted({setting.name for setting in readers if not setting.meaning})
    if undescribed:
        raise SystemExit(f"settings without a string literal below them: {', '.join(undescribed)}")
    rows = [
        f"| `{setting.name}` | {_join(services, len(classes))} | {setting.default} "
        f"| {setting.unit} | {_format_meaning(setting)} |\n"
        for setting, services in sorted(readers.items(), key=lambda item: item[0].name)
    ]
    return _HEAD + "".join(rows)


def _deprecated_names(name: str, field: FieldInfo) -> tuple[str, ...]:
    if not isinstance(field.validation_alias, AliasChoices):
        return ()
    aliases = [str(alias).upper() for alias in field.validation_alias.choices]
    return tuple(alias for alias in aliases if alias != name.upper())


def _format_meaning(setting: Setting) -> str:
    deprecated = [f"Deprecated name: `{name}`." for name in setting.deprecated_names]
    return " ".join([setting.meaning, *deprecated]).replace("|", "\\|")


def _join(services: list[str], total: int) -> str:
    return "all" if len(services) == total else ", ".join(services)


def render_compose_files(classes: Mapping[str, type[Settings]]) -> dict[Path, str]:
    """Return .env.example, and for each container the settings that docker compose passes on."""
    passed: dict[str, list[str]] = {}
    described: dict[str, tuple[str, str, str]] = {}
    for name, service in compose_settings.load_services().items():
        if name not in classes:
            continue
        settings = describe(classes[name])
        passed[name] = compose_settings.passed_settings(
            service,
            [setting.name for setting in settings],
            [setting.name for setting in settings if setting.default == _REQUIRED],
        )
        for setting in settings:
            default = setting.default.strip("`*") if setting.default != _REQUIRED else ""
            described.setdefault(setting.name, (setting.meaning, default, setting.unit))
    files = {
        compose_settings.SETTINGS_DIRECTORY / f"{name}.env": compose_settings.render_env_file(names)
        for name, names in passed.items()
    }
    return files | {
        compose_settings.ENV_EXAMPLE: compose_settings.render_example(passed, described)
    }


def main(args: Sequence[str]) -> int:
    """Write or check all files. Returns the exit code."""
    files = {_FILE: render(_CLASSES)} | render_compose_files(_CLASSES)
    return max(write_or_check(path, content, args) for path, content in files.items())


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
