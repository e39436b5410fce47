"""Settings of the local installation in DATA_DIR, for admin commands."""

from typing import Any

from coach_common.config import SettingsError
from coach_embedded.config import EmbeddedSettings, Secrets
from coach_embedded.topology import sqlite_url


def local_settings(service: str) -> dict[str, Any]:
    """Return the settings that `coach run` passes to this service.

    Raises:
        SettingsError: If DATA_DIR has no database of the service.
    """
    data_dir = EmbeddedSettings.load().data_dir.resolve()
    if not (data_dir / f"{service}.db").exists():
        setting = "RABBITMQ_URL" if service == "broker" else "DATABASE_URL"
        raise SettingsError(
            f"setting {setting}: not set, and DATA_DIR {data_dir} has no {service}.db. "
            "Start `coach run` once to create it."
        )
    secrets = Secrets.load_or_create(data_dir)
    return {
        "database_url": sqlite_url(data_dir, service),
        "secret_key": secrets.secret_key,
        "service_token": secrets.service_token,
    }
