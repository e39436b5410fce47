"""The questions of sessions, from their creation."""

import sqlalchemy as sa
from alembic import op

from coach_common.db.tables import Id, LongText

revision = "2026_11_26_session_questions"
down_revision = "2026_11_26_standard_names"


def upgrade() -> None:
    op.create_table(
        "session_questions",
        sa.Column("session_id", Id, nullable=False),
        sa.Column("user_id", Id, nullable=False),
        sa.Column("question", LongText, nullable=True),
        sa.Column("role", sa.String(200), nullable=True),
        sa.PrimaryKeyConstraint("session_id", name="pk_session_questions"),
    )
    op.create_index("ix_session_questions_user_id", "session_questions", ["user_id"])


def downgrade() -> None:
    op.drop_table("session_questions")
