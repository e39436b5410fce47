"""Create sessions, recordings, outbox, inbox and tombstones."""

import sqlalchemy as sa
from alembic import op

from coach_common.db.tables import Id, LongText, UtcDateTime

revision = "2026_11_24_sessions"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", Id, nullable=False),
        sa.Column("user_id", Id, nullable=False),
        sa.Column("title", sa.String(200), nullable=False),
        sa.Column("question", LongText, nullable=True),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.Column("completed_at", UtcDateTime, nullable=True),
        sa.Column("duration_seconds", sa.Integer, nullable=True),
        sa.Column("client_transcript", LongText, nullable=True),
        sa.Column("feedback", LongText, nullable=True),
        sa.Column("failure_id", Id, nullable=True),
        sa.Column("failure_reason", LongText, nullable=True),
        sa.Column("failure_is_final", sa.Boolean, nullable=True),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("overall_score", sa.Integer, nullable=True),
        sa.Column("announced", LongText, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
    )
    op.create_index(
        "ix_sessions_user_id_created_at_id", "sessions", ["user_id", "created_at", "id"]
    )
    op.create_table(
        "recordings",
        sa.Column("key", sa.String(160), nullable=False),
        sa.Column("user_id", Id, nullable=False),
        sa.Column("session_id", Id, nullable=True),
        sa.Column("link_id", Id, nullable=True),
        sa.Column("text", LongText, nullable=True),
        sa.Column("failure_id", Id, nullable=True),
        sa.Column("failure_reason", LongText, nullable=True),
        sa.Column("failure_is_final", sa.Boolean, nullable=True),
        sa.PrimaryKeyConstraint("key", name="pk_recordings"),
    )
    op.create_index("ix_recordings_session_id", "recordings", ["session_id"])
    op.create_index("ix_recordings_user_id", "recordings", ["user_id"])
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
    for table in ("tombstones", "inbox", "outbox", "recordings", "sessions"):
        op.drop_table(table)
