"""What operator commands need to know of an installation that nobody configured: DATA_DIR's own."""

from typing import Any

from coach_common.config import SettingsError
from coach_embedded.config import EmbeddedSettings, Secrets
from coach_embedded.topology import sqlite_url


def local_settings(service: str) -> dict[str, Any]:
    """Return what `coach run` would give this service to reach its tables in DATA_DIR."""
    folder = EmbeddedSettings.load().data_dir.resolve()
    if not (folder / f"{service}.db").exists():
        raise SettingsError(
            f"setting DATABASE_URL: not set, and DATA_DIR {folder} has no {service}.db;"
            "  start `coach run` once to create it"
        )
    secrets = Secrets.load_or_create(folder)
    return {
        "database_url": sqlite_url(folder, service),
        "secret_key": secrets.secret_key,
        "service_token": secrets.service_token,
    }
