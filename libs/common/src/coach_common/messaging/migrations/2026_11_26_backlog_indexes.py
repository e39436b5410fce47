"""Read messages in order, and dead letters alone, without reading the whole backlog."""

from alembic import op

revision = "2026_11_26_backlog_indexes"
down_revision = "2026_11_24_messages"


def upgrade() -> None:
    op.drop_index("ix_messages_queue_due_at", "messages")
    op.create_index("ix_messages_queue_due_at_id", "messages", ["queue", "due_at", "id"])
    op.create_index("ix_messages_dead_at", "messages", ["dead_at"])


def downgrade() -> None:
    op.drop_index("ix_messages_dead_at", "messages")
    op.drop_index("ix_messages_queue_due_at_id", "messages")
    op.create_index("ix_messages_queue_due_at", "messages", ["queue", "due_at"])
