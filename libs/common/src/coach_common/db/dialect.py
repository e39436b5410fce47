"""The SQL that differs between SQLite and MySQL or MariaDB."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Insert, Table, TextClause, insert, text
from sqlalchemy.dialects.mysql import insert as mysql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert


@dataclass(frozen=True, slots=True)
class Dialect:
    """Builds the statements that the two database families write differently."""

    is_sqlite: bool

    def time_after(self, duration: timedelta) -> datetime | TextClause:
        """Return a value to insert: the time after `duration`, by the database's clock."""
        if self.is_sqlite:
            return datetime.now(UTC) + duration  # SQLite uses the clock of this machine.
        microseconds = duration // timedelta(microseconds=1)
        return text(f"UTC_TIMESTAMP(6) + INTERVAL {microseconds} MICROSECOND")

    def insert_ignore(self, table: Table) -> Insert:
        """Return an INSERT that does nothing (`rowcount` 0) if the key already exists."""
        if self.is_sqlite:
            return sqlite_insert(table).on_conflict_do_nothing()
        return insert(table).prefix_with("IGNORE")

    def upsert(
        self, table: Table, values: Mapping[str, Any], *, update: Mapping[str, Any]
    ) -> Insert:
        """Return an INSERT of `values` that sets `update` if the primary key already exists."""
        if self.is_sqlite:
            return (
                sqlite_insert(table)
                .values(values)
                .on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=update)
            )
        return mysql_insert(table).values(values).on_duplicate_key_update(dict(update))
