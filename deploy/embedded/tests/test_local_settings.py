"""Admin commands use the local installation in DATA_DIR."""

import asyncio
import importlib.metadata
import io
from pathlib import Path

import pytest

from coach_ai import __main__ as ai_commands
from coach_auth import __main__ as commands
from coach_common import cli
from coach_common.config import SettingsError
from coach_common.db import migrate
from coach_common.db.database import Database
from coach_common.messaging.sqlite_broker import SqliteBroker, SqliteTransport
from coach_common.service import close, upgrade
from coach_embedded.local_settings import local_settings


@pytest.fixture(autouse=True)
def _local_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the entry point as declared, independent of what is installed."""
    point = importlib.metadata.EntryPoint(
        "embedded", "coach_embedded.local_settings:local_settings", "coach.local_settings"
    )
    monkeypatch.setattr(
        cli, "entry_points", lambda group: [point] if group == "coach.local_settings" else []
    )
    monkeypatch.delenv("DATABASE_URL", raising=False)


def test_admin_commands_use_data_dir(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    (tmp_path / "auth.db").touch()
    _migrate(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO("a long password\n"))

    codes = [
        commands.users(["create", "alice@example.com", "--name", "Alice"]),
        commands.users(["disable", "alice@example.com"]),
        commands.users(["show", "alice@example.com"]),
        commands.main(["keys", "rotate"]),
    ]

    lines = capsys.readouterr().out.splitlines()
    assert codes == [0, 0, 0, 0]
    assert "alice@example.com  disabled" in lines[2]


def test_commands_of_ai_need_the_database_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    for name in ("AWS_ACCESS_KEY_ID", "S3_BUCKET_NAME"):
        monkeypatch.delenv(name, raising=False)
    database = Database(f"sqlite:///{tmp_path}/ai.db", source="ai")

    async def migrate_ai() -> None:
        await migrate.upgrade(database, "coach_ai")
        await database.close()

    asyncio.run(migrate_ai())

    codes = [ai_commands.main(["questions", "recount"]),
             ai_commands.main(["interviews", "republish"])]  # fmt: skip

    assert codes == [0, 0]
    assert capsys.readouterr().out.splitlines() == [
        "0 questions were counted, 0 counts were wrong.",
        "Interviews that ai publishes again: 0.",
    ]


def test_missing_data_dir_names_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))

    with pytest.raises(SettingsError, match="DATABASE_URL"):
        commands.users(["show", "alice@example.com"])
    assert list(tmp_path.iterdir()) == []


def _migrate(data_dir: Path) -> None:
    from coach_auth.app import build
    from coach_auth.config import AuthSettings

    async def run() -> None:
        broker = SqliteBroker(f"sqlite:///{data_dir}/broker.db")
        built = build(AuthSettings.load(**local_settings("auth")), SqliteTransport(broker))
        await upgrade(built)
        await close(built)

    asyncio.run(run())
