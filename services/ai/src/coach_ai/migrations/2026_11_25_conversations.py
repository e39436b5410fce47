"""Conversations are listed by their last use, under a title, and summarised."""

import sqlalchemy as sa
from alembic import op

from coach_common.db.tables import Id, LongText, UtcDateTime

revision = "2026_11_25_conversations"
down_revision = "2026_11_24_answers"


def upgrade() -> None:
    with op.batch_alter_table("conversations") as table:
        table.add_column(sa.Column("title", sa.String(80), nullable=True))
        table.add_column(sa.Column("updated_at", UtcDateTime, nullable=True))
        table.add_column(sa.Column("summary", LongText, nullable=True))
        table.add_column(sa.Column("summarised_to", Id, nullable=True))
    op.execute("UPDATE conversations SET title = 'Conversation', updated_at = created_at")
    with op.batch_alter_table("conversations") as table:
        table.alter_column("title", existing_type=sa.String(80), nullable=False)
        table.alter_column("updated_at", existing_type=UtcDateTime, nullable=False)
        table.create_index(
            "ix_conversations_user_id_updated_at_id", ["user_id", "updated_at", "id"]
        )
        table.drop_index("ix_conversations_user_id")


def downgrade() -> None:
    with op.batch_alter_table("conversations") as table:
        table.create_index("ix_conversations_user_id", ["user_id"])
        table.drop_index("ix_conversations_user_id_updated_at_id")
        table.drop_column("summarised_to")
        table.drop_column("summary")
        table.drop_column("updated_at")
        table.drop_column("title")
