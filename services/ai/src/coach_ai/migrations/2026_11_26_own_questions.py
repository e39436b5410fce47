"""Store users' own questions."""

import sqlalchemy as sa
from alembic import op

from coach_common.db.tables import Id, LongText, UtcDateTime

revision = "2026_11_26_own_questions"
down_revision = "2026_11_26_repair"


def upgrade() -> None:
    op.create_table(
        "own_questions",
        sa.Column("id", Id, nullable=False),
        sa.Column("user_id", Id, nullable=False),
        sa.Column("content", LongText, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_own_questions"),
    )
    op.create_index("ix_own_questions_user_id_id", "own_questions", ["user_id", "id"])


def downgrade() -> None:
    op.drop_table("own_questions")
