"""Create uploads, removals, outbox, inbox and tombstones."""

import sqlalchemy as sa
from alembic import op

from coach_common.db.tables import Id, LongText, UtcDateTime

revision = "2026_11_24_uploads"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "uploads",
        sa.Column("id", Id, nullable=False),
        sa.Column("user_id", Id, nullable=False),
        sa.Column("key", sa.String(160), nullable=False),
        sa.Column("session_id", Id, nullable=True),
        sa.Column("content_type", sa.String(200), nullable=False),
        sa.Column("declared_bytes", sa.BigInteger, nullable=True),
        sa.Column("max_bytes", sa.BigInteger, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=True),
        sa.Column("etag", sa.String(128), nullable=True),
        sa.Column("transcript", LongText, nullable=True),
        sa.Column("reason", LongText, nullable=True),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("url_expires_at", UtcDateTime, nullable=False),
        sa.Column("confirmed_at", UtcDateTime, nullable=True),
        sa.Column("next_look_at", UtcDateTime, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_uploads"),
        sa.UniqueConstraint("key", name="uq_uploads_key"),
    )
    op.create_index("ix_uploads_user_id_status", "uploads", ["user_id", "status"])
    op.create_index("ix_uploads_session_id", "uploads", ["session_id"])
    op.create_index("ix_uploads_next_look_at", "uploads", ["next_look_at"])
    op.create_table(
        "removals",
        sa.Column("key", sa.String(160), nullable=False),
        sa.Column("due_at", UtcDateTime, nullable=False),
        sa.Column("last_at", UtcDateTime, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_removals"),
    )
    op.create_index("ix_removals_due_at", "removals", ["due_at"])
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
    for table in ("tombstones", "inbox", "outbox", "removals", "uploads"):
        op.drop_table(table)
