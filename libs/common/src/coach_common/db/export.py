"""Reads all rows of a user, for the export of the data, in parts of bounded size."""

import json
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Table, select

from coach_common.clock import rfc3339
from coach_common.db.transaction import Transaction

_PAGE_ROWS = 20
_MAX_PART_CHARACTERS = 256 * 1024
"""A part has more only if one row has."""


@dataclass(frozen=True, slots=True)
class ExportedTable:
    """A table with rows of users."""

    table: Table
    hidden: Collection[str] = ()
    """Columns that are secrets, or that are no data of the user."""
    owner: str = "user_id"
    """The column with the id of the user."""


@dataclass(frozen=True, slots=True)
class ExportPart:
    """Some rows of one table as a JSON array."""

    number: int
    """1 for the first part of a service."""
    table: str
    content: str
    is_last: bool


async def read_parts(
    tx: Transaction, tables: Sequence[ExportedTable], user_id: UUID
) -> AsyncIterator[ExportPart]:
    """Yield the rows of a user. Each table has at least one part, which may be an empty array."""
    number = 0
    for exported in tables:
        rows: list[str] = []
        size = 0
        async for row in _read_rows(tx, exported, user_id):
            if rows and size + len(row) > _MAX_PART_CHARACTERS:
                number += 1
                yield ExportPart(number, exported.table.name, _join(rows), is_last=False)
                rows, size = [], 0
            rows.append(row)
            size += len(row)
        number += 1
        # The rows that remain are at least one, unless the table has none.
        is_last = exported is tables[-1]
        yield ExportPart(number, exported.table.name, _join(rows), is_last=is_last)


def _join(rows: Sequence[str]) -> str:
    return f"[{','.join(rows)}]"


async def _read_rows(tx: Transaction, exported: ExportedTable, user_id: UUID) -> AsyncIterator[str]:
    """Yield each row as a JSON object, in the order of the primary key."""
    table = exported.table
    columns = [column for column in table.c if column.name not in exported.hidden]
    keys: list[ColumnElement[Any]] = list(table.primary_key.columns)
    query = select(*columns).where(table.c[exported.owner] == user_id).order_by(*keys)
    offset = 0
    while True:
        page = await tx.fetch_all(query.limit(_PAGE_ROWS).offset(offset))
        for row in page:
            yield json.dumps(dict(row), default=_encode, ensure_ascii=False)
        if len(page) < _PAGE_ROWS:
            return
        offset += _PAGE_ROWS


def _encode(value: object) -> str:
    match value:
        case datetime():
            return rfc3339(value)
        case date():
            return value.isoformat()
        case UUID():
            return str(value)
    raise TypeError(f"cannot export a {type(value).__name__}")
