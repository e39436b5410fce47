"""Tables of the media service."""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, String, Table, UniqueConstraint

from coach_common.db.consents import consents_table
from coach_common.db.tables import (
    Id,
    LongText,
    UtcDateTime,
    inbox_table,
    new_metadata,
    outbox_table,
    tombstones_table,
)

METADATA = new_metadata()

UPLOADS = Table(
    "uploads",
    METADATA,
    Column("id", Id, primary_key=True),
    Column("user_id", Id, nullable=False),
    Column("key", String(160), nullable=False),
    Column("session_id", Id, nullable=True),
    Column("content_type", String(200), nullable=False),
    Column("declared_bytes", BigInteger, nullable=True),
    Column("max_bytes", BigInteger, nullable=False),
    Column("status", String(16), nullable=False),
    Column("size_bytes", BigInteger, nullable=True),
    Column("etag", String(128), nullable=True),
    Column("transcript", LongText, nullable=True),
    # AudioCoverage as JSON: how much of the recording was transcribed.
    Column("audio", LongText, nullable=True),
    # The words with their times as JSON.
    Column("words", LongText, nullable=True),
    Column("reason", LongText, nullable=True),
    # The error code of a rejected upload.
    Column("rejection_code", String(32), nullable=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("url_expires_at", UtcDateTime, nullable=False),
    Column("confirmed_at", UtcDateTime, nullable=True),
    # When the sweep checks the object next; null after the last check.
    Column("next_check_at", UtcDateTime, nullable=True),
    # When the repair sweep checks the upload; null unless it waits for its transcript.
    Column("repair_after", UtcDateTime, nullable=True),
    # When the feedback of its session was ready.
    Column("feedback_at", UtcDateTime, nullable=True),
    # When the sweep of the retention deletes the audio; null if it is kept or deleted.
    Column("audio_delete_at", UtcDateTime, nullable=True),
    Column("audio_deleted_at", UtcDateTime, nullable=True),
    UniqueConstraint("key"),
    Index("ix_uploads_audio_delete_at", "audio_delete_at"),
    Index("ix_uploads_user_id_status", "user_id", "status"),
    Index("ix_uploads_session_id", "session_id"),
    Index("ix_uploads_next_check_at", "next_check_at"),
    Index("ix_uploads_repair_after", "repair_after"),
)

# How long users have chosen to keep their audio. No row: the default.
AUDIO_RETENTION = Table(
    "audio_retention",
    METADATA,
    Column("user_id", Id, primary_key=True),
    Column("retention", String(16), nullable=False),
)

# Whether users have agreed that their audio is kept after its feedback is ready.
STORAGE_CONSENTS = consents_table(METADATA, "storage_consents")

# Exports of all data of a user. Deleted after 7 days, and with the account or one of its sessions.
EXPORTS = Table(
    "exports",
    METADATA,
    Column("id", Id, primary_key=True),
    Column("user_id", Id, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("requested_at", UtcDateTime, nullable=False),
    Column("completed_at", UtcDateTime, nullable=True),
    Column("expires_at", UtcDateTime, nullable=False),
    # When the parts are requested again; null once all have arrived.
    Column("retry_after", UtcDateTime, nullable=True),
    Index("ix_exports_user_id", "user_id"),
    Index("ix_exports_expires_at", "expires_at"),
    Index("ix_exports_retry_after", "retry_after"),
)

EXPORT_PARTS = Table(
    "export_parts",
    METADATA,
    Column("export_id", Id, primary_key=True),
    Column("service", String(16), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("user_id", Id, nullable=False),
    Column("is_last", Boolean, nullable=False),
    Column("table_name", String(64), nullable=False),
    # A JSON array of rows.
    Column("content", LongText, nullable=False),
    Index("ix_export_parts_user_id", "user_id"),
)

# One row per user. A transaction that creates or links uploads locks it while it checks limits.
UPLOADERS = Table("uploaders", METADATA, Column("user_id", Id, primary_key=True))

OBJECT_DELETIONS = Table(
    "object_deletions",
    METADATA,
    Column("key", String(160), primary_key=True),
    Column("due_at", UtcDateTime, nullable=False),
    # A presigned URL can store the object again until it expires; one more deletion follows then.
    Column("final_attempt_at", UtcDateTime, nullable=False),
    Column("attempts", Integer, nullable=False),
    Index("ix_object_deletions_due_at", "due_at"),
)

# Objects that a deletion waits for before media confirms it. Several deletions may wait for one.
UNCONFIRMED_DELETIONS = Table(
    "unconfirmed_deletions",
    METADATA,
    Column("receipt_id", Id, primary_key=True),
    Column("key", String(160), primary_key=True),
    Index("ix_unconfirmed_deletions_key", "key"),
)

OUTBOX = outbox_table(METADATA)
INBOX = inbox_table(METADATA)
TOMBSTONES = tombstones_table(METADATA)
