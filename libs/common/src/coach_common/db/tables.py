"""Column types, and the tables that every service with a database has."""

from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import (
    BINARY,
    Column,
    DateTime,
    Dialect,
    Index,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)
from sqlalchemy.dialects.mysql import DATETIME, LONGTEXT
from sqlalchemy.types import TypeEngine

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Id(TypeDecorator[UUID]):
    """A UUID in 16 bytes, so that UUIDv7 keys are stored in order of creation."""

    impl = BINARY(16)
    cache_ok = True

    def process_bind_param(self, value: UUID | None, dialect: Dialect) -> bytes | None:
        return None if value is None else value.bytes

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> UUID | None:
        return None if value is None else UUID(bytes=bytes(value))


class UtcDateTime(TypeDecorator[datetime]):
    """A timezone-aware UTC time with microseconds: DATETIME(6), or sortable text in SQLite."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[datetime]:
        if dialect.name == "mysql":
            return dialect.type_descriptor(DATETIME(fsp=6))
        return dialect.type_descriptor(DateTime())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("datetime must be timezone-aware")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


class LongText(TypeDecorator[str]):
    """Text without a practical limit: LONGTEXT in MySQL, because TEXT ends at 64 KiB."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[str]:
        if dialect.name == "mysql":
            return dialect.type_descriptor(LONGTEXT())
        return dialect.type_descriptor(Text())


def new_metadata() -> MetaData:
    """Return metadata with the naming convention that all migrations rely on."""
    return MetaData(naming_convention=NAMING_CONVENTION)


def outbox_table(metadata: MetaData) -> Table:
    """Return the outbox: committed events to publish. A row is deleted once it is confirmed."""
    return Table(
        "outbox",
        metadata,
        Column("id", Id, primary_key=True),
        Column("type", String(64), nullable=False),
        Column("user_id", Id, nullable=True),
        Column("body", LongText, nullable=False),
        Column("claimed_until", UtcDateTime, nullable=True),
        Index("ix_outbox_user_id", "user_id"),
    )


def inbox_table(metadata: MetaData) -> Table:
    """Return the inbox: which consumer processed which event, so redeliveries are ignored."""
    return Table(
        "inbox",
        metadata,
        Column("consumer", String(96), primary_key=True),
        Column("event_id", Id, primary_key=True),
        Column("handled_at", UtcDateTime, nullable=False),
        Index("ix_inbox_handled_at", "handled_at"),
    )


def tombstones_table(metadata: MetaData) -> Table:
    """Return the tombstones: ids of deleted users and sessions, kept for 30 days."""
    return Table(
        "tombstones",
        metadata,
        Column("id", Id, primary_key=True),
        Column("deleted_at", UtcDateTime, nullable=False),
        Index("ix_tombstones_deleted_at", "deleted_at"),
    )
