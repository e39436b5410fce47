"""Create the durable queue of the embedded profile."""

import sqlalchemy as sa
from alembic import op

from coach_common.db.tables import Id, LongText, UtcDateTime

revision = "2026_11_24_messages"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "messages",
        sa.Column("id", Id, nullable=False),
        sa.Column("queue", sa.String(96), nullable=False),
        sa.Column("event_id", Id, nullable=False),
        sa.Column("body", LongText, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("due_at", UtcDateTime, nullable=False),
        sa.Column("dead_at", UtcDateTime, nullable=True),
        sa.Column("reason", LongText, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_messages"),
    )
    op.create_index("ix_messages_queue_due_at", "messages", ["queue", "due_at"])


def downgrade() -> None:
    op.drop_table("messages")
