"""Every table with data of users is in the export, or is left out for a reason."""

import pytest
from sqlalchemy import MetaData

import coach_ai.exported_tables
import coach_ai.tables
import coach_auth.exported_tables
import coach_auth.tables
import coach_media.export_store
import coach_media.tables
import coach_sessions.exported_tables
import coach_sessions.tables
from coach_common.db.export import ExportedTable

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
