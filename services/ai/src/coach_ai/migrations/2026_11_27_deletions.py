"""Add the deletions of interviews that are published again."""

import sqlalchemy as sa
from alembic import op

from coach_common.db.tables import Id, LongText, UtcDateTime

revision = "2026_11_27_deletions"
down_revision = "2026_11_27_rewrites"


def upgrade() -> None:
    op.create_table(
        "deletions",
        sa.Column("id", Id, nullable=False),
        sa.Column("user_id", Id, nullable=False),
        sa.Column("event", LongText, nullable=False),
        sa.Column("deleted_at", UtcDateTime, nullable=False),
        sa.Column("republish_after", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_deletions"),
    )
    op.create_index("ix_deletions_user_id", "deletions", ["user_id"])
    op.create_index("ix_deletions_republish_after", "deletions", ["republish_after"])


def downgrade() -> None:
    op.drop_table("deletions")
