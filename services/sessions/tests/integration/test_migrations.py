"""Migrations keep the rows of an earlier release."""

import json

import pytest
from sqlalchemy import text

from coach_common.db.database import Database
from coach_common.db.migrate import upgrade

_OLD_SESSION = text(
    "INSERT INTO sessions (id, user_id, title, status, created_at, updated_at, announced)"
    " VALUES (:id, :id, 'T', 'ready', '2026-11-24 12:00:00', '2026-11-24 12:00:00', :announced)"
)
_OLD_RECORDING = text(
    "INSERT INTO recordings (`key`, user_id, text, delivery) VALUES ('k', :id, 'words', '{}')"
)


@pytest.mark.parametrize("fingerprints", [{}, {"transcribed": "uploads/k", "judged": "0f"}])
async def test_renamed_columns_keep_their_content(
    database_url: str, fingerprints: dict[str, str]
) -> None:
    database = Database(database_url, source="sessions")
    await upgrade(database, "coach_sessions", revision="2026_11_25_early_delivery")
    async with database.engine.begin() as connection:
        row = {"id": b"0" * 16, "announced": json.dumps(fingerprints)}
        await connection.execute(_OLD_SESSION, row)
        await connection.execute(_OLD_RECORDING, {"id": row["id"]})

    await upgrade(database, "coach_sessions")

    async with database.engine.begin() as connection:
        stored = await connection.scalar(text("SELECT published_fingerprints FROM sessions"))
        recording = await connection.execute(
            text("SELECT transcript, delivery_metrics FROM recordings")
        )
        assert tuple(recording.one()) == ("words", "{}")
    await database.close()
    new_names = {"transcribed": "transcript", "judged": "final_feedback"}
    assert json.loads(stored) == {new_names[name]: value for name, value in fingerprints.items()}
