"""Store rewrites of answers."""

import sqlalchemy as sa
from alembic import op

from coach_common.db.tables import Id, LongText, UtcDateTime

revision = "2026_11_27_rewrites"
down_revision = "2026_11_27_practice"


def upgrade() -> None:
    op.create_table(
        "rewrites",
        sa.Column("session_id", Id, nullable=False),
        sa.Column("user_id", Id, nullable=False),
        sa.Column("source_digest", sa.String(64), nullable=False),
        sa.Column("content", LongText, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("session_id", name="pk_rewrites"),
    )
    op.create_index("ix_rewrites_user_id", "rewrites", ["user_id"])


def downgrade() -> None:
    op.drop_table("rewrites")
