"""Recordings, answers, jobs, conversations, outbox, inbox and tombstones."""

import sqlalchemy as sa
from alembic import op

from coach_common.db.tables import Id, LongText, UtcDateTime

revision = "2026_11_24_answers"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "recordings",
        sa.Column("upload_id", Id, nullable=False),
        sa.Column("user_id", Id, nullable=False),
        sa.Column("key", sa.String(160), nullable=False),
        sa.Column("session_id", Id, nullable=True),
        sa.Column("etag", sa.String(128), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("transcript", LongText, nullable=True),
        sa.Column("has_failed", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("upload_id", name="pk_recordings"),
        sa.UniqueConstraint("key", name="uq_recordings_key"),
    )
    op.create_index("ix_recordings_user_id", "recordings", ["user_id"])
    op.create_index("ix_recordings_session_id", "recordings", ["session_id"])
    op.create_table(
        "answers",
        sa.Column("session_id", Id, nullable=False),
        sa.Column("user_id", Id, nullable=False),
        sa.Column("title", sa.String(200), nullable=False),
        sa.Column("question", LongText, nullable=True),
        sa.Column("duration_seconds", sa.Integer, nullable=True),
        sa.Column("audio_s3_key", sa.String(160), nullable=True),
        sa.Column("client_transcript", LongText, nullable=True),
        sa.Column("judgement", LongText, nullable=True),
        sa.Column("judged_at", UtcDateTime, nullable=True),
        sa.PrimaryKeyConstraint("session_id", name="pk_answers"),
    )
    op.create_index("ix_answers_user_id_judged_at", "answers", ["user_id", "judged_at"])
    op.create_index("ix_answers_audio_s3_key", "answers", ["audio_s3_key"])
    op.create_table(
        "jobs",
        sa.Column("id", Id, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("subject_id", Id, nullable=False),
        sa.Column("user_id", Id, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("run_after", UtcDateTime, nullable=False),
        sa.Column("lease_token", Id, nullable=True),
        sa.Column("lease_until", UtcDateTime, nullable=True),
        sa.Column("claims", sa.Integer, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("reason", LongText, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.UniqueConstraint("kind", "subject_id", name="uq_jobs_kind_subject_id"),
    )
    op.create_index("ix_jobs_kind_run_after", "jobs", ["kind", "run_after"])
    op.create_index("ix_jobs_user_id", "jobs", ["user_id"])
    op.create_table(
        "conversations",
        sa.Column("id", Id, nullable=False),
        sa.Column("user_id", Id, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_conversations"),
    )
    op.create_index("ix_conversations_user_id", "conversations", ["user_id"])
    op.create_table(
        "messages",
        sa.Column("id", Id, nullable=False),
        sa.Column("conversation_id", Id, nullable=False),
        sa.Column("user_id", Id, nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("text", LongText, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_messages"),
    )
    op.create_index("ix_messages_conversation_id_id", "messages", ["conversation_id", "id"])
    op.create_index("ix_messages_user_id", "messages", ["user_id"])
    op.create_table(
        "outbox",
        sa.Column("id", Id, nullable=False),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("user_id", Id, nullable=True),
        sa.Column("body", LongText, nullable=False),
        sa.Column("claimed_until", UtcDateTime, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
    )
    op.create_index("ix_outbox_user_id", "outbox", ["user_id"])
    op.create_table(
        "inbox",
        sa.Column("consumer", sa.String(96), nullable=False),
        sa.Column("event_id", Id, nullable=False),
        sa.Column("handled_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("consumer", "event_id", name="pk_inbox"),
    )
    op.create_index("ix_inbox_handled_at", "inbox", ["handled_at"])
    op.create_table(
        "tombstones",
        sa.Column("id", Id, nullable=False),
        sa.Column("deleted_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tombstones"),
    )
    op.create_index("ix_tombstones_deleted_at", "tombstones", ["deleted_at"])


def downgrade() -> None:
    for table in (
        "tombstones", "inbox", "outbox", "messages", "conversations", "jobs", "answers",
        "recordings",
    ):  # fmt: skip
        op.drop_table(table)
