"""docs/bounds.md names settings, defaults and tests that exist."""

import re
from pathlib import Path

from coach_ai.config import AiSettings
from coach_gateway.config import GatewaySettings

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "bounds.md").read_text()


def test_documented_settings_have_the_documented_defaults() -> None:
    defaults = {
        name.upper(): field.default
        for settings in (AiSettings, GatewaySettings)
        for name, field in settings.model_fields.items()
    }
    documented = re.findall(r"`([A-Z][A-Z_]+)`\s+(\d+)", TEXT) + re.findall(
        r", `([A-Z][A-Z_]+)` \| (\d+)", TEXT
    )

    assert len(documented) > 15
    for name, value in documented:
        # A constant of the client connections that no setting changes.
        if name != "MAX_BUFFERED_BYTES":
            assert defaults[name] == float(value), name


def test_documented_tests_exist() -> None:
    sources = [path.read_text() for path in ROOT.glob("**/tests/**/test_*.py")]
    sources += [path.read_text() for path in (ROOT / "tests").glob("**/test_*.py")]

    for name in re.findall(r"`(test_\w+)`", TEXT):
        assert any(f"def {name}(" in source for source in sources), name
