"""Every table with data of users is in the export, or is left out for a reason."""

import json

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, insert

import coach_ai.exported_tables
import coach_ai.tables
import coach_auth.exported_tables
import coach_auth.tables
import coach_media.export_store
import coach_media.tables
import coach_sessions.exported_tables
import coach_sessions.tables
from coach_common.db.database import Database
from coach_common.db.export import ExportedTable, read_parts
from coach_common.db.tables import Id, LongText
from coach_common.ids import new_id

LEFT_OUT = {
    # Events and work that wait: they are about rows that are exported.
    "outbox", "jobs", "mails", "deletions",
    # Secrets.
    "account_tokens",
    # The export itself, and a row to lock.
    "exports", "export_parts", "uploaders",
}  # fmt: skip


@pytest.mark.parametrize(
    ("metadata", "exported"),
    [
        (coach_auth.tables.METADATA, coach_auth.exported_tables.EXPORTED_TABLES),
        (coach_sessions.tables.METADATA, coach_sessions.exported_tables.EXPORTED_TABLES),
        (coach_media.tables.METADATA, coach_media.export_store.OWN_TABLES),
        (coach_ai.tables.METADATA, coach_ai.exported_tables.EXPORTED_TABLES),
    ],
    ids=["auth", "sessions", "media", "ai"],
)
def test_every_table_with_a_user_is_exported(
    metadata: MetaData, exported: tuple[ExportedTable, ...]
) -> None:
    of_users = {table.name for table in metadata.sorted_tables if "user_id" in table.c}

    assert of_users - LEFT_OUT == {one.table.name for one in exported} - {"users"}
    for one in exported:
        assert set(one.hidden) <= set(one.table.c.keys())


async def test_rows_are_read_completely_in_parts_of_bounded_size(database_url: str) -> None:
    rows = Table("rows", MetaData(), Column("id", Integer, primary_key=True), Column("user_id", Id),
                 Column("text", LongText), Column("secret", LongText))  # fmt: skip
    empty = Table("empty", rows.metadata, Column("id", Id, primary_key=True), Column("user_id", Id))
    database = Database(database_url, source="test")
    user_id, text = new_id(), "é" * 20_000
    async with database.engine.begin() as connection:
        await connection.run_sync(rows.metadata.create_all)
    async with database.transaction() as tx:
        for number in range(45):
            owner = new_id() if number == 0 else user_id
            values = {"id": number + 1, "user_id": owner, "text": text, "secret": "s"}
            await tx.execute(insert(rows), values)

    tables = (ExportedTable(rows, hidden=("secret",)), ExportedTable(empty))
    async with database.read_only() as tx:
        parts = [part async for part in read_parts(tx, tables, user_id)]
    await database.close()

    assert [part.table for part in parts] == ["rows"] * 4 + ["empty"]
    assert max(len(part.content) for part in parts) < 300_000
    read = [row for part in parts for row in json.loads(part.content)]
    assert [row["id"] for row in read] == list(range(2, 46))
    assert read[0] == {"id": 2, "user_id": str(user_id), "text": text}
