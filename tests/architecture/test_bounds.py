"""docs/bounds.md names settings and defaults that exist."""

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
