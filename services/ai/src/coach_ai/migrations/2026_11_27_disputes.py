"""Store disputes of scores."""

import sqlalchemy as sa
from alembic import op

from coach_common.db.tables import Id, LongText, UtcDateTime

revision = "2026_11_27_disputes"
down_revision = "2026_11_27_deletions"


def upgrade() -> None:
    op.create_table(
        "disputes",
        sa.Column("session_id", Id, nullable=False),
        sa.Column("user_id", Id, nullable=False),
        sa.Column("reason", LongText, nullable=True),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("second", LongText, nullable=True),
        sa.Column("outcome", sa.String(16), nullable=True),
        sa.Column("failure_reason", LongText, nullable=True),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("finished_at", UtcDateTime, nullable=True),
        sa.PrimaryKeyConstraint("session_id", name="pk_disputes"),
    )
    op.create_index("ix_disputes_user_id", "disputes", ["user_id"])
    op.create_index("ix_disputes_outcome", "disputes", ["outcome"])


def downgrade() -> None:
    op.drop_table("disputes")
